"""Which predictions the YouTube-VIS benchmark counts as right.

A prediction is right when its tube overlaps an annotated tube of its category enough; every threshold, range, tie and
limit below is the benchmark's, and so are its oddities, because published numbers contain them. OVIS adds groups by
occlusion. What comes of the verdicts is counted in `ap_numbers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tubes import Tube

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # the ninth is one ulp under 0.9
AREA_RANGES = ((0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10))  # all, small, medium, large; both ends within
OCCLUSION_RANGES = ((0.0, 0.25), (0.25, 0.5), (0.5, 1.0))  # light, moderate, heavy; both ends within
LIMITS = (1, 10, 100)  # predictions of one category in one video, best first


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What became of the D best predictions of one category in one video, best first; A ranges, T thresholds."""

    scores: NDArray[np.float64]  # (D,)
    matched: NDArray[np.bool_]  # (A, T, D)
    ignored: NDArray[np.bool_]  # (A, T, D), counts neither for nor against
    wanted: NDArray[np.int64]  # (A,) annotated tubes that should be found


def best_first(found: Sequence[Tube]) -> list[int]:
    """Positions of the predictions that count, of one category in one video: the 100 best; equals in file order."""
    order: list[int] = np.argsort([-tube.score for tube in found], kind="stable").tolist()
    return order[: LIMITS[-1]]


def judge(
    found: Sequence[Tube], annotated: Sequence[Tube], iou: NDArray[np.float64], *, occlusion: bool = False
) -> Verdicts:
    """Greedy matching of one category in one video: each prediction takes the free annotation it overlaps most.

    `found` best first, iou (D, G). Annotations outside a range are ignored: taken only where no other will do, and
    whoever takes one is ignored too. Of equal overlaps the last wins. A crowd can be taken again and again.
    """
    ranges = len(AREA_RANGES) + (len(OCCLUSION_RANGES) if occlusion else 0)
    gt_ignored = np.zeros((ranges, len(annotated)), np.bool_)
    for g, tube in enumerate(annotated):
        gt_ignored[:, g] = _outside(tube, occlusion)
    crowd = np.array([tube.crowd for tube in annotated], np.bool_)
    # The id of what was found is stored, and 0 reads as nothing: that annotation is taken and stays missed.
    counts_as_found = np.array([tube.id != 0 for tube in annotated], np.bool_)
    taken = np.zeros((ranges, len(IOU_THRESHOLDS), len(annotated)), np.bool_)
    matched = np.zeros((ranges, len(IOU_THRESHOLDS), len(found)), np.bool_)
    ignored = np.zeros_like(matched)
    reachable = np.flatnonzero((iou >= IOU_THRESHOLDS[0]).any(axis=1)) if annotated else ()
    for d in reachable:
        eligible = (~taken | crowd) & (iou[d] >= IOU_THRESHOLDS[:, None])
        regular = eligible & ~gt_ignored[:, None]
        candidates = np.where(regular.any(axis=-1, keepdims=True), regular, eligible)
        a, t = np.nonzero(candidates.any(axis=-1))
        picks = _last_best(np.where(candidates[a, t], iou[d], -1.0))
        taken[a, t, picks] = True
        matched[a, t, d] = counts_as_found[picks]
        ignored[a, t, d] = gt_ignored[a, picks]
    ignored[: len(AREA_RANGES)] |= ~matched[: len(AREA_RANGES)] & _outside_areas(found)[:, None]
    scores = np.array([tube.score for tube in found], np.float64)
    return Verdicts(scores, matched, ignored, (~gt_ignored).sum(axis=1))


def _outside(tube: Tube, occlusion: bool) -> list[bool]:
    """Whether an annotation is ignored, for each range."""
    outside = [not low <= tube.mean_area <= high for low, high in AREA_RANGES]
    if occlusion:
        outside += [not low <= (tube.occlusion or 0.0) <= high for low, high in OCCLUSION_RANGES]
    return [tube.crowd or out for out in outside]


def _outside_areas(found: Sequence[Tube]) -> NDArray[np.bool_]:
    """(A, D). A prediction has an area, but no occlusion: OVIS counts it as wrong in every group."""
    areas = np.array([tube.mean_area for tube in found], np.float64)
    low, high = (np.array(ends)[:, None] for ends in zip(*AREA_RANGES, strict=True))
    return np.asarray((areas < low) | (areas > high))


def _last_best(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Column of the greatest value of each row, the last of equals."""
    return np.asarray(values.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1), np.intp)
