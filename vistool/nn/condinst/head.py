"""The head of FCOS (Tian et al., ICCV 2019) with the controller of CondInst, and an output for identities beside.

Its weights are shared by all levels of the pyramid, but for one factor a level.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sizes import CondInstSizes

STRIDES = (8, 16, 32, 64, 128)
PRIOR = 0.01  # probability that every class and identity starts at
WEIGHT_STD = 0.01  # of fresh convolutions


class LevelOutput(NamedTuple):
    """What the head says on one level."""

    class_logits: Tensor  # (B, K, h, w)
    id_logits: Tensor  # (B, N, h, w)
    distances: Tensor  # (B, 4, h, w), to the box's left, top, right and bottom, in pixels, not negative
    centerness: Tensor  # (B, 1, h, w) logits
    kernels: Tensor  # (B, parameters, h, w)


class Head(nn.Module):
    """Towers of convolutions for classes, boxes and identities, and the outputs that stand on them."""

    def __init__(self, sizes: CondInstSizes, kernel_numbers: int) -> None:
        super().__init__()
        self.class_tower = _tower(sizes, sizes.tower_depth)
        self.box_tower = _tower(sizes, sizes.tower_depth)
        self.class_logits = _output(sizes, sizes.num_classes)
        self.box = _output(sizes, 4)
        self.centerness = _output(sizes, 1)
        self.controller = _output(sizes, kernel_numbers)
        self.scales = nn.ParameterList(nn.Parameter(torch.tensor(1.0)) for _ in STRIDES)
        self.id_tower = _tower(sizes, sizes.id_depth) if sizes.num_ids else None
        self.id_logits = _output(sizes, sizes.num_ids) if sizes.num_ids else None
        self._reset()

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[LevelOutput, ...]:
        """Five levels (B, dim, h_i, w_i), fine to coarse."""
        return tuple(
            self._level(x, scale, stride) for x, scale, stride in zip(levels, self.scales, STRIDES, strict=True)
        )

    def _level(self, x: Tensor, scale: Tensor, stride: int) -> LevelOutput:
        for_boxes = self.box_tower(x)
        if self.id_tower is None or self.id_logits is None:
            id_logits = x[:, :0]
        else:
            id_logits = self.id_logits(self.id_tower(x))
        return LevelOutput(
            class_logits=self.class_logits(self.class_tower(x)),
            id_logits=id_logits,
            distances=F.relu(scale * self.box(for_boxes).float()) * stride,
            centerness=self.centerness(for_boxes),
            kernels=self.controller(for_boxes),
        )

    def _reset(self) -> None:
        """Small weights everywhere, and few classes and identities to begin with."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=WEIGHT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for output in (self.class_logits, self.id_logits):
            if output is not None and output.bias is not None:
                nn.init.constant_(output.bias, -math.log((1 - PRIOR) / PRIOR))


def points(sizes_hw: tuple[tuple[int, int], ...]) -> tuple[Tensor, ...]:
    """Where the pixels of every level lie: xy (h·w, 2) in pixels of the input, row by row."""
    return tuple(_grid(size_hw, stride) for size_hw, stride in zip(sizes_hw, STRIDES, strict=True))


def _grid(size_hw: tuple[int, int], stride: int) -> Tensor:
    height, width = size_hw
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1) * float(stride) + stride // 2


def corners(points: Tensor, distances: Tensor) -> Tensor:
    """Boxes around points xy (P, 2) at distances left, top, right, bottom (…, P, 4) → corners (…, P, 4)."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def _tower(sizes: CondInstSizes, depth: int) -> nn.Sequential:
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(sizes.dim, sizes.dim, 3, padding=1, bias=sizes.tower_bias),
                nn.GroupNorm(sizes.groups, sizes.dim),
                nn.ReLU(),
            )
            for _ in range(depth)
        )
    )


def _output(sizes: CondInstSizes, channels: int) -> nn.Conv2d:
    return nn.Conv2d(sizes.dim, channels, 3, padding=1)
