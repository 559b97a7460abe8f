"""Masks of boxes back on the frame, as torchvision pastes them, but only at the pixels that are asked for."""

from __future__ import annotations

import torch
from torch import Tensor

BORDER = 1  # empty pixels around a mask, so that it fades out over the edge of its box


def paste(masks: Tensor, boxes: Tensor, size_hw: tuple[int, int], stride: int) -> Tensor:
    """masks (n, m, m) that fill boxes (n, 4) in pixels → values (n, h, w) of a frame of (stride·h, stride·w) pixels.

    A value is that of the frame's pixel stride·p + stride // 2: what `dynamic_masks.aligned_bilinear` puts there when
    it enlarges the result to the frame. The box, with the border, begins and ends at whole pixels, rounded towards
    zero; both ends belong to it.
    """
    side = masks.shape[-1]
    grown = _grown(boxes, (side + 2 * BORDER) / side).long()
    height, width = size_hw
    rows = _shares(grown[:, 1], grown[:, 3], side, height, stride)
    columns = _shares(grown[:, 0], grown[:, 2], side, width, stride)
    return rows @ masks.to(rows.dtype) @ columns.mT


def _grown(boxes: Tensor, factor: float) -> Tensor:
    """Boxes (n, 4) with sides `factor` times as long, around the same centre."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return torch.cat([middle - half, middle + half], dim=-1)


def _shares(first: Tensor, last: Tensor, side: int, length: int, stride: int) -> Tensor:
    """Along one axis: what each pixel of a mask has in each pixel of the frame; int64 (n,) → (n, length, side)."""
    pixels = torch.arange(length, device=first.device) * stride + stride // 2
    extent = (last - first + 1).clamp(min=1)[:, None]
    at = (pixels - first[:, None] + 0.5) * (side + 2 * BORDER) / extent - 0.5 - BORDER  # in pixels of the mask
    return (1 - (at[..., None] - torch.arange(side, device=first.device)).abs()).clamp(min=0)
