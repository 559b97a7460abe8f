"""RoIAlign (He et al., ICCV 2017, section 3): what a feature pyramid shows within boxes, at one size for all boxes.

A bin is the mean of a few points of its box, each read bilinearly: a weighted sum of pixels of a map, in which the
weight of a pixel is that of its row times that of its column. Pixel i of a map stands for the point i·stride of the
input, not for the middle of what it covers: so the published weights were trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLES = 2
"""Points of a bin along each axis."""
FINEST_STRIDE = 4
CANONICAL_LEVEL = 2  # of boxes with the canonical side: the map at stride 16


def levels_of(boxes: Tensor, canonical_side: float, count: int) -> Tensor:
    """The level that each box is read from, by its area: boxes (R, 4) → int64 (R,), 0 the finest of `count`.

    Feature Pyramid Networks (Lin et al., CVPR 2017), Eq. (1).
    """
    side = (boxes[:, 2:] - boxes[:, :2]).prod(-1).sqrt()
    level = (CANONICAL_LEVEL + (side / canonical_side).log2() + 1e-6).floor()
    return level.clamp(0, count - 1).long()


def roi_align(maps: Sequence[Tensor], boxes: Tensor, frames: Tensor, levels: Tensor, bins: int) -> Tensor:
    """maps (B, C, h_i, w_i) at strides 4, 8, …; boxes (R, 4) in pixels of the input → (R, C, bins, bins).

    frames and levels, int64 (R,), say which map a box is read from. It has a pixel of the map at least. Points more
    than a pixel outside of the map count as zero, closer ones as the map's border.
    """
    channels = maps[0].shape[1]
    sizes = torch.tensor([level.shape[-2:] for level in maps], device=boxes.device)
    pixels = len(maps[0]) * sizes.prod(-1)
    begin = (pixels.cumsum(0) - pixels)[levels]  # of a box's level in a table of all pixels
    height, width = sizes[levels].unbind(-1)
    x0, y0, x1, y1 = (boxes.float() / (FINEST_STRIDE * 2**levels)[:, None]).unbind(-1)
    samples = torch.full_like(levels, SAMPLES)
    rows, row_weights = _taps(y0, y1, height, bins, samples)
    columns, column_weights = _taps(x0, x1, width, bins, samples)
    places = rows[:, :, None, :, None] * width.view(-1, 1, 1, 1, 1) + columns[:, None, :, None, :]
    places = places + (begin + frames * height * width).view(-1, 1, 1, 1, 1)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    with torch.autocast(boxes.device.type, enabled=False):
        table = torch.cat([level.float().permute(0, 2, 3, 1).reshape(-1, channels) for level in maps])
        taps = weights.shape[-1] ** 2
        summed = F.embedding_bag(
            places.reshape(-1, taps), table, per_sample_weights=weights.reshape(-1, taps), mode="sum"
        )
    return summed.view(-1, bins, bins, channels).permute(0, 3, 1, 2)


def crops(masks: Tensor, objects: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """Masks within boxes: masks bool (n, H, W), objects int64 (R,) rows of them, boxes (R, 4) → shares (R, bins, bins).

    As `roi_align` on masks at stride 1, but with about a point a pixel.
    """
    height, width = masks.shape[-2:]
    boxes = boxes.float()
    samples = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=1) / bins).ceil().long()
    rows = _spread(*_taps(boxes[:, 1], boxes[:, 3], torch.full_like(objects, height), bins, samples[:, 1]), height)
    columns = _spread(*_taps(boxes[:, 0], boxes[:, 2], torch.full_like(objects, width), bins, samples[:, 0]), width)
    shown = boxes.new_zeros(len(boxes), bins, bins)
    for row in objects.unique():
        own = objects == row
        shown[own] = rows[own] @ masks[row].float() @ columns[own].mT
    return shown


def _taps(first: Tensor, last: Tensor, length: Tensor, bins: int, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, for R boxes from `first` to `last` (R,) on maps of `length` int64 (R,) with `samples` int64 (R,)
    points a bin: the pixels that a bin is made of and their weights, int64 and float (R, bins, 2·most samples).
    """
    numbers = torch.arange(max(samples.tolist(), default=1), device=first.device)
    bin_side = ((last - first).clamp(min=1) / bins)[:, None, None]
    within = (numbers + 0.5) / samples[:, None]  # of a bin, (R, points)
    at = first[:, None, None] + (torch.arange(bins, device=first.device)[:, None] + within[:, None]) * bin_side
    end = length[:, None, None]
    counts = (numbers < samples[:, None])[:, None] & (at >= -1) & (at <= end)
    at = at.clamp(min=0).minimum(end - 1)
    low = at.long()
    high = (low + 1).minimum(end - 1)
    weight = counts / samples[:, None, None]
    share = at - low
    places, weights = torch.cat([low, high], dim=-1), torch.cat([(1 - share) * weight, share * weight], dim=-1)
    return places, weights


def _spread(places: Tensor, weights: Tensor, length: int) -> Tensor:
    """Weights of every pixel of an axis: places and weights (R, bins, taps) → (R, bins, length)."""
    return weights.new_zeros(*weights.shape[:2], length).scatter_add(2, places, weights)
