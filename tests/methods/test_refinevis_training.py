"""Training RefineVIS as a whole: what learns from which frame, what can be switched off, frozen, or started from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import pytest
import torch
from moving_clips import clips
from torch import Tensor, nn

from vistool.errors import WeightsError
from vistool.methods.published_info import describe
from vistool.methods.refinevis import frame_loss, loss
from vistool.methods.refinevis.learning import LearningRules, rules_of
from vistool.methods.refinevis.loss import losses
from vistool.methods.refinevis.network import RefineVis
from vistool.methods.refinevis.presets import PRESETS, Preset, without_classes
from vistool.methods.refinevis.recipe import RefineVisRecipe
from vistool.methods.refinevis.remembered import RememberedFrames
from vistool.methods.refinevis.start import start
from vistool.nn import backbones
from vistool.nn.idol_detector.sizes import IdolSizes
from vistool.nn.mask_dino.sizes import MaskDinoSizes
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.targets import ClipTargets
from vistool.weights.checkpoint import Checkpoint

H, W, K = 64, 96, 3
SMALL = {"backbone": "resnet-small-test", "queries": 12, "dim": 32, "heads": 4, "encoder_layers": 1, "encoder_ffn": 32,
         "decoder_layers": 2, "decoder_ffn": 32, "frozen_norms": True}  # fmt: skip
MASK_DINO = MaskDinoSizes(
    **SMALL, extra_level=False, coarse_first=True, anchors="bitmask", class_prior=0.1, noised_queries=6, loss_points=64
)
MATCHED = {"class", "bce", "dice", "box", "giou"}
BETWEEN = {"association", "cosine", "refined_class", "refined_bce", "refined_dice"}
DENOISING = {"noised", "association_noised", "refined_noised"}


@pytest.fixture(scope="module", autouse=True)
def small_backbone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "layer_type": "basic"}
        patch.setitem(backbones.RESNETS, "resnet-small-test", small)
        yield


def preset(**changes: object) -> Preset:
    return replace(Preset(image_model="maskdino", image=without_classes(MASK_DINO), num_classes=K), **changes)


def network(own: Preset | None = None, *, seed: int = 0) -> RefineVis:
    """Fresh, but for a refinement that is no longer the identity."""
    torch.manual_seed(seed)
    made = RefineVis(own or preset())
    for linear in (made.tar.attention.out, made.tar.ffn.out):
        nn.init.normal_(linear.weight, std=0.1)
    return made.train()


def without_objects(targets: list[ClipTargets]) -> list[ClipTargets]:
    return [ClipTargets(target.labels[:0], target.masks[:0]) for target in targets]


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def test_every_weight_of_the_network_learns() -> None:
    frames, targets = clips()
    learner = network()

    total(losses(learner, frames, targets)).backward()

    idle = {name for name, weight in learner.named_parameters() if weight.requires_grad and weight.grad is None}
    assert idle == set()


@pytest.mark.parametrize(
    ("terms", "learned_from"),
    [
        (MATCHED | {"noised"}, [True, False]),
        ({"association"}, [True, True]),
        ({"cosine"}, [True, True]),
        ({"association_noised"}, [True, True]),
        ({"refined_class", "refined_bce", "refined_dice"}, [True, True]),
        ({"refined_noised"}, [True, True]),
    ],
    ids=["frame", "association", "cosine", "association denoising", "refinement", "temporal denoising"],
)
def test_the_key_frame_alone_teaches_the_frame_losses_and_both_frames_the_rest(
    terms: set[str], learned_from: list[bool]
) -> None:
    frames, targets = clips()
    rules = replace(rules_of(preset()), least_iou=0.0)
    frames.requires_grad_()

    found = losses(network(), frames, targets, rules)
    total({name: found[name] for name in terms}).backward()

    assert frames.grad is not None
    assert [bool(frames.grad[:, t].abs().sum() > 0) for t in range(2)] == learned_from


def test_the_terms_are_the_same_with_and_without_objects() -> None:
    frames, targets = clips()
    learner = network()

    some, none = losses(learner, frames, targets), losses(learner, frames, without_objects(targets))
    total(none).backward()

    assert some.keys() == none.keys() == MATCHED | BETWEEN | DENOISING
    assert all(value.isfinite() for value in (*some.values(), *none.values()))
    assert {name for name, value in none.items() if value > 0} == {"class", "refined_class"}


def test_processes_exchange_the_same_counts_whatever_their_clips_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that asks for fewer than the others would leave them waiting for ever."""
    asked: list[tuple[int, ...]] = []

    def averaged(counts: Tensor) -> Tensor:
        asked.append(tuple(counts.shape))
        return counts.float().clamp(min=1)

    monkeypatch.setattr(frame_loss, "averaged", averaged)
    monkeypatch.setattr(loss, "averaged", averaged)
    frames, targets = clips()
    learner = network()

    losses(learner, frames, targets)
    with_objects = asked.copy()
    asked.clear()
    losses(learner, frames, without_objects(targets))

    assert with_objects == asked
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"frame_denoising": False}, {"noised"}),
        ({"association_denoising": False}, {"association_noised"}),
        ({"temporal_denoising": False}, {"refined_noised"}),
        ({"noised_queries": 0}, DENOISING),
        ({"cosine_weight": 0.0}, {"cosine"}),
        ({"association_weight": 0.0}, {"association", "cosine", "association_noised"}),
        ({"refine_weight": 0.0}, {"refined_class", "refined_bce", "refined_dice", "refined_noised"}),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_each_kind_can_be_switched_off(changes: dict[str, object], gone: set[str]) -> None:
    frames, targets = clips(1)

    found = losses(network(), frames, targets, replace(rules_of(preset()), **changes))

    assert found.keys() == (MATCHED | BETWEEN | DENOISING) - gone


def test_clips_of_one_frame_train_the_image_model_alone() -> None:
    frames, targets = clips(2, frames=1)
    rules = replace(rules_of(preset()), assignment="hungarian", noise="positive")

    found = losses(network(), frames, targets, rules)

    assert found.keys() == MATCHED | {"noised"}


def test_a_window_of_one_frame_has_nothing_to_refine() -> None:
    frames, targets = clips(1)

    found = losses(network(preset(window=0)), frames, targets)

    assert found.keys() == (MATCHED | BETWEEN | DENOISING) - {
        "refined_class", "refined_bce", "refined_dice", "refined_noised"
    }  # fmt: skip


def test_more_than_two_frames_are_taken_too() -> None:
    frames, targets = clips(1, frames=3)

    found = losses(network(), frames, targets)

    assert found.keys() == MATCHED | BETWEEN | DENOISING


def test_a_frozen_image_model_is_looked_through_without_a_gradient() -> None:
    frames, targets = clips()
    learner = network()
    learner.image.requires_grad_(False).eval()  # type: ignore[attr-defined]

    found = losses(learner, frames, targets)
    total(found).backward()

    learned = {name.split(".")[0] for name, weight in learner.named_parameters() if weight.grad is not None}
    assert found.keys() == BETWEEN
    assert learned == {"reid_head", "tar"}


def test_what_a_frozen_image_model_said_is_remembered_and_no_loss_changes() -> None:
    frames, targets = clips()
    learner, remembered = network(), RememberedFrames(10**8)
    learner.image.requires_grad_(False).eval()  # type: ignore[attr-defined]

    plain = seeded(lambda: losses(learner, frames, targets))
    first = seeded(lambda: losses(learner, frames, targets, remembered=remembered))
    learner.image.forward = None  # type: ignore[attr-defined]  # not asked again
    second = seeded(lambda: losses(learner, frames, targets, remembered=remembered))

    for name, term in plain.items():
        torch.testing.assert_close(first[name], term, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=0)


def test_of_an_image_model_that_learns_nothing_is_remembered() -> None:
    frames, targets = clips()
    learner, remembered = network(), RememberedFrames(10**8)

    before = seeded(lambda: losses(learner, frames, targets, remembered=remembered))
    with torch.no_grad():
        for weight in learner.image.parameters():  # type: ignore[attr-defined]
            weight.mul_(1.1)
    after = seeded(lambda: losses(learner, frames, targets, remembered=remembered))

    assert not torch.equal(before["class"], after["class"])


def seeded(ask: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The same points of masks and the same denoising queries every time."""
    torch.manual_seed(0)
    return ask()


def test_a_frozen_image_model_that_still_denoises_teaches_the_refinement() -> None:
    """All its weights are frozen, but it is in training mode: its denoising queries become tracklets."""
    frames, targets = clips()
    learner = network()
    for weight in learner.image.parameters():  # type: ignore[attr-defined]
        weight.requires_grad_(False)

    found = losses(learner, frames, targets)

    assert found.keys() == BETWEEN | {"association_noised", "refined_noised"}


@pytest.mark.parametrize("kind", ["mask2former", "idol"])
def test_image_models_without_denoising_learn_the_rest(kind: str) -> None:
    sizes = Mask2FormerSizes(**SMALL, loss_points=64) if kind == "mask2former" else IdolSizes(**SMALL, mask_width=8)
    own = preset(image_model=kind, image=without_classes(sizes), contrastive_head=kind == "mask2former")
    frames, targets = clips()
    rules = replace(rules_of(own), loss_points=64, least_iou=0.0)

    found = losses(network(own), frames, targets, rules)
    total(found).backward()

    assert found.keys() == MATCHED | BETWEEN
    assert all(value.isfinite() for value in found.values())
    assert found["bce"] > 0


def test_rules_are_those_of_the_image_model() -> None:
    assert rules_of(preset()).noised_queries == 6
    assert rules_of(preset()).loss_points == 64
    assert rules_of(PRESETS["swin-l"]).noised_queries == 500
    assert rules_of(PRESETS["r50"]) == LearningRules()
    assert rules_of(preset(learning={"noised_queries": 3, "noise": "positive"})).disturbance.queries == 3


def test_a_few_steps_on_one_clip_lower_the_loss() -> None:
    frames, targets = clips(1)
    recipe = RefineVisRecipe()
    torch.manual_seed(0)
    learner = recipe.build(preset()).train()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    seen = []

    for step in range(14):
        torch.manual_seed(step)
        loss = torch.stack(list(recipe.losses(learner, frames, targets).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        seen.append(float(loss.detach()))

    assert sum(seen[-3:]) < 0.8 * sum(seen[:3])


def checkpoint(own: RefineVis, *, method: str = "refinevis", without: tuple[str, ...] = ()) -> Checkpoint:
    tensors = {name: tensor for name, tensor in own.state_dict().items() if not name.startswith(without or "-")}
    info = describe("ifr", Mask2FormerSizes(backbone="resnet-small-test"), {})
    return Checkpoint(replace(info, method=method, sizes=asdict(own.preset)), tensors, name="parent")


def test_a_network_starts_as_its_parent() -> None:
    parent = network()

    tensors = start(preset(), checkpoint(parent))

    assert all(torch.equal(tensor, parent.state_dict()[name]) for name, tensor in tensors.items())
    assert tensors.keys() == parent.state_dict().keys()


def test_another_class_count_leaves_what_has_a_row_a_class_behind() -> None:
    tensors = start(preset(num_classes=K + 2), checkpoint(network()))

    left = network().state_dict().keys() - tensors.keys()
    assert left == {"image.heads.class_embed.weight", "image.heads.class_embed.bias", "image.label_embed"}


def test_an_image_model_alone_leaves_association_and_refinement_fresh() -> None:
    tensors = start(preset(), checkpoint(network(), without=("tar.", "reid_head.")))

    assert {name.split(".")[0] for name in tensors} == {"image"}


def test_a_parent_with_half_a_part_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"tar\."):
        start(preset(), checkpoint(network(), without=("tar.attention.",)))


def mask2former(**changes: object) -> Checkpoint:
    from vistool.methods.mask2former_vis.network import Mask2FormerVis

    sizes = Mask2FormerSizes(**{**SMALL, "num_classes": K, **changes})
    return Checkpoint(describe("mask2former-vis", sizes, {}), Mask2FormerVis(sizes).state_dict(), name="parent")


def test_mask_dino_takes_backbone_and_encoder_of_mask2former() -> None:
    parent = mask2former()

    tensors = start(preset(), parent)

    fresh = {name for name in network().state_dict() if not name.startswith(("image.backbone.", "image.encoder."))}
    assert network().state_dict().keys() - tensors.keys() == fresh
    assert torch.equal(tensors["image.encoder.level_embed"], parent.tensors["trunk.pixel_decoder.level_embed"])


def test_mask_dino_takes_the_backbone_alone_where_the_encoder_is_of_another_size() -> None:
    tensors = start(preset(), mask2former(encoder_ffn=64))

    assert {".".join(name.split(".")[:2]) for name in tensors} == {"image.backbone"}


def test_the_image_model_mask2former_is_taken_whole() -> None:
    own = preset(image_model="mask2former", image=without_classes(Mask2FormerSizes(**SMALL)))

    tensors = start(own, mask2former())

    assert {name.split(".")[0] for name in network(own).state_dict().keys() - tensors.keys()} == {"reid_head", "tar"}


@pytest.mark.parametrize("method", ["videomt", "mask2former-vis"])
def test_weights_of_strangers_are_refused(method: str) -> None:
    idol = preset(image_model="idol", image=without_classes(IdolSizes(**SMALL)), contrastive_head=False)

    with pytest.raises(WeightsError, match=method):
        start(idol, checkpoint(network(), method=method))
