"""Training IAI: the walk over a clip, what learns from which frame, and what it can be started from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import pytest
import torch
from moving_clips import H, W, clips
from torch import Tensor, nn

from vistool.errors import WeightsError
from vistool.methods.iai.association import Associated, FrameTokens
from vistool.methods.iai.loss import losses
from vistool.methods.iai.memory import Memory, Remembered
from vistool.methods.iai.network import Iai
from vistool.methods.iai.presets import PRESETS, Preset
from vistool.methods.iai.recipe import IaiRecipe
from vistool.methods.iai.start import start
from vistool.methods.published_info import describe
from vistool.nn import backbones
from vistool.nn.detector import DetectorTargets
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.targets import ClipTargets
from vistool.weights.checkpoint import Checkpoint

K, N = 3, 6
BACKBONE = "resnet-small-test"
TERMS = {"class", "id", "box", "centerness", "mask"}


@pytest.fixture(scope="module", autouse=True)
def small_backbone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 80], "depths": [1, 1, 1, 1], "layer_type": "basic"}
        patch.setitem(backbones.RESNETS, BACKBONE, small)
        yield


def preset(**changes: object) -> Preset:
    image = PRESETS["tiny"].image | {"dim": 32, "tower_depth": 1, "mask_width": 16, "mask_depth": 1}
    small = {"image": image, "backbone": BACKBONE, "num_classes": K, "max_ids": N, "dim": 32, "ffn": 64}
    plain = {"id_permutation": False, "train_new_object_append": False, "drop_path": 0.0, "id_bank": "convolution"}
    return replace(PRESETS["tiny"], **{**small, **plain, **changes})


def network(own: Preset | None = None, *, seed: int = 0) -> Iai:
    torch.manual_seed(seed)
    return Iai(own or preset()).train()


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


class Recorder(nn.Module):
    """In place of the network: remembers what it is asked, and says of frame t that it costs t."""

    def __init__(self, own: Preset) -> None:
        super().__init__()
        self.preset = own
        self.detector = self
        self.looked: list[tuple[int, ...]] = []
        self.read: list[tuple[int, ...]] = []  # frames in long-term memory when each frame is associated
        self.seen: list[Tensor] = []
        self.told: list[Sequence[DetectorTargets]] = []
        self.painted: list[Tensor] = []

    def look(self, frames: Tensor) -> tuple[Tensor, ...]:
        self.looked.append(tuple(frames.shape))
        return tuple(frames[:, :, ::stride, ::stride] for stride in (4, 8, 16, 32))

    def associate(self, c5: Tensor, memory: Memory | None) -> Associated:
        self.read.append(memory.frames if memory else ())
        tokens = c5.flatten(2).transpose(1, 2)
        return Associated(tokens, tokens, c5, 2 * c5)

    def losses(self, maps: tuple[Tensor, ...], targets: Sequence[DetectorTargets]) -> dict[str, Tensor]:
        self.seen.append(maps[-1])
        self.told.append(targets)
        return {"class": torch.tensor(float(len(self.told) - 1)), "mask": torch.tensor(2.0)}

    def remember(self, seen: FrameTokens, id_masks: Tensor) -> Remembered:
        self.painted.append(id_masks)
        return Remembered(seen.queries, seen.hidden)


def recorded(frames: Tensor, targets: list[ClipTargets], **changes: object) -> tuple[Recorder, dict[str, Tensor]]:
    recorder = Recorder(preset(**changes))
    return recorder, losses(recorder, frames, targets)  # type: ignore[arg-type]  # it has all that is asked


def test_a_clip_is_gone_through_frame_by_frame_and_terms_are_means_over_frames() -> None:
    frames, targets = clips(2, frames=4)

    recorder, terms = recorded(frames, targets)

    assert recorder.looked == [(8, 3, H, W)]  # all at once
    assert {name: float(term) for name, term in terms.items()} == {"class": 1.5, "mask": 2.0}
    for t in range(4):
        assert torch.equal(recorder.seen[t], 2 * frames[:, t, :, ::32, ::32])
        for b in range(2):
            visible = targets[b].masks[:, t].flatten(1).any(-1)
            assert torch.equal(recorder.told[t][b].masks, targets[b].masks[visible, t])


def test_memory_is_told_the_truth() -> None:
    frames, targets = clips(2, frames=3)

    recorder, _ = recorded(frames, targets)

    assert len(recorder.painted) == 2  # nothing reads what the last frame would leave
    for t, stack in enumerate(recorder.painted):
        assert stack.shape == (2, N + 1, H, W)
        for b, target in enumerate(targets):
            assert torch.equal(stack[b, 0], target.masks[0, t] & ~target.masks[2, t])  # of equal areas the first
            assert torch.equal(stack[b, N], ~target.masks[:, t].any(0))


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({}, [(), (0,), (0,), (0, 2), (0, 2)]),
        ({"long_interval": 2}, [(), (0,), (0, 1), (0, 1), (0, 1, 3)]),
        ({"train_new_object_append": True}, [(), (0,), (0, 1), (0, 1), (0, 1)]),
        ({"long_interval": 2, "memory_frames": 2}, [(), (0,), (0, 1), (0, 1), (0, 3)]),
    ],
    ids=str,
)
def test_long_term_memory_in_training(changes: dict[str, object], read: list[tuple[int, ...]]) -> None:
    frames, targets = clips(2, frames=5)
    masks = targets[1].masks.clone()
    masks[1, 1:] = masks[1, -1:]  # an object of the second clip comes on frame 1
    targets[1] = ClipTargets(targets[1].labels, masks)

    assert recorded(frames, targets, **changes)[0].read == read


def test_frames_of_any_size_are_padded_to_what_the_network_needs() -> None:
    frames, targets = clips(1, frames=2, size_hw=(70, 100))

    recorder, _ = recorded(frames, targets)
    found = losses(network(), frames, targets)

    assert recorder.looked == [(2, 3, 96, 128)]
    assert recorder.told[0][0].masks.shape[1:] == (96, 128)
    assert recorder.painted[0][0, N, 70:].all()  # padding is background
    assert all(term.isfinite() for term in found.values())


@pytest.mark.parametrize("model", ["condinst", "maskrcnn"])
def test_every_weight_of_the_network_learns(model: str) -> None:
    own = preset(image_model=model, image=PRESETS["maskrcnn-tiny"].image) if model == "maskrcnn" else preset()
    frames, targets = clips(2, frames=3)
    learner = network(own)

    total(losses(learner, frames, targets)).backward()

    idle = {name for name, weight in learner.named_parameters() if weight.requires_grad and weight.grad is None}
    assert idle == set()
    assert all(weight.grad.isfinite().all() for weight in learner.parameters() if weight.grad is not None)


def last_term(learner: Iai, frames: Tensor, targets: list[ClipTargets], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """What the last frame alone costs."""
    said: list[Tensor] = []
    own = learner.detector.losses

    def listening(maps: tuple[Tensor, ...], wanted: Sequence[DetectorTargets]) -> object:
        terms = own(maps, wanted)
        said.append(torch.stack(list(terms.values())).sum())
        return terms

    monkeypatch.setattr(learner.detector, "losses", listening)
    losses(learner, frames, targets)
    return said[-1]


@pytest.mark.parametrize("kind", ["both", "global", "local"])
def test_the_last_frame_teaches_what_the_first_one_remembers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not cut off: the loss of a later frame reaches pictures, identities and values of earlier ones."""
    frames, targets = clips(2, frames=2)
    frames.requires_grad_()
    learner = network(preset(association=kind, frozen_norms=True))

    last_term(learner, frames, targets, monkeypatch).backward()

    association = learner.association
    assert frames.grad is not None
    assert (frames.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    for weight in (association.id_bank.weight, association.to_value.weight, association.to_query.weight):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    assert learner.detector.head.id_logits.weight.grad.abs().sum() > 0  # type: ignore[union-attr, attr-defined]


def test_without_an_association_a_frame_learns_from_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, targets = clips(2, frames=2)
    frames.requires_grad_()

    last_term(network(preset(association="none", frozen_norms=True)), frames, targets, monkeypatch).backward()

    assert frames.grad is not None
    assert frames.grad[:, 0].abs().sum() == 0
    assert frames.grad[:, 1].abs().sum() > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"association": "none"},
        {"class_projector": False},
        {"id_head": False, "identities": "overlap"},
        {"id_bank": "pixel", "id_permutation": True, "train_new_object_append": True},
        {"loss_rules": {"id_loss": "cross-entropy", "most_masks": 4}},
    ],
    ids=str,
)
def test_every_variant_can_be_trained(changes: dict[str, object]) -> None:
    frames, targets = clips(2, frames=3)

    found = losses(network(preset(**changes)), frames, targets)
    total(found).backward()

    assert found.keys() == TERMS
    assert all(term.isfinite() for term in found.values())
    assert (found["id"] > 0) == ("id_head" not in changes)


def test_clips_of_one_frame_and_clips_without_objects_are_taken_too() -> None:
    frames, targets = clips(2, frames=1)
    empty = [ClipTargets(target.labels[:0], target.masks[:0]) for target in targets]
    learner = network()

    some, none = losses(learner, frames, targets), losses(learner, frames, empty)
    total(none).backward()

    assert some.keys() == none.keys() == TERMS
    assert {name for name, term in none.items() if term > 0} == {"class", "id"}


def test_a_few_steps_on_one_clip_lower_the_loss() -> None:
    """Detection and identities both: the second needs memory, since the objects look the same on every frame."""
    frames, targets = clips(1, frames=2)
    recipe = IaiRecipe()
    torch.manual_seed(0)
    learner = recipe.build(preset(id_bank="pixel", id_permutation=True)).train()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=2e-3)
    seen = []

    for step in range(25):
        torch.manual_seed(step)
        terms = recipe.losses(learner, frames, targets)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        seen.append({name: float(term.detach()) for name, term in terms.items()})

    for name in TERMS - {"centerness"}:
        assert sum(each[name] for each in seen[-3:]) < 0.7 * sum(each[name] for each in seen[:3]), name


def checkpoint(own: Iai, **changes: object) -> Checkpoint:
    info = describe("ifr", Mask2FormerSizes(backbone=BACKBONE), {})
    info = replace(info, method="iai", sizes=asdict(own.preset), **changes)
    return Checkpoint(info, own.state_dict(), name="parent")


def test_a_network_starts_as_its_parent() -> None:
    parent = network(seed=5)

    tensors = start(preset(), checkpoint(parent))

    assert tensors.keys() == parent.state_dict().keys()
    assert all(torch.equal(tensor, parent.state_dict()[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"num_classes": K + 2}, {"detector.head.class_logits"}),
        ({"max_ids": N + 2}, {"detector.head.id_logits", "association.id_bank"}),
        ({"id_head": False, "identities": "overlap"}, set()),
        ({"id_bank": "pixel"}, {"association.id_bank"}),
        ({"association": "none"}, set()),
        ({"association": "local"}, set()),
        ({"class_projector": False}, {"detector.fpn.lateral"}),
        ({"loss_rules": {"most_masks": 3}, "id_permutation": True, "nms_iou": 0.3}, set()),
    ],
    ids=str,
)
def test_what_has_another_shape_starts_fresh(changes: dict[str, object], left: set[str]) -> None:
    own = preset(**changes)

    tensors = start(own, checkpoint(network()))

    missing = network(own).state_dict().keys() - tensors.keys()
    assert {".".join(name.split(".")[: 2 if "id_bank" in name else 3]) for name in missing} == left
    assert network(own).load_state_dict(tensors, strict=False).unexpected_keys == []


def test_an_image_model_gives_all_but_the_head_for_identities() -> None:
    """A converted image model has no such head, and an association that adds nothing."""
    parent = checkpoint(network(preset(id_head=False, identities="overlap")), untrained="identities")

    tensors = start(preset(), parent)

    missing = network().state_dict().keys() - tensors.keys()
    assert {name.split(".")[2] for name in missing} == {"id_tower", "id_logits"}


@pytest.mark.parametrize("model", ["condinst", "maskrcnn"])
def test_who_learned_on_single_frames_learns_identities_from_the_beginning(model: str) -> None:
    """What it says of "new" and of memory was learned where everybody is new."""
    own = preset(image_model=model, image=PRESETS["maskrcnn-tiny"].image) if model == "maskrcnn" else preset()
    parent = checkpoint(network(own), trained_on="images")

    tensors = start(own, parent)

    fresh = parent.tensors.keys() - tensors.keys()
    of_identities = {name for name in parent.tensors if "id_" in name or "relative" in name or "out_norm" in name}
    assert fresh == of_identities


def test_who_learned_on_single_frames_may_have_another_head_for_identities() -> None:
    own = preset()
    parent = checkpoint(network(own), trained_on="images")
    deeper = replace(own, image={**own.image, "id_depth": 2})

    assert start(deeper, parent).keys() == start(own, parent).keys()


def test_a_backbone_of_the_same_shapes_and_another_stride_is_refused() -> None:
    parent = checkpoint(network(preset(backbone=BACKBONE + backbones.MSRA)))

    with pytest.raises(WeightsError, match=f"{BACKBONE}-msra"):
        start(preset(), parent)


def test_another_image_model_is_refused() -> None:
    other = preset(image=preset().image | {"tower_depth": 2})

    with pytest.raises(WeightsError, match="class_tower"):
        start(other, checkpoint(network()))


def mask2former(backbone: str = BACKBONE) -> Checkpoint:
    from vistool.methods.mask2former_vis.network import Mask2FormerVis

    sizes = Mask2FormerSizes(backbone=backbone, queries=4, dim=32, heads=4, encoder_layers=1, encoder_ffn=32,
                             decoder_layers=1, decoder_ffn=32)  # fmt: skip
    return Checkpoint(describe("mask2former-vis", sizes, {}), Mask2FormerVis(sizes).state_dict(), name="parent")


def test_another_method_gives_its_backbone() -> None:
    parent = mask2former()

    tensors = start(preset(), parent)

    assert tensors.keys() == {name for name in network().state_dict() if name.startswith("backbone.")}
    name = "backbone.body.encoder.stages.3.layers.0.layer.0.convolution.weight"
    assert torch.equal(tensors[name], parent.tensors[f"trunk.{name}"])


def test_a_parent_without_the_same_backbone_is_refused() -> None:
    with pytest.raises(WeightsError, match="backbone"):
        start(preset(), mask2former("resnet-tiny"))


def test_a_parent_without_any_backbone_is_refused() -> None:
    parent = Checkpoint(replace(mask2former().info, method="videomt"), {"layers.0.weight": torch.zeros(1)}, name="vit")

    with pytest.raises(WeightsError, match=r"`vit` .it belongs to `videomt`"):
        start(preset(), parent)
