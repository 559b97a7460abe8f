"""Anchors: boxes of a few shapes at every pixel of a pyramid, which proposals are told relative to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

RATIOS = (0.5, 1.0, 2.0)
"""Height to width of the anchors of a pixel."""
FINEST_STRIDE = 4


def anchors(sizes_hw: Sequence[tuple[int, int]], input_hw: tuple[int, int], scale: float) -> tuple[Tensor, ...]:
    """Of every level, finest first: corners (h·w·3, 4) in pixels, row by row, the shapes of a pixel one after another.

    An anchor of level i is as large as a square of `scale` strides of 4·2^i, whatever the size of the map. The first
    one lies around the corner of the input, the next ones at whole numbers of pixels from it: the sides of the input by
    those of the map, rounded down. So a map that was rounded up has anchors closer together than its stride.
    """
    levels = []
    for level, (height, width) in enumerate(sizes_hw):
        shapes = shapes_of(scale * FINEST_STRIDE * 2**level)
        y = torch.arange(height) * (input_hw[0] // height)
        x = torch.arange(width) * (input_hw[1] // width)
        corners = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)] * 2, dim=-1)
        levels.append((corners.view(-1, 1, 4) + shapes).view(-1, 4))
    return tuple(levels)


def shapes_of(side: float) -> Tensor:
    """Boxes of the area of a square with this side around 0, 0, one a ratio: corners (3, 4), whole numbers."""
    tall = torch.tensor(RATIOS).sqrt()
    half = torch.stack([side / tall, side * tall], dim=-1) / 2
    return torch.cat([-half, half], dim=-1).round()
