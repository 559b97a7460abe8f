"""Mask2Former's pixel decoder: deformable encoder over three levels, then one FPN step to stride 4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .deformable import DeformableAttention
from .mlp import FeedForward
from .positional import sine_2d


@dataclass(frozen=True, slots=True)
class PixelFeatures:
    """What the decoder reads of a batch of frames."""

    levels: tuple[Tensor, ...]  # (B, D, h, w) at strides 32, 16, 8
    mask_features: Tensor  # (B, D, H / 4, W / 4)


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, normalised after the sum. Position joins the query only."""

    def __init__(self, dim: int, heads: int, hidden: int, levels: int, points: int) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, heads, levels, points)
        self.self_attn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, hidden)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(self, pixels: Tensor, position: Tensor, references: Tensor, sizes_hw: list[tuple[int, int]]) -> Tensor:
        """pixels (B, P, D), position (P, D), references (1, P, 1, 2) → (B, P, D)."""
        pixels = self.self_attn_norm(pixels + self.self_attn(pixels + position, references, pixels, sizes_hw))
        out: Tensor = self.ffn_norm(pixels + self.ffn(pixels))
        return out


class PixelDecoder(nn.Module):
    """Backbone maps → three attended levels and the per-pixel embedding."""

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        dim: int,
        heads: int,
        hidden: int,
        layers: int,
        points: int,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.input_projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, dim, 1), nn.GroupNorm(groups, dim)) for c in channels[:0:-1]
        )
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, hidden, 3, points) for _ in range(layers))
        self.adapter = nn.Sequential(nn.Conv2d(channels[0], dim, 1, bias=False), nn.GroupNorm(groups, dim))
        self.smooth = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.GroupNorm(groups, dim), nn.ReLU())
        self.mask_projection = nn.Conv2d(dim, dim, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> PixelFeatures:
        """maps fine to coarse (B, C_i, h_i, w_i) → features; the levels go in coarse to fine."""
        projected = [project(m) for project, m in zip(self.input_projections, maps[:0:-1], strict=True)]
        parts, sizes = attend(self.layers, projected, self.level_embed)
        levels = tuple(part.transpose(1, 2).unflatten(-1, size) for part, size in zip(parts, sizes, strict=True))
        fine = self.adapter(maps[0])
        fine = fine + F.interpolate(levels[-1], size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return PixelFeatures(levels, self.mask_projection(self.smooth(fine)))


def attend(
    layers: Iterable[nn.Module], maps: Sequence[Tensor], codes: Tensor
) -> tuple[tuple[Tensor, ...], list[tuple[int, int]]]:
    """All levels through the layers of a deformable encoder, together.

    maps (B, D, h_i, w_i), codes (levels, D) that join the positions → tokens (B, h_i·w_i, D) and size of each level.
    """
    sizes = [(int(m.shape[-2]), int(m.shape[-1])) for m in maps]
    dim, device = maps[0].shape[1], maps[0].device
    position = torch.cat([sine_2d(size, dim, device) + code for size, code in zip(sizes, codes, strict=True)])
    references = torch.cat([cell_centres(size, device) for size in sizes])[None, :, None]
    tokens = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
    for layer in layers:
        tokens = layer(tokens, position, references, sizes)
    return tokens.split([h * w for h, w in sizes], dim=1), sizes


def cell_centres(size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Pixel centres as shares of the map, xy; (H·W, 2)."""
    height, width = size_hw
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1).flatten(0, 1)
