"""MaskDINO's pixel decoder: a deformable encoder over three to five levels, and the per-pixel embedding at stride 4.

It is Mask2Former's (`nn.pixel_decoder`) with levels and order that differ from release to release.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pixel_decoder import EncoderLayer, attend
from .sizes import MaskDinoSizes

BACKBONE_STRIDES = (4, 8, 16, 32)
GROUPS = 32  # of group norm


@dataclass(frozen=True, slots=True)
class EncodedFrames:
    """What queries are selected from and look at, of B frames."""

    memory: Tensor  # (B, P, D), the levels one after another in the decoder's order
    sizes_hw: tuple[tuple[int, int], ...]  # of the levels
    pixels: Tensor  # (B, D, H / 4, W / 4), what mask kernels are applied to


class PyramidEncoder(nn.Module):
    """Backbone maps → attended levels and the per-pixel embedding."""

    def __init__(self, channels: tuple[int, ...], sizes: MaskDinoSizes) -> None:
        super().__init__()
        dim, strides = sizes.dim, sizes.strides
        width = dict(zip(BACKBONE_STRIDES, channels, strict=True))
        self.strides = strides
        self.input_projections = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width[stride], dim, 1)
                if stride in width
                else nn.Conv2d(channels[-1], dim, 3, stride=2, padding=1),
                nn.GroupNorm(GROUPS, dim),
            )
            for stride in strides
        )
        self.level_embed = nn.Parameter(torch.randn(len(strides), dim))
        self.layers = nn.ModuleList(
            EncoderLayer(dim, sizes.heads, sizes.encoder_ffn, len(strides), sizes.points)
            for _ in range(sizes.encoder_layers)
        )
        self.adapter = nn.Sequential(nn.Conv2d(channels[0], dim, 1, bias=False), nn.GroupNorm(GROUPS, dim))
        self.smooth = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, dim), nn.ReLU())
        self.mask_projection = nn.Conv2d(dim, dim, 1)

    def forward(self, maps: tuple[Tensor, ...]) -> EncodedFrames:
        """maps at strides 4, 8, 16, 32 (B, C_i, h_i, w_i) → what the decoder reads."""
        found = dict(zip(BACKBONE_STRIDES, maps, strict=True))
        projected = [
            project(found.get(stride, maps[-1]))
            for project, stride in zip(self.input_projections, self.strides, strict=True)
        ]
        levels, sizes = attend(self.layers, projected, self.level_embed)
        finest = self.strides.index(min(self.strides))
        fine = self.adapter(maps[0])
        upsampled = levels[finest].transpose(1, 2).unflatten(-1, sizes[finest])
        fine = fine + F.interpolate(upsampled, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return EncodedFrames(
            memory=torch.cat(levels[::-1], dim=1),
            sizes_hw=tuple(sizes[::-1]),
            pixels=self.mask_projection(self.smooth(fine)),
        )
