"""HOTA: finding and keeping in one number, as sums that add up over videos and classes.

Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking" (IJCV 2021), and OWTA of Liu et al.,
"Opening up Open-World Tracking" (CVPR 2022), counted as TrackEval counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

ALPHAS = np.arange(0.05, 0.99, 0.05)  # least similarity of a pair that counts as found, (A,)

_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class HotaCounts:
    """Sums at each of the ALPHAS, all (A,). The last four are over true positives, so that their sums over videos,
    divided by the sum of `tp`, are the means over videos weighted by true positives.
    """

    tp: Values  # object-frames that are found
    fn: Values  # object-frames that are not
    fp: Values  # predicted frames that find none
    ass_a: Values  # share of the joint frames of its two tracks on which a found pair is found
    ass_re: Values  # the same share of the frames of the annotated track
    ass_pr: Values  # the same share of the frames of the predicted track
    loc_a: Values  # similarity of a found pair

    @classmethod
    def zero(cls) -> HotaCounts:
        """The counts of no video, where a sum starts."""
        return cls.from_array(np.zeros(len(cls.__slots__) * len(ALPHAS)))

    @classmethod
    def from_array(cls, values: Values) -> HotaCounts:
        """The inverse of `as_array`, also of weighted sums of its results; values (F,)."""
        return cls(*values.reshape(len(cls.__slots__), len(ALPHAS)))

    def as_array(self) -> Values:
        """All fields in their order, one after the other, (F,) with F = 7 · A."""
        return np.concatenate([getattr(self, field.name) for field in fields(self)])

    def __add__(self, other: HotaCounts) -> HotaCounts:
        return HotaCounts.from_array(self.as_array() + other.as_array())


@dataclass(frozen=True, slots=True)
class HotaNumbers:
    """Fractions, means over the ALPHAS. Where there is nothing to find and nothing found LocA is 1 and the rest 0."""

    HOTA: float
    DetA: float
    AssA: float
    LocA: float
    DetRe: float
    DetPr: float
    AssRe: float
    AssPr: float
    OWTA: float
    HOTA0: float  # at the first of the ALPHAS
    LocA0: float  # at the first of the ALPHAS


def count_hota(similarity: Values, objects: NDArray[np.bool_], hypotheses: NDArray[np.bool_]) -> HotaCounts:
    """The counts of one video of T frames with G annotated and D predicted tracks.

    similarity (T, G, D): IoU in [0, 1], 0 for pairs that may not match; objects (T, G) and hypotheses (T, D): whether
    the track is on the frame. What stands in rows and columns of absent tracks is not read. With 0 for all pairs of
    different classes, the result is the sum over classes of the counts of each class alone.
    """
    similarity = np.where(objects[:, :, None] & hypotheses[:, None], similarity, 0.0)
    of_object, of_hypothesis = objects.sum(axis=0)[:, None], hypotheses.sum(axis=0)
    gain = similarity * _alignment(similarity, of_object + of_hypothesis)
    frames, rows, columns = _pairs(gain, objects, hypotheses)
    values = similarity[frames, rows, columns][:, None]
    found = values >= ALPHAS - _EPSILON  # (pairs, A)

    # c (G · D, A): frames on which two tracks are a found pair.
    c = np.zeros((of_object.size * of_hypothesis.size, len(ALPHAS)))
    np.add.at(c, rows * of_hypothesis.size + columns, found)
    n, m = (np.broadcast_to(each, gain.shape[1:]).reshape(-1, 1) for each in (of_object, of_hypothesis))
    tp = found.sum(axis=0).astype(np.float64)
    return HotaCounts(
        tp=tp,
        fn=objects.sum() - tp,
        fp=hypotheses.sum() - tp,
        ass_a=(c * c / np.maximum(1, n + m - c)).sum(axis=0),
        ass_re=(c * c / np.maximum(1, n)).sum(axis=0),
        ass_pr=(c * c / np.maximum(1, m)).sum(axis=0),
        loc_a=(values * found).sum(axis=0),
    )


def hota_numbers(counts: HotaCounts) -> HotaNumbers:
    """The metrics of one video, or of many when the counts were added first."""
    tp, found = counts.tp, np.maximum(1, counts.tp)
    det_a = tp / np.maximum(1, tp + counts.fn + counts.fp)
    det_re = tp / np.maximum(1, tp + counts.fn)
    ass_a = counts.ass_a / found
    hota = np.sqrt(det_a * ass_a)
    loc_a = np.maximum(1e-10, counts.loc_a) / np.maximum(1e-10, tp)
    return HotaNumbers(
        HOTA=float(hota.mean()),
        DetA=float(det_a.mean()),
        AssA=float(ass_a.mean()),
        LocA=float(loc_a.mean()),
        DetRe=float(det_re.mean()),
        DetPr=float((tp / np.maximum(1, tp + counts.fp)).mean()),
        AssRe=float((counts.ass_re / found).mean()),
        AssPr=float((counts.ass_pr / found).mean()),
        OWTA=float(np.sqrt(det_re * ass_a).mean()),
        HOTA0=float(hota[0]),
        LocA0=float(loc_a[0]),
    )


def class_average(numbers: Sequence[HotaNumbers]) -> HotaNumbers:
    """The mean of each metric over classes, one or more; the other way to combine classes is to add their counts."""
    return HotaNumbers(*np.mean([astuple(each) for each in numbers], axis=0).tolist())


def _alignment(similarity: Values, frames: NDArray[np.int64]) -> Values:
    """How much two tracks belong together over the whole video, in [0, 1], (G, D); frames (G, D): of both, summed.

    A pair gains on a frame the part of its similarity that neither of the two shares with others.
    """
    rivals = similarity.sum(axis=2, keepdims=True) + similarity.sum(axis=1, keepdims=True) - similarity
    potential = _quotient(similarity, rivals).sum(axis=0)
    return _quotient(potential, frames - potential)


def _quotient(dividend: Values, divisor: Values) -> Values:
    """Element by element, 0 where the divisor is."""
    defined = divisor > _EPSILON
    return np.where(defined, dividend, 0.0) / np.where(defined, divisor, 1.0)


def _pairs(
    gain: Values, objects: NDArray[np.bool_], hypotheses: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Frame, row and column of the pairs whose gains, one to one on each frame, have the greatest sum; gain (T, G, D).

    Pairs without gain have no similarity, and are left out.
    """
    candidates = gain > 0
    contested = (candidates.sum(axis=1) > 1).any(axis=1) | (candidates.sum(axis=2) > 1).any(axis=1)  # (T,)
    for t in np.flatnonzero(contested):
        present = np.ix_(objects[t], hypotheses[t])
        candidates[t][present] &= _best(gain[t][present])
    frames, rows, columns = np.nonzero(candidates)
    return frames, rows, columns


def _best(gain: Values) -> NDArray[np.bool_]:
    """Whether a pair is part of the assignment with the greatest sum, (R, C)."""
    from scipy.optimize import linear_sum_assignment

    chosen = np.zeros(gain.shape, np.bool_)
    chosen[linear_sum_assignment(gain, maximize=True)] = True
    return chosen
