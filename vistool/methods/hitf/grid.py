"""Cells and pixels: cell i of a map at stride s lies on pixel s·i, in the network and in what it says."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

MASK_STRIDE = 4
"""Pixels from a cell of the mask logits to the next."""


def aligned(frames: Tensor, stride: int) -> Tensor:
    """frames (…, H, W) with zeros on the right and below, so that the last cell lies on the last pixel."""
    height, width = frames.shape[-2:]
    return F.pad(frames, (0, (1 - width) % stride, 0, (1 - height) % stride))
