"""Multi-scale deformable attention in plain PyTorch (Deformable DETR, section 4.1)."""

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
        self,
        queries: Tensor,
        references: Tensor,
        memory: Tensor,
        sizes_hw: Sequence[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """queries (B, L, D), references (B or 1, L, levels or 1, 2 or 4), memory (B, P, D) → (B, L, D).

        References are points xy or boxes cxcywh, in [0, 1]. `memory` is the levels of `sizes_hw` one after another.
        Samples outside a level read zero, and so do pixels of `padding` bool (B, P).
        """
        out: Tensor = self.output_proj(self.read(queries, references, memory, sizes_hw, padding))
        return out

    def read(
        self,
        queries: Tensor,
        references: Tensor,
        memory: Tensor,
        sizes_hw: Sequence[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """As `forward`, before the output projection: for those who project what was read in other ways too."""
        batch, length, _ = queries.shape
        values = self.value_proj(memory)
        if padding is not None:
            values = values.masked_fill(padding[..., None], 0.0)
        offsets = self.sampling_offsets(queries).view(batch, length, self.heads, self.levels, self.points, 2)
        weights = (
            self.attention_weights(queries).view(batch, length, self.heads, -1).softmax(-1).view(offsets.shape[:-1])
        )
        sizes = torch.tensor([[w, h] for h, w in sizes_hw], dtype=references.dtype, device=offsets.device)
        at = self._pixels(references, offsets, sizes[:, None])
        mix = self._sampled if values.requires_grad else self._gathered
        return mix(values, at, weights, sizes_hw)

    def _sampled(self, values: Tensor, at: Tensor, weights: Tensor, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
        """Mixed values (B, L, D), level by level: the way to learn, as going back through it costs far less."""
        batch, length = at.shape[:2]
        heads = batch * self.heads
        planes = values.view(batch, -1, self.heads, values.shape[-1] // self.heads).permute(0, 2, 3, 1).flatten(0, 1)
        samples = []
        for level, part in enumerate(planes.split([h * w for h, w in sizes_hw], dim=-1)):
            height, width = sizes_hw[level]
            grid = (2 * at[:, :, :, level] + 1) / at.new_tensor([width, height]) - 1
            grid = grid.transpose(1, 2).reshape(heads, length, self.points, 2).to(values.dtype)
            samples.append(F.grid_sample(part.unflatten(-1, (height, width)), grid, align_corners=False))
        shares = weights.transpose(1, 2).reshape(heads, 1, length, -1).to(values.dtype)
        mixed = (torch.cat(samples, dim=-1) * shares).sum(-1)  # (B·heads, d, L)
        return mixed.view(batch, -1, length).transpose(1, 2)

    def _gathered(self, values: Tensor, at: Tensor, weights: Tensor, sizes_hw: Sequence[tuple[int, int]]) -> Tensor:
        """Mixed values (B, L, D), as sums of table rows: the way to infer, fastest where heads are wide."""
        batch, length = at.shape[:2]
        table = values.view(-1, values.shape[-1] // self.heads)  # (B·P·heads, d)
        rows, shares = self._taps(at, values.shape[1], sizes_hw)
        bags = (batch * length * self.heads, -1)
        shares = (shares * weights[..., None]).view(bags).to(table.dtype)
        return F.embedding_bag(rows.view(bags), table, per_sample_weights=shares, mode="sum").view(batch, length, -1)

    def _taps(self, at: Tensor, pixels: int, sizes_hw: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Bilinear sampling as a weighted sum: rows of the table int32 and shares, (B, L, heads, levels, points, 4)."""
        sizes = at.new_tensor([[w, h] for h, w in sizes_hw])
        low = at.floor()
        after = at - low
        (x, right), (x_share, right_share) = _two_taps(low[..., 0], after[..., 0], sizes[:, None, 0])
        (y, below), (y_share, below_share) = _two_taps(low[..., 1], after[..., 1], sizes[:, None, 1])
        widths = sizes[:, None, 0].to(torch.int32)
        starts = torch.tensor([0, *(h * w for h, w in sizes_hw[:-1])], dtype=torch.int32, device=at.device).cumsum(0)
        first = torch.arange(len(at), dtype=torch.int32, device=at.device).view(-1, 1, 1, 1, 1) * pixels
        head = torch.arange(self.heads, dtype=torch.int32, device=at.device).view(-1, 1, 1, 1)
        base = first + starts.to(torch.int32)[:, None]
        y, below = y * widths + base, below * widths + base
        rows = torch.stack([y + x, y + right, below + x, below + right], dim=-1) * self.heads + head
        shares = [y_share * x_share, y_share * right_share, below_share * x_share, below_share * right_share]
        return rows, torch.stack(shares, dim=-1)

    def _pixels(self, references: Tensor, offsets: Tensor, sizes: Tensor) -> Tensor:
        """Sampling points xy in pixels of their level, the first at 0; (B, L, heads, levels, points, 2)."""
        references = references[:, :, None, :, None]
        if references.shape[-1] == 4:  # boxes: offsets are shares of half the box
            return (references[..., :2] + offsets / self.points * references[..., 2:] * 0.5) * sizes - 0.5
        return references * sizes + offsets - 0.5


def _two_taps(low: Tensor, after: Tensor, count: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Along one axis of `count` pixels: the pixel at `low` and the next, int32, and the share of each, 0 outside."""
    high = low + 1
    inside, next_inside = (low >= 0) & (low < count), (high >= 0) & (high < count)
    pixels = torch.where(inside, low, 0).to(torch.int32), torch.where(next_inside, high, 0).to(torch.int32)
    return pixels, ((1 - after) * inside, after * next_inside)
