"""From the candidates of one frame to its objects: thresholds, suppression of doubles, and masks without overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ... import masks
from ...nn.boxes import nms
from ...nn.detector import Detections, Detector
from ...nn.dynamic_masks import aligned_bilinear
from ...nn.letterbox import Letterbox, Patch
from ...types import Rle
from .presets import Preset

MASK_STRIDE = 4  # pixels of the network's input a cell of a mask
MASK_THRESHOLD = 0.5  # probability


@dataclass(frozen=True, slots=True, eq=False)
class FrameObjects:
    """The objects of a frame; row n of everything is one of them, best first."""

    class_scores: Tensor  # (n, K), times the quality
    id_scores: Tensor  # (n, N)
    boxes: Tensor  # (n, 4) corners in pixels of the network's input, inside the frame
    masks: Tensor  # bool (n, H, W) at the size of the padded input, no pixel in two
    shapes: tuple[Rle, ...]  # n masks at the size of the source, no pixel in two; some may be empty


def find_objects(
    detector: Detector, found: Detections, letterbox: Letterbox, rules: Preset, *, first: bool
) -> FrameObjects:
    """The objects among the candidates; `first`: whether it is the first frame of its video."""
    found = replace(found, boxes=clipped(found.boxes.float(), letterbox.inner_hw))
    rows = select(found, rules, first=first)
    quarter = tuple(side // MASK_STRIDE for side in letterbox.padded_hw)
    probs = detector.masks(found, rows).float() if len(rows) else found.boxes.new_zeros(0, *quarter)
    with torch.autocast("cpu", enabled=False):  # the way to the source is a product of matrices
        kept, covered, shapes = _apart(probs, letterbox, rules.min_visible)
    rows = rows[kept]
    return FrameObjects(
        class_scores=(found.class_scores[rows] * found.quality[rows, None]).float(),
        id_scores=found.id_scores[rows].float(),
        boxes=found.boxes[rows],
        masks=covered,
        shapes=shapes,
    )


def clipped(boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Corners (…, 4) moved into a frame of this size."""
    height, width = size_hw
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def select(found: Detections, rules: Preset, *, first: bool) -> Tensor:
    """Candidates that pass, none of which doubles a better one; int64 (n,), best first, at most `max_per_frame`."""
    rows = _best_of_levels(found, rules.nms_pre)
    classes = found.class_scores[rows].float().amax(1)
    by_head = rules.identities == "head"
    ids = found.id_scores[rows].float().amax(1) if by_head else torch.zeros_like(classes)
    sure = classes > rules.class_threshold
    if by_head:
        sure &= ids > rules.id_threshold
    scores = _ranking(classes, ids, found.quality[rows].float(), rules, first=first)
    rows, scores = rows[sure], scores[sure]
    kept = nms(found.boxes[rows], scores, torch.zeros_like(rows), rules.nms_iou)
    return rows[kept[: rules.max_per_frame]]


def _best_of_levels(found: Detections, most: int) -> Tensor:
    """At most so many candidates a level, by their best class times their quality; best first in each."""
    scores = (found.class_scores * found.quality[:, None]).amax(1)
    parts = []
    for level in found.levels.unique():
        rows = (found.levels == level).nonzero()[:, 0]
        parts.append(rows[scores[rows].topk(min(most, len(rows))).indices] if len(rows) > most else rows)
    return torch.cat(parts) if parts else found.levels


def _ranking(classes: Tensor, ids: Tensor, quality: Tensor, rules: Preset, *, first: bool) -> Tensor:
    """D3. What doubles are suppressed by, (n,); on the first frame identities say little, everything is new."""
    if rules.identities == "overlap":
        return classes * quality
    if rules.nms_score == "mean":
        return (classes + ids) / 2
    return (classes + 0.5 * ids) * quality if first else (0.5 * classes + ids) * quality


def _apart(probs: Tensor, letterbox: Letterbox, min_visible: float) -> tuple[Tensor, Tensor, tuple[Rle, ...]]:
    """Each mask without the pixels of better ones: probs (n, H / 4, W / 4), best first → rows kept, masks, shapes.

    The walk is done twice, at the size of the padded input, where it is decided who stays, and at that of the source.
    Pixels of masks that are dropped stay taken.
    """
    padded = letterbox.padded_hw
    claimed = torch.zeros(padded, dtype=torch.bool, device=probs.device)
    taken = np.zeros(letterbox.source_hw[::-1], np.bool_)  # column by column, as patches are
    kept: list[int] = []
    covered: list[Tensor] = []
    parts: list[Patch] = []
    for row, fine in enumerate(_upsampled(probs)):
        mask = fine > MASK_THRESHOLD
        visible = mask & ~claimed
        claimed |= mask
        (patch,) = letterbox.undo(fine[None] - MASK_THRESHOLD)
        free = _claim(taken, patch)
        total = int(mask.sum())
        if total and int(visible.sum()) / total >= min_visible:
            kept.append(row)
            covered.append(visible)
            parts.append(free)
    stack = torch.stack(covered) if covered else claimed.new_zeros(0, *padded)
    shapes = masks.encode_parts([(part.columns, part.corner_yx) for part in parts], letterbox.source_hw)
    return torch.tensor(kept, dtype=torch.int64, device=probs.device), stack, shapes


def _upsampled(probs: Tensor) -> Iterator[Tensor]:
    """Probabilities at the size of the input, (H, W) one by one: all at once would be the largest tensor of a frame."""
    for prob in probs:
        yield aligned_bilinear(prob[None], MASK_STRIDE)[0]


def _claim(taken: np.ndarray, patch: Patch) -> Patch:
    """What is free of a patch; it is taken from then on."""
    (top, left), (width, height) = patch.corner_yx, patch.columns.shape
    place = taken[left : left + width, top : top + height]
    free = patch.columns & ~place
    place |= patch.columns
    return Patch(patch.corner_yx, free)
