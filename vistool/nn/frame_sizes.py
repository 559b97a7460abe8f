"""Frames padded to a multiple of a stride, and the way back: pixels and shares of the frame as it was given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def padded(frames: Tensor, multiple: int) -> Tensor:
    """frames (…, H, W) with zeros on the right and below, up to multiples of `multiple`."""
    height, width = frames.shape[-2:]
    return F.pad(frames, (0, -width % multiple, 0, -height % multiple))


def unpadded(maps: Tensor, frames: Tensor, stride: int) -> Tensor:
    """The part of maps (…, h, w) of padded frames that covers the frames as they were given."""
    height, width = frames.shape[-2:]
    return maps[..., : -(-height // stride), : -(-width // stride)]


def sides(frames: Tensor) -> Tensor:
    """W, H, W, H of frames (…, H, W): boxes as shares, cx cy w h, times these are boxes in pixels."""
    height, width = frames.shape[-2:]
    return torch.tensor([width, height, width, height], dtype=torch.float32, device=frames.device)
