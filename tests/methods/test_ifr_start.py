"""How IFR begins from other weights."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from vistool.errors import WeightsError
from vistool.methods.ifr.checkpoint import convert
from vistool.methods.ifr.network import Ifr
from vistool.methods.ifr.presets import Preset
from vistool.methods.ifr.start import start
from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.methods.published_info import describe
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.published import to_published
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.foreign import Foreign

SIZES = Mask2FormerSizes(
    backbone="resnet-50", num_classes=3, queries=4, dim=64, encoder_layers=1, encoder_ffn=64, decoder_layers=3,
    decoder_ffn=64,
)  # fmt: skip


@pytest.fixture(scope="module")
def parent() -> Mask2FormerVis:
    torch.manual_seed(0)
    return Mask2FormerVis(SIZES).eval()


def as_checkpoint(network: torch.nn.Module, sizes: Mask2FormerSizes, method: str) -> Checkpoint:
    return Checkpoint(describe(method, sizes, {}), network.state_dict(), name="parent")


@pytest.mark.parametrize("layout", ["detectron2-mask2former", "auto"])
@torch.no_grad()
def test_a_converted_checkpoint_starts_with_mask2formers_masks(parent: Mask2FormerVis, layout: str) -> None:
    published = to_published(parent.state_dict(), "detectron2-mask2former")

    made = convert(Foreign(published), layout)

    child = Ifr(Preset(**made.info.sizes)).eval()
    child.load_state_dict(dict(made.tensors))
    frames = torch.randn(1, 1, 3, 64, 64)
    ours, theirs = child(frames), parent(frames).final
    torch.testing.assert_close(ours.mask_logits(), theirs.mask_logits, atol=1e-3, rtol=1e-4)
    logits = theirs.class_logits[..., :-1] - theirs.class_logits[..., -1:]
    torch.testing.assert_close(ours.final.class_logits, logits, atol=1e-4, rtol=1e-4)
    assert "identity" in made.info.untrained


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

    with pytest.raises(WeightsError, match=r"decoder.query_feat.*\(4, 64\) instead of \(9, 64\)"):
        start(preset, as_checkpoint(parent, SIZES, "mask2former-vis"))
