"""The decoder of DeepLabV3+: a wide look at the coarsest map, joined with the finest one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import map_block, resized, separable_block
from .presets import Preset

RATES = (6, 12, 18)
"""Cells between those that a branch looks at, at stride 16; half of it at stride 32."""


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling: places, three rings around them, and the frame as a whole."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        width, norm = preset.decoder_width, preset.norm
        rates = [rate * 16 // preset.output_stride for rate in RATES]
        block = separable_block if preset.aspp == "separable" else map_block
        self.place = map_block(channels, width, norm)
        self.rings = nn.ModuleList(block(channels, width, norm, 3, dilation=rate) for rate in rates)
        self.whole = nn.Conv2d(channels, width, 1)  # without a norm: a batch of one frame has one value a channel
        self.join = map_block((2 + len(rates)) * width, width, norm)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, h, w) → (B, W, h, w)."""
        whole = F.relu(self.whole(pixels.mean((2, 3), keepdim=True))).expand(-1, -1, *pixels.shape[-2:])
        parts = [self.place(pixels), *(ring(pixels) for ring in self.rings), whole]
        joined: Tensor = self.join(torch.cat(parts, 1))
        return joined


class Decoder(nn.Module):
    """From the coarsest and the finest map to one at stride 4."""

    def __init__(self, preset: Preset, channels: int, fine_channels: int) -> None:
        super().__init__()
        width, norm = preset.decoder_width, preset.norm
        self.aspp = map_block(channels, width, norm) if preset.aspp == "none" else Aspp(preset, channels)
        self.dropout = nn.Dropout(preset.dropout)
        self.low = map_block(fine_channels, preset.low_width, norm)
        self.fuse = nn.Sequential(
            separable_block(width + preset.low_width, width, norm, 3), separable_block(width, width, norm, 3)
        )

    def forward(self, pixels: Tensor, fine: Tensor) -> Tensor:
        """pixels (B, C, h, w) before their activation, fine (B, C2, H/4, W/4) → (B, W, H/4, W/4)."""
        wide = resized(self.dropout(self.aspp(F.relu(pixels))), fine.shape[-2:])
        fused: Tensor = self.fuse(torch.cat([wide, self.low(fine)], 1))
        return fused
