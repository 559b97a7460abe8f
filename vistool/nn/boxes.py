"""Boxes: two spellings, overlaps, boxes of masks, suppression of doubles.

Centres: cx cy w h. Corners: x0 y0 x1 y1. Any unit; an overlap does not depend on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOGIT_EPS = 1e-5
_TINY = torch.finfo(torch.float32).tiny  # a box without an area overlaps nothing


def to_xyxy(centres: Tensor) -> Tensor:
    """cx cy w h (…, 4) → x0 y0 x1 y1 (…, 4)."""
    middle, half = centres[..., :2], centres[..., 2:] / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def to_cxcywh(corners: Tensor) -> Tensor:
    """x0 y0 x1 y1 (…, 4) → cx cy w h (…, 4)."""
    first, last = corners[..., :2], corners[..., 2:]
    return torch.cat([(first + last) / 2, last - first], dim=-1)


def inverse_sigmoid(shares: Tensor) -> Tensor:
    """Logits of shares, which are clamped to [0, 1] first; finite, because both x and 1 - x count as 1e-5 at least."""
    shares = shares.clamp(0, 1)
    return (shares.clamp(min=LOGIT_EPS) / (1 - shares).clamp(min=LOGIT_EPS)).log()


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Row by row: corners a (…, 4), b (…, 4) → intersection over union (…)."""
    shared, union = _shared_and_union(a, b)
    return shared / union.clamp(min=_TINY)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Everyone with everyone: corners a (…, N, 4), b (…, M, 4) → intersection over union (…, N, M)."""
    return paired_iou(a[..., :, None, :], b[..., None, :, :])


def paired_giou(a: Tensor, b: Tensor) -> Tensor:
    """Row by row: corners a (…, 4), b (…, 4) → generalised IoU (…) in (-1, 1] (Rezatofighi et al., CVPR 2019).

    The share of the common hull that neither box fills is taken off the IoU, so boxes apart have a gradient too.
    """
    shared, union = _shared_and_union(a, b)
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return shared / union.clamp(min=_TINY) - (hull - union) / hull.clamp(min=_TINY)


def pairwise_giou(a: Tensor, b: Tensor) -> Tensor:
    """Everyone with everyone: corners a (…, N, 4), b (…, M, 4) → generalised IoU (…, N, M)."""
    return paired_giou(a[..., :, None, :], b[..., None, :, :])


def mask_boxes(masks: Tensor) -> Tensor:
    """Tight boxes of masks bool (…, H, W): corners in pixels (…, 4), from the first pixel's edge to past the last's.

    All zeros where a mask is empty.
    """
    (x0, x1), (y0, y1) = _extent(masks.any(-2)), _extent(masks.any(-1))
    return torch.stack([x0, y0, x1, y1], dim=-1).float()


def suppressed(overlaps: Tensor, threshold: float) -> Tensor:
    """Rows that repeat a better one; overlaps (N, N), best row first → bool (N,).

    From the best to the worst: a row that is kept suppresses all later ones that overlap it by more than `threshold`.
    """
    doubles = (overlaps > threshold).triu(diagonal=1).cpu()
    gone = torch.zeros(len(doubles), dtype=torch.bool)
    for row, later in enumerate(doubles):
        if not gone[row]:
            gone |= later
    return gone.to(overlaps.device)


def nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression within each class: corners (N, 4), scores (N,), labels (N,) → int64 rows, best first.

    Of two rows with the same score the earlier one is the better.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order], labels[order]
    overlaps = pairwise_iou(boxes, boxes).masked_fill(labels[:, None] != labels, 0)
    return order[~suppressed(overlaps, threshold)]


def _shared_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    shared = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    return shared, _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - shared


def _area(first: Tensor, last: Tensor) -> Tensor:
    """Of boxes with these corners (…, 2); 0 where the last lies before the first."""
    return (last - first).clamp(min=0).prod(-1)


def _extent(filled: Tensor) -> tuple[Tensor, Tensor]:
    """First filled place and the one after the last, along the last axis; 0, 0 where none is."""
    length = filled.shape[-1]
    places = torch.arange(length, device=filled.device)
    after = torch.where(filled, places + 1, 0).amax(-1)
    first = torch.where(filled, places, length).amin(-1)
    return torch.where(after > 0, first, 0), after
