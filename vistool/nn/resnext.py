"""ResNeXt (Xie et al., CVPR 2017): a ResNet whose bottlenecks are wide and convolve their channels in groups."""

from __future__ import annotations

from typing import Any

from torch import nn

from .backbones import Backbone

RESNEXTS: dict[str, tuple[str, int]] = {"resnext-101-32x8d": ("resnet-101", 32)}
"""Name → the ResNet of the same depths, and the number of groups. A bottleneck is as wide as what it adds to."""


class ResNeXt(Backbone):
    """A backbone by a name of RESNEXTS. Its parts are called as those of the ResNet are."""

    def __init__(self, name: str, *, frozen_norms: bool = False) -> None:
        resnet, groups = RESNEXTS[name]
        super().__init__(resnet)
        body: Any = self.body
        for stage in body.encoder.stages:
            for block in stage.layers:
                _widen(block.layer, groups)
        self._frozen = [m for m in self.body.modules() if isinstance(m, nn.BatchNorm2d)] if frozen_norms else []
        for norm in self._frozen:
            norm.requires_grad_(False)


def _widen(bottleneck: Any, groups: int) -> None:
    """New convolutions and norms, strides as they were."""
    first, middle, last = bottleneck
    inner, width = first.convolution.in_channels, last.convolution.out_channels
    stride = middle.convolution.stride
    first.convolution = nn.Conv2d(inner, width, 1, bias=False)
    middle.convolution = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=groups, bias=False)
    last.convolution = nn.Conv2d(width, width, 1, bias=False)
    first.normalization, middle.normalization = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
