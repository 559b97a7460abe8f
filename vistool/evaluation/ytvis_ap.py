"""AP and AR of YouTube-VIS, number for number as the benchmark counts them.

A prediction is right when its tube overlaps an annotated tube of its category enough; every threshold, range, tie and
limit below is the benchmark's, and so are its oddities, because published numbers contain them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tubes import GroundTruth, Json, Notes, Tube, iou_matrix, read_ground_truth, read_predictions

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)  # i × 0.01 in double arithmetic, which is not always i / 100
AREA_RANGES = ((0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10))  # all, small, medium, large; both ends within
LIMITS = (1, 10, 100)  # predictions of one category in one video, best first

_ALL_AREAS = 0
_EPSILON = float(np.spacing(1))
_UNDEFINED = -1.0


@dataclass(frozen=True, slots=True)
class Summary:
    """The benchmark's twelve numbers, as fractions; -1 where nothing is annotated. s, m, l: small, medium, large."""

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    ap_per_category: Mapping[str, float]  # by name
    notes: tuple[str, ...]  # what was odd about the input


def evaluate(ground_truth: Json, predictions: Sequence[Json]) -> Summary:
    """A YTVIS annotation document and a YTVIS result list → the numbers; InputError names an entry that is wrong."""
    notes = Notes()
    truth = read_ground_truth(ground_truth, notes)
    found = read_predictions(predictions, truth, notes)
    precision, recall = _curves(truth, found, notes)

    small, medium, large = 1, 2, 3
    return Summary(
        AP=_mean(precision[..., _ALL_AREAS, -1]),
        AP50=_mean(precision[0, ..., _ALL_AREAS, -1]),
        AP75=_mean(precision[5, ..., _ALL_AREAS, -1]),
        APs=_mean(precision[..., small, -1]),
        APm=_mean(precision[..., medium, -1]),
        APl=_mean(precision[..., large, -1]),
        AR1=_mean(recall[..., _ALL_AREAS, 0]),
        AR10=_mean(recall[..., _ALL_AREAS, 1]),
        AR100=_mean(recall[..., _ALL_AREAS, 2]),
        ARs=_mean(recall[..., small, -1]),
        ARm=_mean(recall[..., medium, -1]),
        ARl=_mean(recall[..., large, -1]),
        ap_per_category={
            name: _mean(precision[:, :, k, _ALL_AREAS, -1]) for k, name in enumerate(truth.category_names.values())
        },
        notes=notes.lines(),
    )


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[values > _UNDEFINED]
    return float(defined.mean()) if defined.size else _UNDEFINED


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """What became of the predictions of one category in one video, best first."""

    scores: NDArray[np.float64]  # (D,)
    matched: NDArray[np.bool_]  # (T, D)
    ignored: NDArray[np.bool_]  # (T, D), counts neither for nor against
    wanted: int  # annotated tubes that should be found

    def first(self, limit: int) -> _Verdicts:
        return _Verdicts(self.scores[:limit], self.matched[:, :limit], self.ignored[:, :limit], self.wanted)


def _curves(truth: GroundTruth, found: Sequence[Tube], notes: Notes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (T, R, K, A, M) and recall (T, K, A, M) over thresholds, recall points, categories, areas, limits."""
    annotated_of, found_of = _by_video_and_category(truth.tubes), _by_video_and_category(found)
    shape = (len(truth.category_names), len(AREA_RANGES), len(LIMITS))
    precision = np.full((len(IOU_THRESHOLDS), len(RECALL_POINTS), *shape), _UNDEFINED)
    recall = np.full((len(IOU_THRESHOLDS), *shape), _UNDEFINED)
    for k, category_id in enumerate(truth.category_names):
        keys = [(video_id, category_id) for video_id in truth.video_ids]
        cells = [(found_of.get(key, []), annotated_of.get(key, [])) for key in keys]
        verdicts = [_judge_areas(dets, gts, notes) for dets, gts in cells if dets or gts]
        for a in range(len(AREA_RANGES)):
            for m, limit in enumerate(LIMITS):
                videos = [video[a].first(limit) for video in verdicts]
                if sum(video.wanted for video in videos):
                    precision[:, :, k, a, m], recall[:, k, a, m] = _accumulate(videos)
    return precision, recall


def _by_video_and_category(tubes: Sequence[Tube]) -> dict[tuple[int, int], list[Tube]]:
    groups: dict[tuple[int, int], list[Tube]] = {}
    for tube in tubes:
        groups.setdefault((tube.video_id, tube.category_id), []).append(tube)
    return groups


def _judge_areas(dets: Sequence[Tube], gts: Sequence[Tube], notes: Notes) -> list[_Verdicts]:
    """Verdicts on one category of one video, for each area range."""
    best_first = np.argsort([-det.score for det in dets], kind="stable")[: LIMITS[-1]]
    dets = [dets[row] for row in best_first]
    iou = iou_matrix(dets, gts, notes)
    return [_judge(dets, gts, iou, area_range) for area_range in AREA_RANGES]


def _judge(
    dets: Sequence[Tube], gts: Sequence[Tube], iou: NDArray[np.float64], area_range: tuple[float, float]
) -> _Verdicts:
    """Greedy matching, best prediction first: it takes the free annotation it overlaps most, ignored ones last."""
    gt_ignored = np.array([gt.crowd or not _within(gt, area_range) for gt in gts], np.bool_)
    crowd = np.array([gt.crowd for gt in gts], np.bool_)
    # A match is stored as the annotation's id, and 0 reads as no match.
    counts_as_found = np.array([gt.id != 0 for gt in gts], np.bool_)
    taken = np.zeros((len(IOU_THRESHOLDS), len(gts)), np.bool_)
    matched = np.zeros((len(IOU_THRESHOLDS), len(dets)), np.bool_)
    ignored = np.zeros_like(matched)
    for d, det in enumerate(dets):
        eligible = (~taken | crowd) & (iou[d] >= IOU_THRESHOLDS[:, None])
        regular = eligible & ~gt_ignored
        candidates = np.where(regular.any(axis=1, keepdims=True), regular, eligible)
        rows = np.flatnonzero(candidates.any(axis=1))
        picks = _last_best(np.where(candidates[rows], iou[d], -1.0))
        taken[rows, picks] = True
        matched[rows, d] = counts_as_found[picks]
        ignored[rows, d] = gt_ignored[picks]
        ignored[:, d] |= ~matched[:, d] & (not _within(det, area_range))
    scores = np.array([det.score for det in dets])
    return _Verdicts(scores, matched, ignored, wanted=int((~gt_ignored).sum()))


def _within(tube: Tube, area_range: tuple[float, float]) -> bool:
    return area_range[0] <= tube.mean_area <= area_range[1]


def _last_best(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Column of the greatest value of each row, the last of equals."""
    if values.size == 0:
        return np.zeros(len(values), np.intp)
    return np.asarray(values.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1), np.intp)


def _accumulate(videos: Sequence[_Verdicts]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision at each recall point (T, R) and the recall reached (T,), over videos in the order of their ids."""
    order = np.argsort(-np.concatenate([video.scores for video in videos]), kind="stable")
    matched = np.concatenate([video.matched for video in videos], axis=1)[:, order]
    counted = ~np.concatenate([video.ignored for video in videos], axis=1)[:, order]
    right = np.cumsum(matched & counted, axis=1).astype(np.float64)
    wrong = np.cumsum(~matched & counted, axis=1).astype(np.float64)
    recall = right / sum(video.wanted for video in videos)
    precision = right / (wrong + right + _EPSILON)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]

    at_points = np.zeros((len(IOU_THRESHOLDS), len(RECALL_POINTS)))
    for row, reached in enumerate(recall):
        first = np.searchsorted(reached, RECALL_POINTS, side="left")
        within = first < len(order)
        at_points[row, within] = envelope[row, first[within]]
    return at_points, recall[:, -1] if len(order) else np.zeros(len(IOU_THRESHOLDS))
