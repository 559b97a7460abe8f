"""Multi-scale deformable attention in plain PyTorch: one `grid_sample` a level (Deformable DETR, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Every query reads a few points around its reference on every level, with learned offsets and weights."""

    def __init__(self, dim: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._initialise()

    def _initialise(self) -> None:
        """Offsets start as a ring: head h looks along angle 2πh / heads, point k at distance k + 1 (max-norm)."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ring = torch.stack([angles.cos(), angles.sin()], dim=-1)
        ring = ring / ring.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.points + 1)[:, None]
        with torch.no_grad():
            offsets = ring[:, None, None] * distance  # (heads, 1, points, 2)
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: Tensor, references: Tensor, memory: Tensor, sizes_hw: Sequence[tuple[int, int]]
    ) -> Tensor:
        """queries (B, L, D), references (B or 1, L, levels or 1, 2 or 4), memory (B, P, D) → (B, L, D).

        References are points xy or boxes cxcywh, in [0, 1]. `memory` is the levels of `sizes_hw` one after another.
        Samples outside a level read zero.
        """
        batch, length, _ = queries.shape
        values = self.value_proj(memory).unflatten(-1, (self.heads, -1))  # (B, P, heads, d)
        offsets = self.sampling_offsets(queries).view(batch, length, self.heads, self.levels, self.points, 2)
        weights = self.attention_weights(queries).view(batch, length, self.heads, -1).softmax(-1)
        grids = 2 * self._locations(references, offsets, sizes_hw) - 1
        weights = weights.view(batch, length, self.heads, self.levels, self.points).transpose(1, 2).flatten(0, 1)
        mixed: Tensor | None = None
        for level, (size, value) in enumerate(
            zip(sizes_hw, values.split([h * w for h, w in sizes_hw], dim=1), strict=True)
        ):
            plane = value.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, size)  # (B·heads, d, h, w)
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B·heads, L, points, 2)
            sampled = F.grid_sample(plane, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            part = (sampled * weights[:, None, :, level]).sum(-1)  # (B·heads, d, L)
            mixed = part if mixed is None else mixed + part
        assert mixed is not None
        out: Tensor = self.output_proj(mixed.unflatten(0, (batch, self.heads)).flatten(1, 2).transpose(1, 2))
        return out

    def _locations(self, references: Tensor, offsets: Tensor, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
        """Sampling points in [0, 1], xy; (B, L, heads, levels, points, 2)."""
        references = references[:, :, None, :, None]
        if references.shape[-1] == 4:  # boxes: offsets are shares of half the box
            return references[..., :2] + offsets / self.points * references[..., 2:] * 0.5
        scale = torch.tensor([[w, h] for h, w in sizes_hw], dtype=offsets.dtype, device=offsets.device)
        return references + offsets / scale[:, None]
