"""How IFR begins from other weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import pytest
import torch
from torch import Tensor

from vistool.errors import WeightsError
from vistool.methods.ifr.checkpoint import convert
from vistool.methods.ifr.inference import build
from vistool.methods.ifr.network import Ifr
from vistool.methods.ifr.presets import PRESETS, Preset
from vistool.methods.ifr.start import start
from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.methods.published_info import describe
from vistool.nn import backbones
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.published import LAYOUTS, to_published
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.foreign import Foreign

SIZES = Mask2FormerSizes(
    backbone="resnet-bottlenecks", num_classes=3, queries=6, dim=64, encoder_layers=1, encoder_ffn=64,
    decoder_layers=4, decoder_ffn=64,
)  # fmt: skip
SMALL_SWIN = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 4], "window_size": 4}
SMALL_RESNET = {"embedding_size": 16, "hidden_sizes": [24, 32, 48, 64], "depths": [1, 2, 1, 1]}
EXACT = {"atol": 1e-6, "rtol": 0}
SIZES_HW = [(64, 64), (70, 90)]


@pytest.fixture(scope="module", autouse=True)
def small_backbones() -> Iterator[None]:
    """Of the published kinds, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.SWINS, "swin-small-test", SMALL_SWIN)
        patch.setitem(backbones.RESNETS, "resnet-bottlenecks", SMALL_RESNET)
        yield


def mask2former(sizes: Mask2FormerSizes) -> Mask2FormerVis:
    """Random weights of a size that keeps every stage alive: queries stay apart, masks have both signs."""
    network = Mask2FormerVis(sizes).eval()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.data = noise if "_embed" in name.partition(".heads.")[0] else noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
    return network


@pytest.fixture(scope="module")
def parent() -> Mask2FormerVis:
    return mask2former(SIZES)


def as_checkpoint(network: torch.nn.Module, sizes: Mask2FormerSizes, method: str) -> Checkpoint:
    return Checkpoint(describe(method, sizes, {}), network.state_dict(), name="parent")


@dataclass(frozen=True)
class Family:
    """The same public weights as Mask2Former and as IFR. In double precision, so that what differs is no rounding."""

    parent: Mask2FormerVis
    made: Checkpoint
    child: Ifr


CASES = {f"{kind} as {layout}": (backbone, layout)
    for kind, backbone in [("swin", "swin-small-test"), ("resnet", "resnet-bottlenecks")]
    for layout in LAYOUTS}  # fmt: skip


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def family(request: pytest.FixtureRequest) -> Family:
    """Files of image and of video models have the same tensors, so one stands for both."""
    backbone, layout = request.param
    parent = mask2former(replace(SIZES, backbone=backbone))
    made = convert(Foreign(to_published(parent.state_dict(), layout)), layout)
    return Family(parent.double(), made, build(made).double())


def picture(size_hw: tuple[int, int]) -> Tensor:
    return torch.randn(1, 1, 3, *size_hw, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=["64x64", "70x90"])
@torch.no_grad()
def test_on_one_frame_public_weights_say_what_mask2former_says(family: Family, size_hw: tuple[int, int]) -> None:
    frame = picture(size_hw)

    ours, theirs = family.child(frame), family.parent(frame).final

    against_no_object = theirs.class_logits[..., :-1] - theirs.class_logits[..., -1:]
    torch.testing.assert_close(ours.final.class_logits, against_no_object, **EXACT)
    torch.testing.assert_close(ours.mask_logits(), theirs.mask_logits, **EXACT)


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=["64x64", "70x90"])
@torch.no_grad()
def test_four_equal_frames_of_public_weights_say_what_one_says(family: Family, size_hw: tuple[int, int]) -> None:
    frame = picture(size_hw)

    clip, image = family.child(frame.expand(-1, 4, -1, -1, -1)), family.parent(frame).final

    against_no_object = image.class_logits[..., :-1] - image.class_logits[..., -1:]
    torch.testing.assert_close(clip.final.class_logits, against_no_object, **EXACT)
    torch.testing.assert_close(clip.mask_logits(), image.mask_logits.expand(-1, -1, 4, -1, -1), **EXACT)


@torch.no_grad()
def test_these_comparisons_are_worth_something(family: Family) -> None:
    """Slots, classes and pixels differ by far more than the tolerance, and masks block some of the pixels."""
    final = family.parent(picture((64, 64))).final

    spreads = [final.class_logits.std(1), final.class_logits.std(2), final.mask_logits.std(1)]
    assert min(spread.mean().item() for spread in spreads) > 0.01
    assert 0.1 < (final.mask_logits < 0).float().mean() < 0.9


@torch.no_grad()
def test_two_frames_of_public_weights_are_means_over_frames(family: Family) -> None:
    """What is not yet trained does nothing: no frame but through the clip queries reaches another."""
    decoder = family.child.decoder
    queries = torch.randn(2, 3, SIZES.queries, SIZES.dim, dtype=torch.float64)

    updated = [update(queries[:, 0], queries, decoder.query_embed) for update in decoder.clip_updates]

    assert decoder.rho.eq(0).all()
    for each in updated:
        torch.testing.assert_close(each, queries.mean(1), **EXACT)


def test_a_converted_checkpoint_says_what_is_not_trained(family: Family) -> None:
    info = family.made.info

    assert "identity" in info.untrained
    assert (info.sizes["rho"], info.sizes["class_head"], info.sizes["clip_update"]) == (0.0, "sigmoid", "aligned")
    assert (info.method, len(info.categories)) == ("ifr", 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_may_be_left_open(parent: Mask2FormerVis, layout: str) -> None:
    published = Foreign(to_published(parent.state_dict(), layout))

    told, found = convert(published, layout), convert(published, "auto")

    assert told.info == found.info
    assert told.tensors.keys() == found.tensors.keys()
    assert [name for name, tensor in told.tensors.items() if not tensor.equal(found.tensors[name])] == []


def test_the_same_file_is_converted_to_the_same_numbers_whatever_was_drawn_before(parent: Mask2FormerVis) -> None:
    published = Foreign(to_published(parent.state_dict(), LAYOUTS[0]))
    first = convert(published, "auto").tensors

    torch.rand(7)
    second = convert(published, "auto").tensors

    assert [name for name, tensor in first.items() if not tensor.equal(second[name])] == []


@pytest.mark.parametrize("name", ["r50", "swin-t"])
def test_published_sizes_go_by_the_name_of_their_preset(name: str) -> None:
    with torch.device("meta"):
        published = to_published(Mask2FormerVis(PRESETS[name]).state_dict(), LAYOUTS[1])
        info = convert(Foreign(published), "auto").info

    assert info.preset == name


def test_a_head_for_other_classes_is_left_behind(parent: Mask2FormerVis) -> None:
    preset = Preset(**{**asdict(SIZES), "num_classes": 7})

    tensors = start(preset, as_checkpoint(parent, SIZES, "mask2former-vis"))

    assert not [name for name in tensors if "class_embed" in name]
    assert "decoder.layers.0.cross_attn.to_q.weight" in tensors


def test_an_ifr_parent_is_taken_as_it_is() -> None:
    preset = Preset(**asdict(replace(SIZES, backbone="resnet-tiny")))
    network = Ifr(preset)

    tensors = start(preset, as_checkpoint(network, preset, "ifr"))

    assert tensors.keys() == network.state_dict().keys()


def test_a_sigmoid_head_cannot_become_a_softmax_one() -> None:
    preset = Preset(**asdict(replace(SIZES, backbone="resnet-tiny")))
    parent = as_checkpoint(Ifr(preset), preset, "ifr")

    with pytest.raises(WeightsError, match="class head"):
        start(replace(preset, class_head="softmax"), parent)


def test_another_family_is_refused(parent: Mask2FormerVis) -> None:
    with pytest.raises(WeightsError, match="belongs to `hitf`"):
        start(Preset(**asdict(SIZES)), as_checkpoint(parent, SIZES, "hitf"))


def test_a_parent_of_another_size_is_refused_with_the_tensor(parent: Mask2FormerVis) -> None:
    preset = Preset(**{**asdict(SIZES), "queries": 9})

    with pytest.raises(WeightsError, match=r"decoder.query_feat.*\(6, 64\) instead of \(9, 64\)"):
        start(preset, as_checkpoint(parent, SIZES, "mask2former-vis"))
