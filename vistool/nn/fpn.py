"""Feature pyramid (Lin et al., CVPR 2017): maps of a backbone, each told what the coarser ones see, and more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Coarser = Literal["convolutions", "pool"]


class Fpn(nn.Module):
    """Maps of any strides, each twice the one before; all outputs have `dim` channels.

    `coarser` says how the pyramid goes on: by two convolutions of stride 2, with a ReLU between them (P6 and P7 of
    FCOS and RetinaNet), or by every second pixel of the last output (P6 of Mask R-CNN).
    """

    def __init__(self, in_channels: Sequence[int], dim: int, *, coarser: Coarser) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, dim, 1) for channels in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in in_channels)
        steps = 2 if coarser == "convolutions" else 0
        self.coarser = nn.ModuleList(nn.Conv2d(dim, dim, 3, stride=2, padding=1) for _ in range(steps))
        for convolution in (*self.lateral, *self.output, *self.coarser):
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """maps (B, C_i, h_i, w_i), fine to coarse → as many maps (B, dim, h_i, w_i) and one or two coarser ones.

        A coarser map has half the sides, rounded up.
        """
        own = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        merged = list(_from_above(own))
        levels = [output(x) for output, x in zip(self.output, merged, strict=True)]
        if not self.coarser:
            return *levels, F.max_pool2d(levels[-1], kernel_size=1, stride=2)
        levels.append(self.coarser[0](levels[-1]))
        levels.append(self.coarser[1](F.relu(levels[-1])))
        return tuple(levels)


def _from_above(maps: Sequence[Tensor]) -> Iterable[Tensor]:
    """Every map plus all coarser ones, brought to its size by repeating their pixels; fine to coarse."""
    merged = [maps[-1]]
    for finer in reversed(maps[:-1]):
        merged.append(finer + F.interpolate(merged[-1], size=finer.shape[-2:], mode="nearest"))
    return reversed(merged)
