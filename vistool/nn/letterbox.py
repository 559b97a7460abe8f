"""Fits pictures to a network's input size and brings mask logits back. One value that knows both ways."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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

        Upsampled to the padded input, cropped, upsampled to the source, then logit > 0: the published order. Bilinear
        resizing is a product with one matrix a side, and both steps together are one product; a pixel can be positive
        only where a positive logit has a share in it, so only those rows and columns are computed. The result lies
        column by column, as run lengths want it.
        """
        height, width = self.source_hw
        masks = mask_logits.new_zeros((len(mask_logits), width, height), dtype=torch.bool)
        h, w = mask_logits.shape[1:]
        device = mask_logits.device
        rows = _resizing(h, self.padded_hw[0], self.inner_hw[0], height, device)  # (H, h)
        columns = _resizing(w, self.padded_hw[1], self.inner_hw[1], width, device)  # (W, w)
        for mask, logits in zip(masks, mask_logits.float(), strict=True):
            positive = logits > 0
            top, bottom = _reach(rows, positive.any(1))
            left, right = _reach(columns, positive.any(0))
            part = columns[left:right] @ logits.T @ rows[top:bottom].T
            torch.gt(part, 0, out=mask[left:right, top:bottom])
        return masks.transpose(1, 2)


@lru_cache(maxsize=16)
def _resizing(cells: int, padded: int, inner: int, source: int, device: torch.device) -> Tensor:
    """The matrix from a line of logits to a line of source pixels, (source, cells)."""
    line = torch.eye(cells, device=device)[None]
    line = F.interpolate(line, size=padded, mode="linear", align_corners=False)[..., :inner]
    line = F.interpolate(line, size=source, mode="linear", align_corners=False)
    return line[0].T.contiguous()


def _reach(resizing: Tensor, positive: Tensor) -> tuple[int, int]:
    """First and one past the last source pixel in which a positive cell has a share; (0, 0) without one."""
    touched = (resizing @ positive.float()).nonzero()
    return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 0)
