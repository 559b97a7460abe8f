"""Backbones, pixel decoder and what the two do to a frame."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vistool.nn.backbones import RESNETS, SWINS, Backbone
from vistool.nn.presets import TINY, Mask2FormerSizes
from vistool.nn.trunk import FrameTrunk

SIZES = Mask2FormerSizes(**TINY)


@pytest.mark.parametrize("name", [*RESNETS, *SWINS])
def test_backbones_halve_the_map_four_times(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
        maps = backbone(torch.empty(1, 3, 64, 96))

    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", ["resnet-tiny", "swin-tiny"])
def test_every_parameter_of_a_backbone_has_a_gradient(name: str) -> None:
    backbone = Backbone(name).train()

    torch.stack([m.square().mean() for m in backbone(torch.randn(1, 3, 64, 64))]).sum().backward()

    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


def test_frozen_norms_stay_as_they_are_in_training() -> None:
    backbone = Backbone("resnet-tiny", frozen_norms=True).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items() if "normalization" in name}

    maps = backbone(torch.randn(2, 3, 64, 64))
    maps[-1].sum().backward()

    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(torch.equal(backbone.state_dict()[name], value) for name, value in before.items())
    assert all(parameter.grad is None for norm in norms for parameter in norm.parameters())


def test_unknown_backbones_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="resnet-51"):
        Backbone("resnet-51")


def test_padding_is_zeros_below_and_on_the_right() -> None:
    trunk = FrameTrunk(SIZES).eval()
    frames = torch.randn(1, 2, 3, 70, 90)
    padded = torch.zeros(1, 2, 3, 96, 96)
    padded[..., :70, :90] = frames

    with torch.no_grad():
        inside, outside = trunk(frames), trunk(padded)

    assert torch.equal(inside.mask_features, outside.mask_features)
    assert inside.mask_features.shape == (2, SIZES.dim, 24, 24)
    assert [tuple(level.shape[-2:]) for level in inside.levels] == [(3, 3), (6, 6), (12, 12)]


def test_frames_do_not_see_one_another() -> None:
    trunk = FrameTrunk(SIZES).eval()
    frames = torch.randn(2, 2, 3, 64, 64)

    with torch.no_grad():
        together = trunk(frames).mask_features
        alone = torch.cat([trunk(frame[None, None]).mask_features for frame in frames.flatten(0, 1)])

    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_swin_reads_a_map_smaller_than_its_window() -> None:
    trunk = FrameTrunk(replace(SIZES, backbone="swin-tiny")).eval()

    with torch.no_grad():
        features = trunk(torch.randn(1, 1, 3, 32, 64))

    assert features.mask_features.shape == (1, SIZES.dim, 8, 16)
