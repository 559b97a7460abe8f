"""Fits pictures to a network's input size and brings mask logits back. One value that knows both ways."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The sizes between a source and a network: resize to `inner_hw`, then pad bottom and right to `padded_hw`."""

    source_hw: tuple[int, int]
    inner_hw: tuple[int, int]
    padded_hw: tuple[int, int]

    @classmethod
    def fit(
        cls, source_hw: tuple[int, int], *, short_side: int, long_side_max: int = 1333, multiple: int = 32
    ) -> Letterbox:
        """Keep the aspect ratio, bring the short side to `short_side` unless the long one would pass its maximum."""
        short, long = sorted(source_hw)
        scale = min(short_side / short, long_side_max / long)
        height, width = (max(1, round(side * scale)) for side in source_hw)
        padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        return cls(source_hw, (height, width), padded)

    def apply(self, images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """images uint8 (T, H, W, 3) at `source_hw`; mean, std (3,) of 0..255 → float32 (T, 3, *inner_hw), normalised.

        The resize is bilinear with antialiasing. Padding is the network's own step.
        """
        pixels = images.permute(0, 3, 1, 2)
        if self.inner_hw != self.source_hw:
            pixels = F.interpolate(pixels, size=self.inner_hw, mode="bilinear", align_corners=False, antialias=True)
        return (pixels.float() - mean[:, None, None]) / std[:, None, None]

    def undo(self, mask_logits: Tensor) -> Tensor:
        """mask_logits (N, h, w) that cover `padded_hw` → bool (N, *source_hw).

        Upsampled to the padded input, cropped, upsampled to the source, then logit > 0: the published order. Works on
        transposed planes, so that the result lies column by column as run lengths want it.
        """
        if not len(mask_logits):  # which interpolation refuses
            return mask_logits.new_zeros((0, *self.source_hw), dtype=torch.bool)
        logits = mask_logits.float().transpose(1, 2)[None]  # (1, N, w, h)
        logits = F.interpolate(logits, size=self.padded_hw[::-1], mode="bilinear", align_corners=False)
        logits = logits[..., : self.inner_hw[1], : self.inner_hw[0]]
        if self.inner_hw != self.source_hw:
            logits = F.interpolate(logits, size=self.source_hw[::-1], mode="bilinear", align_corners=False)
        return torch.gt(logits[0], 0).transpose(1, 2)
