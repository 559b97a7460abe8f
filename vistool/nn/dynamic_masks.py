"""CondInst's mask head (Tian et al., ECCV 2020): every instance brings the weights of its own three 1x1 convolutions.

They read eight feature maps and where each pixel lies relative to the instance. What is a unit of length, and what is
the instance's place, is for the caller to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

COORDINATES = 2


@dataclass(frozen=True, slots=True)
class DynamicMaskHead:
    """The widths of the three layers: coordinates and `features` → `hidden` → `hidden` → 1, ReLU between them."""

    features: int = 8
    hidden: int = 8

    @property
    def parameters(self) -> int:
        """Numbers that an instance brings; 169 as published."""
        return sum(self._weights) + sum(self._biases)

    def masks(self, kernels: Tensor, features: Tensor, coordinates: Tensor) -> Tensor:
        """kernels (N, parameters), features (features, h, w) of one frame, coordinates (N, 2, h, w) → logits (N, h, w).

        A kernel holds the weights of all layers, rows of outputs one after another, coordinates before features; then
        the biases of all layers.
        """
        count, size = len(kernels), features.shape[-2:]
        x = torch.cat([coordinates, features.expand(count, -1, -1, -1)], dim=1).flatten(2)  # (N, 2 + features, P)
        weights, biases = kernels.split([sum(self._weights), sum(self._biases)], dim=-1)
        layers = zip(weights.split(self._weights, dim=-1), biases.split(self._biases, dim=-1), strict=True)
        for number, (weight, bias) in enumerate(layers):
            x = x if number == 0 else F.relu(x)
            x = torch.baddbmm(bias[..., None], weight.unflatten(-1, (bias.shape[-1], -1)), x)
        return x.view(count, *size)

    @property
    def _weights(self) -> list[int]:
        return [(COORDINATES + self.features) * self.hidden, self.hidden**2, self.hidden]

    @property
    def _biases(self) -> list[int]:
        return [self.hidden, self.hidden, 1]


def relative_coordinates(points: Tensor, size_hw: tuple[int, int], stride: int, unit: Tensor | float = 1.0) -> Tensor:
    """From each pixel of a map to each point: points xy (N, 2) in pixels of the frame → (N, 2, h, w) as x, y.

    The map lies at `stride`, its first pixel at half a stride. `unit` is the length, in pixels of the frame, that
    counts as one: a number, or one a point (N,). A negative unit turns the arrows round.
    """
    height, width = size_hw
    x, y = (torch.arange(count, device=points.device) * stride + stride // 2 for count in (width, height))
    dx = (points[:, 0, None] - x)[:, None, :].expand(-1, height, -1)
    dy = (points[:, 1, None] - y)[:, :, None].expand(-1, -1, width)
    arrows = torch.stack([dx, dy], dim=1)
    return arrows / (unit.view(-1, 1, 1, 1) if isinstance(unit, Tensor) else unit)


def aligned_bilinear(maps: Tensor, factor: int) -> Tensor:
    """(N, h, w) → (N, factor·h, factor·w): pixel p of the input lands on pixel factor·p + factor // 2 of the output.

    Between them it is bilinear; before the first and after the last pixel it repeats them.
    """
    height, width = maps.shape[-2:]
    before = factor // 2
    fine = F.interpolate(
        F.pad(maps[:, None], (0, 1, 0, 1), mode="replicate"),
        size=(factor * height + 1, factor * width + 1),
        mode="bilinear",
        align_corners=True,
    )
    fine = F.pad(fine, (before, 0, before, 0), mode="replicate")
    return fine[:, 0, : factor * height, : factor * width]
