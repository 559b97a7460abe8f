"""Training MS-STS as a whole: what learns from which term, what a checkpoint holds, and what it can start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from moving_clips import clips
from torch import Tensor, nn

from vistool.errors import WeightsError
from vistool.methods.msts.network import ClipOutput, Msts
from vistool.methods.msts.presets import PAPER, Preset
from vistool.methods.msts.recipe import MstsRecipe
from vistool.methods.msts.start import start
from vistool.methods.published_info import describe
from vistool.nn import backbones
from vistool.nn.idol_detector.network import IdolDetector
from vistool.nn.idol_detector.sizes import IdolSizes
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.targets import ClipTargets
from vistool.training.annotations import Annotations
from vistool.training.checkpoints import RunState
from vistool.training.export import Exporter
from vistool.training.options import TrainOptions
from vistool.training.schedule import AveragedNetwork, make_optimiser
from vistool.types import Category
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.fitting import load_into

H, W, K = 64, 96, 3
SIZES = {"backbone": "resnet-small-test", "queries": 8, "dim": 32, "heads": 4, "encoder_layers": 1, "encoder_ffn": 32,
         "decoder_layers": 2, "decoder_ffn": 32, "mask_width": 8, "frozen_norms": True}  # fmt: skip
RELEASE = Preset(**SIZES, num_classes=K, split_heads=4, dropout=0.0)
OURS = replace(RELEASE, **PAPER)
PLACED = replace(OURS, temporal_place=True)
MATCHED = {"class", "box", "giou", "mask", "dice"}
ADVERSARIAL = {"discriminator", "adversarial", "adversarial_l1"}


@pytest.fixture(scope="module", autouse=True)
def small_backbone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "layer_type": "basic"}
        patch.setitem(backbones.RESNETS, "resnet-small-test", small)
        yield


def network(preset: Preset = OURS, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MstsRecipe().build(preset).train()


def terms_of(learner: nn.Module, frames: Tensor, targets: list[ClipTargets]) -> dict[str, Tensor]:
    return dict(MstsRecipe().losses(learner, frames, targets))


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def moved(learner: nn.Module) -> set[str]:
    """First names of the weights with a gradient."""
    gradients = {name: weight.grad for name, weight in learner.named_parameters()}
    return {name.split(".")[0] for name, gradient in gradients.items() if gradient is not None and gradient.any()}


def test_every_weight_of_the_network_learns() -> None:
    learner = network()

    total(terms_of(learner, *clips())).backward()

    assert {name for name, p in learner.named_parameters() if p.requires_grad and p.grad is None} == set()


def test_clips_of_one_frame_and_the_release_have_no_discriminator_to_please() -> None:
    stills = terms_of(network(), *clips(frames=1))
    release = terms_of(network(RELEASE), *clips())
    paper = terms_of(network(), *clips())

    assert stills.keys() == release.keys() == MATCHED
    assert paper.keys() == MATCHED | ADVERSARIAL
    assert not hasattr(network(RELEASE), "discriminator")


def test_clips_without_objects_have_the_same_terms() -> None:
    frames, targets = clips()
    learner = network()

    terms = terms_of(learner, frames, [ClipTargets(each.labels[:0], each.masks[:0]) for each in targets])
    total(terms).backward()

    assert terms.keys() == MATCHED | ADVERSARIAL
    assert all(value.isfinite() for value in terms.values())
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in learner.parameters())


def test_the_discriminators_term_moves_nothing_else() -> None:
    learner = network()

    terms_of(learner, *clips())["discriminator"].backward()

    assert moved(learner) == {"discriminator"}


@pytest.mark.parametrize("term", ["adversarial", "adversarial_l1"])
def test_the_network_learns_from_the_discriminator_and_not_the_other_way_round(term: str) -> None:
    learner = network()

    terms_of(learner, *clips())[term].backward()

    assert {"backbone", "encoder", "decoder", "controller", "mask_branch"} <= moved(learner)
    assert "discriminator" not in moved(learner)


@pytest.mark.parametrize("through", ["masks", "maps"])
def test_it_reaches_the_encoder_through_masks_and_through_features(
    through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way alone."""
    learner = network()
    whole, masks = Msts.forward, Msts.masks

    def without_masks(self: Msts, *arguments: Tensor) -> Tensor:
        return masks(self, *arguments).detach()

    def without_maps(self: Msts, *arguments: Tensor) -> ClipOutput:
        output = whole(self, *arguments)
        return replace(output, maps=tuple(each.detach() for each in output.maps))

    if through == "maps":
        monkeypatch.setattr(Msts, "masks", without_masks)
    else:
        monkeypatch.setattr(Msts, "forward", without_maps)

    terms_of(learner, *clips())["adversarial"].backward()

    assert "encoder" in moved(learner)
    assert ("controller" in moved(learner)) == (through == "masks")


def test_thirty_steps_on_one_clip_lower_the_loss() -> None:
    frames, targets = clips(1)
    learner = network()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=2e-3)
    seen = []

    for _ in range(30):
        terms = terms_of(learner, frames, targets)
        optimiser.zero_grad()
        total(terms).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        seen.append(sum(float(terms[name].detach()) for name in MATCHED))

    assert sum(seen[-3:]) < 0.6 * sum(seen[:3])


def test_a_checkpoint_runs_without_the_discriminator_and_a_resumed_run_has_it(tmp_path: Path) -> None:
    learner = network()
    options = TrainOptions(method="msts", data=tmp_path / "data.json", out=tmp_path / "run")
    state = RunState(learner, AveragedNetwork(learner, 0.9), make_optimiser(learner, options))
    annotations = Annotations(tuple(Category(n + 1, str(n)) for n in range(K)), (), "toy")

    made = Exporter(options, OURS, annotations, (0.0,) * 3, (1.0,) * 3, None).checkpoint(state)
    state.save(tmp_path / "state.safetensors", {})
    resumed = network(seed=1)
    RunState(resumed, AveragedNetwork(resumed, 0.9), make_optimiser(resumed, options)).load(
        tmp_path / "state.safetensors", {}
    )

    load_into(Msts(OURS), made)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), learner.parameters(), strict=True))


def checkpoint(own: Msts, *, method: str = "msts") -> Checkpoint:
    info = describe("ifr", Mask2FormerSizes(backbone="resnet-small-test"), {})
    return Checkpoint(replace(info, method=method, sizes=asdict(own.preset)), own.state_dict(), name="parent")


def test_a_network_starts_as_its_parent() -> None:
    parent = Msts(OURS)

    tensors = start(OURS, checkpoint(parent))

    assert tensors.keys() == parent.state_dict().keys()
    assert all(torch.equal(tensor, parent.state_dict()[name]) for name, tensor in tensors.items())


def test_another_number_of_classes_leaves_the_class_heads_behind() -> None:
    tensors = start(replace(OURS, num_classes=K + 2), checkpoint(Msts(OURS)))

    assert {name.split(".")[0] for name in Msts(OURS).state_dict().keys() - tensors.keys()} == {"class_heads"}


@torch.no_grad()
@pytest.mark.parametrize(
    ("older", "newer", "added"),
    [
        (RELEASE, OURS, {"split", "temporal"}),
        (RELEASE, PLACED, {"split", "temporal"}),
        (OURS, PLACED, {"place"}),
    ],
    ids=["release-paper", "release-place", "paper-place"],
)
def test_what_is_added_starts_as_nothing(older: Preset, newer: Preset, added: set[str]) -> None:
    parent, frames = Msts(older).eval(), clips()[0]
    child = Msts(newer).eval()

    result = child.load_state_dict(start(newer, checkpoint(parent)), strict=False)

    assert {next(iter(added & set(name.split("."))), name) for name in result.missing_keys} == added
    for ours, theirs in zip(child(frames).layers, parent(frames).layers, strict=True):
        assert torch.equal(ours.class_logits, theirs.class_logits)
        assert torch.equal(ours.boxes, theirs.boxes)


@torch.no_grad()
@pytest.mark.parametrize("preset", [RELEASE, OURS], ids=["release", "paper"])
def test_a_deeper_decoder_goes_on_with_copies_of_the_last_layer(preset: Preset) -> None:
    """What is the parent's says the same, and what follows differs in nothing but what it is given."""
    parent, frames = Msts(preset).eval(), clips()[0]
    deeper = replace(preset, decoder_layers=SIZES["decoder_layers"] + 2)
    child = Msts(deeper).eval()

    child.load_state_dict(start(deeper, checkpoint(parent)))

    found, theirs = child(frames).layers, parent(frames).layers
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(found, theirs, strict=False))
    assert all(torch.equal(a.class_logits, b.class_logits) for a, b in zip(found, theirs, strict=False))
    for part in (child.decoder.layers, child.decoder.box_heads, child.class_heads):
        last = part[len(theirs) - 1].state_dict()
        for later in part[len(theirs) :]:
            assert all(torch.equal(tensor, last[name]) for name, tensor in later.state_dict().items())


def test_a_shallower_decoder_does_not_start_from_a_deeper_one() -> None:
    with pytest.raises(WeightsError, match=r"decoder\.box_heads\.1"):
        start(replace(OURS, decoder_layers=1), checkpoint(Msts(OURS)))


def test_what_makes_masks_starts_fresh_where_the_parent_knows_none() -> None:
    """Of zeros nothing would be learned."""
    own = checkpoint(Msts(RELEASE))
    blank = {name: 0 * tensor for name, tensor in own.tensors.items() if name.startswith(("controller", "mask_branch"))}

    tensors = start(RELEASE, replace(own, tensors={**own.tensors, **blank}))

    assert own.tensors.keys() - tensors.keys() == blank.keys()


def test_a_release_does_not_start_from_the_paper() -> None:
    with pytest.raises(WeightsError, match=r"encoder\.split"):
        start(RELEASE, checkpoint(Msts(OURS)))


def test_of_heads_with_a_column_an_id_those_of_the_classes_are_taken() -> None:
    parent = Msts(replace(RELEASE, num_classes=40, class_columns="ytvis-ids"))

    tensors = start(replace(RELEASE, num_classes=40), checkpoint(parent))

    theirs = parent.state_dict()["class_heads.1.weight"]
    assert theirs.shape[0] == 42
    assert torch.equal(tensors["class_heads.1.weight"], theirs[1:41])


@pytest.mark.parametrize(("method", "prefix"), [("mask2former-vis", "trunk."), ("refinevis", "image."), ("hitf", "")])
def test_of_other_methods_the_backbone_is_taken(method: str, prefix: str) -> None:
    own = Msts(OURS).state_dict()
    given = {f"{prefix}{name}": tensor for name, tensor in own.items() if name.startswith("backbone.")}
    parent = replace(checkpoint(Msts(OURS), method=method), tensors={**given, "head.weight": torch.zeros(1)})

    tensors = start(OURS, parent)

    assert tensors.keys() == {name for name in own if name.startswith("backbone.")}


@pytest.mark.parametrize("names", [{"head.weight"}, {"trunk.backbone.body.other"}], ids=["none", "another"])
def test_without_a_backbone_like_ours_there_is_no_start(names: set[str]) -> None:
    parent = replace(checkpoint(Msts(OURS), method="videomt"), tensors={name: torch.zeros(1) for name in names})

    with pytest.raises(WeightsError, match="parent"):
        start(OURS, parent)


def idol(**changes: object) -> tuple[IdolDetector, Checkpoint]:
    sizes = IdolSizes(**{**SIZES, "num_classes": K, **changes})
    torch.manual_seed(2)
    detector = IdolDetector(sizes).eval()
    for head in detector.decoder.box_heads:  # boxes that move
        nn.init.normal_(head.layers[-1].weight, std=0.1)
    info = replace(
        checkpoint(Msts(OURS), method="refinevis").info,
        sizes={"image_model": "idol", "image": asdict(sizes), "num_classes": K},
    )
    tensors = {f"image.{name}": tensor for name, tensor in detector.state_dict().items()}
    return detector, Checkpoint(info, {**tensors, "tar.out.weight": torch.zeros(1)}, name="parent")


@torch.no_grad()
def test_on_single_frames_it_says_what_the_detector_said_that_it_started_from() -> None:
    detector, parent = idol()
    child, frames = Msts(OURS).eval(), clips(frames=1)[0]
    loaded = child.load_state_dict(start(OURS, parent), strict=False)

    theirs, ours = detector(frames[:, 0]), child(frames)

    assert loaded.unexpected_keys == []
    last = ours.layers[-1]
    torch.testing.assert_close(last.class_logits, theirs.class_logits)
    torch.testing.assert_close(last.boxes[:, 0], theirs.boxes)
    masks = child.masks(last.queries[0], last.references[0].transpose(0, 1), ours.features[0])
    wanted = detector.masks(theirs.embeddings[0], theirs.pixels[0], theirs.references[0])
    torch.testing.assert_close(masks[:, 0], wanted, atol=1e-4, rtol=1e-4)


def test_of_a_detector_of_other_sizes_what_fits_is_taken() -> None:
    _, parent = idol(decoder_ffn=64)

    tensors = start(OURS, parent)

    fitting = {"backbone", "encoder", "class_heads", "mask_branch", "controller"}
    assert {name.split(".")[0] for name in tensors} == fitting
