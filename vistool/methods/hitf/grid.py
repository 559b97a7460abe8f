"""Cells and pixels: cell i of a map at stride s lies on pixel s·i, in the network and in what it says."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .layers import resized

MASK_STRIDE = 4
"""Pixels from a cell of the mask logits to the next."""


def aligned(frames: Tensor, stride: int) -> Tensor:
    """frames (…, H, W) with zeros on the right and below, so that the last cell lies on the last pixel."""
    height, width = frames.shape[-2:]
    return F.pad(frames, (0, (1 - width) % stride, 0, (1 - height) % stride))


def at_pixels(logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Mask logits (B, L, h, w) of a frame that was given as (3, H, W) → (B, L, H, W)."""
    height, width = ((cells - 1) * MASK_STRIDE + 1 for cells in logits.shape[-2:])
    return resized(logits, (height, width))[..., : size_hw[0], : size_hw[1]]
