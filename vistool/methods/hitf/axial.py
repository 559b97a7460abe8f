"""Pixels of a frame look at one another: along columns, then along rows, or all at all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Mixing, PixelBranch, split_heads
from .layers import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, Projections, map_block, token_norm, tokens_of
from .presets import Norm, Preset


class AxisAttention(nn.Module):
    """Position-sensitive axial attention: within lines, and distance speaks in queries, keys and values.

    Distances of `span` cells and more are one.
    """

    def __init__(self, inner: int, preset: Preset, span: int) -> None:
        super().__init__()
        norm: Norm = preset.norm
        self.heads, self.span = preset.heads, span
        key, value = preset.key_width // self.heads, preset.value_width // self.heads
        self.qkv = Projections(inner, (preset.key_width, preset.key_width, preset.value_width), norm)
        self.query_table = nn.Parameter(torch.empty(2 * span - 1, key))
        self.key_table = nn.Parameter(torch.empty(2 * span - 1, key))
        self.value_table = nn.Parameter(torch.empty(2 * span - 1, value))
        for table in (self.query_table, self.key_table, self.value_table):
            nn.init.trunc_normal_(table, std=1.0)
        self.scale = key**-0.5 if norm == "layer" else 1.0
        self.logit_norms = nn.ModuleList(
            nn.BatchNorm2d(self.heads, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM) if norm == "batch" else nn.Identity()
            for _ in range(3)
        )
        self.value_norms = nn.ModuleList(
            token_norm(preset.value_width, norm) if norm == "batch" else nn.Identity() for _ in range(2)
        )

    def forward(self, lines: Tensor) -> Tensor:
        """lines (N, n, C) → (N, n, V)."""
        q, k, v = (split_heads(each, self.heads) for each in self.qkv(lines))
        places = self._places(lines.shape[1])  # (n, n)
        parts = (
            q @ k.transpose(2, 3),
            torch.einsum("bhid,ijd->bhij", q, self.query_table[places]),
            torch.einsum("bhjd,ijd->bhij", k, self.key_table[places]),
        )
        logits = sum(norm(part) for norm, part in zip(self.logit_norms, parts, strict=True)) * self.scale
        shares = logits.softmax(-1)  # (N, heads, n, n)
        found = shares @ v, torch.einsum("bhij,ijd->bhid", shares, self.value_table[places])
        first, second = (
            norm(each.transpose(1, 2).flatten(2)) for norm, each in zip(self.value_norms, found, strict=True)
        )
        return first + second  # type: ignore[no-any-return]

    def _places(self, count: int) -> Tensor:
        """Row of the tables for each query and key: the distance from query to key, from 0."""
        cells = torch.arange(count, device=self.query_table.device)
        distance = cells - cells[:, None]
        return distance.clamp(1 - self.span, self.span - 1) + self.span - 1


class AxialAttention(nn.Module):
    """(B, C, h, w) → what to add to it: columns first, then rows of what they found."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        span = 1 + (preset.long_side - 1) // preset.output_stride
        self.reduce = map_block(channels, preset.dim, preset.norm)
        self.height = AxisAttention(preset.dim, preset, span)
        self.width = AxisAttention(preset.value_width, preset, span)
        self.out = PixelBranch(preset, channels)

    def forward(self, pixels: Tensor) -> Tensor:
        reduced = self.reduce(F.relu(pixels))
        batch, _, height, width = reduced.shape
        columns = self.height(reduced.permute(0, 3, 2, 1).flatten(0, 1)).unflatten(0, (batch, width))
        rows = self.width(columns.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, height))
        added: Tensor = self.out(rows.flatten(1, 2), (height, width))
        return added


class FullAttention(nn.Module):
    """(B, C, h, w) → what to add to it: every pixel looks at every other, by content alone."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        self.reduce = map_block(channels, preset.dim, preset.norm)
        widths = (preset.key_width, preset.key_width, preset.value_width)
        self.qkv = Projections(preset.dim, widths, preset.norm)
        self.attn = Mixing(preset.heads, preset.key_width, preset.value_width, preset.norm)
        self.out = PixelBranch(preset, channels)

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.attn(*self.qkv(tokens_of(self.reduce(F.relu(pixels)))))
        added: Tensor = self.out(found, pixels.shape[-2:])
        return added
