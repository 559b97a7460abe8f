"""What Mask2Former and IFR do with every frame alike: backbone and pixel decoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import Backbone
from .pixel_decoder import PixelDecoder, PixelFeatures
from .presets import Mask2FormerSizes

STRIDE = 32


class FrameTrunk(nn.Module):
    """Backbone and pixel decoder, frame by frame."""

    def __init__(self, sizes: Mask2FormerSizes) -> None:
        super().__init__()
        self.backbone = Backbone(sizes.backbone, frozen_norms=sizes.frozen_norms)
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels,
            dim=sizes.dim,
            heads=sizes.heads,
            hidden=sizes.encoder_ffn,
            layers=sizes.encoder_layers,
            points=sizes.encoder_points,
        )

    def forward(self, frames: Tensor) -> PixelFeatures:
        """frames (B, T, 3, H, W) normalised → features of B·T frames, of the size padded to a multiple of 32.

        Padding is zeros on the right and below, after normalisation and without a mask, as published.
        """
        height, width = frames.shape[-2:]
        padded = F.pad(frames.flatten(0, 1), (0, -width % STRIDE, 0, -height % STRIDE))
        features: PixelFeatures = self.pixel_decoder(self.backbone(padded))
        return features
