"""A frame on its own: the ResNet it starts as, strides, sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hitf_networks import BACKBONE, BATCH, BOTH, LAYER, enliven, film, network

from vistool.methods.hitf.encoder import Encoder
from vistool.methods.hitf.presets import Preset

BOTTLENECKS = {**BACKBONE, "layer_type": "bottleneck", "hidden_sizes": [16, 24, 32, 48]}


def fresh(preset: Preset) -> Encoder:
    """Its own parts at their start, its backbone alive."""
    torch.manual_seed(0)
    made = Encoder(preset)
    enliven(made.backbone)
    return made.eval()


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
@pytest.mark.parametrize("attention", ["axial", "full", "none"])
def test_before_it_is_trained_it_is_the_resnet(preset: Preset, attention: Any) -> None:
    encoder = fresh(replace(preset, output_stride=32, pixel_attention=attention))
    frames = film(2, (65, 97))
    c2, *_, c5 = encoder.backbone(frames)
    _, pixels, fine = encoder(frames)

    torch.testing.assert_close(fine, c2)
    torch.testing.assert_close(pixels.relu(), c5)
    assert (pixels < 0).any()  # and yet what it hands on has not been cut at zero


@pytest.mark.parametrize(
    ("backbone", "sizes"), [("resnet", BACKBONE), ("resnet", BOTTLENECKS), ("resnet-msra", BOTTLENECKS)]
)
def test_stride_16_has_the_cells_of_stride_32_between_others(backbone: str, sizes: dict[str, Any]) -> None:
    preset = replace(LAYER, backbone=backbone, backbone_sizes=sizes)
    dense, sparse = fresh(preset), fresh(replace(preset, output_stride=32))
    dense.backbone.load_state_dict(sparse.backbone.state_dict())
    frames = film(1, (65, 97))

    at_16, at_32 = dense(frames)[1], sparse(frames)[1]

    assert at_16.shape[-2:] == (5, 7) and at_32.shape[-2:] == (3, 4)
    torch.testing.assert_close(at_16[..., ::2, ::2], at_32)


@pytest.mark.parametrize(
    ("side", "stride", "cells"), [(641, 16, 41), (641, 32, 21), (129, 16, 9), (129, 32, 5), (96, 16, 7), (1, 16, 1)]
)
def test_maps_have_a_cell_at_both_ends(side: int, stride: Any, cells: int) -> None:
    code, pixels, fine = fresh(replace(LAYER, output_stride=stride))(film(1, (side, 33)))

    assert code.shape == (1, 4, 16)
    assert pixels.shape[-2:] == (cells, 1 + 32 // stride)
    assert fine.shape[-2:] == (1 + (cells - 1) * stride // 4, 9)


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_a_batch_gives_what_single_frames_give(preset: Preset) -> None:
    encoder, frames = network(preset).encoder, film(3)
    together = encoder(frames)

    for at in range(3):
        for whole, one in zip(together, encoder(frames[at : at + 1]), strict=True):
            torch.testing.assert_close(whole[at : at + 1], one, atol=1e-5, rtol=1e-5)


def test_with_layer_norms_a_frame_does_not_see_its_batch_in_training() -> None:
    """But for the backbone, whose norms are made to keep their statistics here."""
    made = network(replace(LAYER, frozen_norms=True)).train()
    frames = film(3)
    together = made.fuse(made.encode(frames), ())
    alone = made.fuse(made.encode(frames[:1]), ())

    torch.testing.assert_close(together.mask_logits[:1], alone.mask_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.class_logits[:1], alone.class_logits, atol=1e-5, rtol=1e-5)


def test_another_backbone_than_a_resnet_is_refused() -> None:
    with pytest.raises(ValueError, match="not a ResNet: `swin-tiny`"):
        Encoder(replace(LAYER, backbone="swin-tiny", backbone_sizes={}))


def test_frozen_norms_stay_and_own_norms_learn() -> None:
    encoder = network(replace(BATCH, frozen_norms=True)).encoder.train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items() if "running_mean" in name}
    encoder(film(2))
    moved = {name for name, tensor in encoder.state_dict().items() if name in before and not tensor.equal(before[name])}

    assert moved == {name for name in before if not name.startswith("backbone.")}
