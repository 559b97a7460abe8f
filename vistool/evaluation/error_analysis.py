"""What keeps AP50 from 1: every error has one kind, and every kind a price, the AP50 that repairing it would add.

The idea of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020), carried
from boxes to tubes, with one kind more that only videos have: the right object under the wrong identity.

A tube that AP50 counts as wrong has the first of these kinds that applies. Overlap is the tube IoU with annotations
that are not crowds, own means of the tube's class, and a tube *holds* an annotation of its class on a frame where
their masks overlap by FOREGROUND.

1. duplicate: FOREGROUND or more with an own annotation, which a better tube has taken.
2. class: FOREGROUND or more with an annotation of another class.
3. identity: on at least half of the frames it occupies it holds some annotation, and either it switches, that is, it
   holds two annotations or more, or it is a fragment, that is, another tube of the class takes turns with it: each
   holds the same annotation on a frame from which the other is absent.
4. localisation: BACKGROUND or more with an own annotation. A tube that stops half-way, with none to go on, is here.
5. both (class and localisation): BACKGROUND or more with an annotation of another class.
6. background: everything else.

Tubes of the kinds class and localisation point at the annotation they overlap most, the first of equals. A tube of
the kind identity points at those that it holds, if the tubes of the class together hold at least half of the
annotation's frames: of others there is too little to make one whole tube. An annotation that was not found and that
none points at is

7. missed.

A repair takes all tubes of the kind away and lets each annotation they point at, unless it had been found, be found
once, with the class of the annotation and the score of the best of these tubes. The repair of missed annotations is
not to want them. No repair can lower AP50, and all of them together bring it to 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ap_numbers import UNDEFINED, at_recall_points
from .ytvis_ap import LIMITS

FOREGROUND = 0.5  # overlap from which a tube, or a mask on one frame, is right
BACKGROUND = 0.1  # overlap below which a tube has nothing to do with an annotation
LIMIT = LIMITS[-1]  # tubes of one class in one video, best first; as for AP50
KINDS = ("class", "localisation", "both", "duplicate", "background", "identity", "missed")


@dataclass(frozen=True, slots=True, eq=False)
class VideoTubes:
    """The predicted tubes (D) and annotated tubes (G) of one video of T frames, in the order of their files."""

    scores: NDArray[np.float64]  # (D,)
    det_classes: NDArray[np.int64]  # (D,)
    gt_classes: NDArray[np.int64]  # (G,)
    crowd: NDArray[np.bool_]  # (G,)
    iou: NDArray[np.float64]  # (D, G), of whole tubes, whatever their classes
    frame_iou: NDArray[np.float64]  # (T, D, G), 0 where either is absent
    det_seen: NDArray[np.bool_]  # (T, D)
    gt_seen: NDArray[np.bool_]  # (T, G)

    def __post_init__(self) -> None:
        frames, dets, gts = self.frame_iou.shape
        wanted = {
            "scores": (dets,), "det_classes": (dets,), "gt_classes": (gts,), "crowd": (gts,),
            "iou": (dets, gts), "det_seen": (frames, dets), "gt_seen": (frames, gts),
        }  # fmt: skip
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, by frame_iou it should be {shape}")


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """How often something went wrong, and the AP50 that goes with it."""

    count: int
    dap: float  # AP50 after the repair, less AP50 as it is


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """The price of every kind of error; ap50 is a fraction, or -1, and every price 0, where nothing is annotated."""

    ap50: float
    errors: Mapping[str, ErrorCost]  # by kind, in the order of KINDS
    false_positives: ErrorCost  # all wrong tubes, taken away
    false_negatives: ErrorCost  # all annotations that were not found, no longer wanted

    def to_json(self) -> dict[str, Any]:
        def row(cost: ErrorCost) -> dict[str, int | float]:
            return {"count": cost.count, "dAP": cost.dap}

        return {
            "AP50": self.ap50,
            "errors": {kind: row(cost) for kind, cost in self.errors.items()},
            "false_positives": row(self.false_positives),
            "false_negatives": row(self.false_negatives),
        }


def analyse(videos: Sequence[VideoTubes]) -> ErrorReport:
    """The errors of a data set and their prices; videos in the order of their ids, by which equal scores are ranked."""
    verdicts = judge(videos)
    base = verdicts.ap50()

    def cost(verdicts: Verdicts, kind: str) -> ErrorCost:
        count = (verdicts.missed if kind == "missed" else verdicts.kinds == kind).sum()
        return ErrorCost(int(count), verdicts.ap50(repair={kind}) - base)

    as_background = replace(verdicts, kinds=np.where(verdicts.kinds == "", "", "background"), pointers=_EMPTY.pointers)
    as_missed = replace(verdicts, missed=~verdicts.found)
    return ErrorReport(
        ap50=base,
        errors={kind: cost(verdicts, kind) for kind in KINDS},
        false_positives=cost(as_background, "background"),
        false_negatives=cost(as_missed, "missed"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """The tubes that count (D), the annotations to be found (G), and which wrong tube points at which annotation (P).

    Not among them: crowds, tubes that only a crowd explains, and tubes beyond the limit of the benchmark.
    """

    scores: NDArray[np.float64]  # (D,)
    classes: NDArray[np.int64]  # (D,)
    kinds: NDArray[np.str_]  # (D,), of KINDS, or empty where the tube is right
    gt_classes: NDArray[np.int64]  # (G,)
    found: NDArray[np.bool_]  # (G,)
    missed: NDArray[np.bool_]  # (G,)
    pointers: NDArray[np.int64]  # (P, 2), row of the tube and row of the annotation

    def ap50(self, repair: Collection[str] = ()) -> float:
        """AP50 after the repair of errors of these KINDS; -1 where nothing is annotated.

        A class that is left with nothing to be found counts as 1, so that forgiving all of its misses is a gain.
        """
        kept = ~np.isin(self.kinds, list(repair))
        wanted = ~self.missed if "missed" in repair else np.ones_like(self.missed)
        usable = ~kept[self.pointers[:, 0]] & ~self.found[self.pointers[:, 1]]
        new_rows, new_gts = _best_pointers(self.pointers[usable], self.scores)

        rows = np.concatenate([np.flatnonzero(kept), new_rows])
        order = np.argsort(rows, kind="stable")
        scores = self.scores[rows][order]
        classes = np.concatenate([self.classes[kept], self.gt_classes[new_gts]])[order]
        right = np.concatenate([self.kinds[kept] == "", np.ones(len(new_gts), np.bool_)])[order]
        values = []
        for label in np.unique(self.gt_classes):
            of_class, number = classes == label, int(wanted[self.gt_classes == label].sum())
            values.append(average_precision(scores[of_class], right[of_class], number) if number else 1.0)
        return float(np.mean(values)) if values else UNDEFINED


def judge(videos: Sequence[VideoTubes]) -> Verdicts:
    """What became of every tube of a data set; rows by video, then in the order of the files."""
    parts = [_EMPTY, *(_judge(video) for video in videos)]
    starts = np.cumsum([(0, 0), *((len(part.scores), len(part.found)) for part in parts[:-1])], axis=0)
    return Verdicts(
        scores=np.concatenate([part.scores for part in parts]),
        classes=np.concatenate([part.classes for part in parts]),
        kinds=np.concatenate([part.kinds for part in parts]),
        gt_classes=np.concatenate([part.gt_classes for part in parts]),
        found=np.concatenate([part.found for part in parts]),
        missed=np.concatenate([part.missed for part in parts]),
        pointers=np.concatenate([part.pointers + start for part, start in zip(parts, starts, strict=True)]),
    )


def average_precision(scores: NDArray[np.float64], right: NDArray[np.bool_], wanted: int) -> float:
    """The benchmark's AP at one threshold and of one class, of predictions (D,) that are right or wrong."""
    right = right[np.argsort(-scores, kind="stable")]
    hits, misses = np.cumsum(right, dtype=np.float64), np.cumsum(~right, dtype=np.float64)
    points = at_recall_points(hits[None, None], misses[None, None], np.array([wanted], np.float64))
    return float(points.mean())


def _best_pointers(
    pointers: NDArray[np.int64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each annotation that is pointed at: the best tube that does, the first of equals, and the annotation."""
    rows, gts = pointers.T
    best_first = np.lexsort((rows, -scores[rows]))
    gts, at = np.unique(gts[best_first], return_index=True)
    return rows[best_first][at], gts


def _judge(video: VideoTubes) -> Verdicts:
    right, ignored, found = _match(video)
    dets, gts = np.flatnonzero(~ignored), np.flatnonzero(~video.crowd)
    iou = video.iou[np.ix_(dets, gts)]
    own = video.det_classes[dets, None] == video.gt_classes[gts]  # (D, G)
    holds = (video.frame_iou[:, dets[:, None], gts] >= FOREGROUND) & own  # (T, D, G)

    overlap_own = np.where(own, iou, 0.0).max(axis=1, initial=0.0)
    overlap_other = np.where(own, 0.0, iou).max(axis=1, initial=0.0)
    first_that_applies = {
        "": right[dets],
        "duplicate": overlap_own >= FOREGROUND,
        "class": overlap_other >= FOREGROUND,
        "identity": _loses_identity(holds, video.det_seen[:, dets]),
        "localisation": overlap_own >= BACKGROUND,
        "both": overlap_other >= BACKGROUND,
    }
    kinds = np.select(list(first_that_applies.values()), list(first_that_applies), "background")

    enough = 2 * holds.any(axis=1).sum(axis=0) >= video.gt_seen[:, gts].sum(axis=0)  # (G,)
    points = np.zeros_like(own)
    points |= (kinds == "class")[:, None] & ~own & (iou == overlap_other[:, None])
    points |= (kinds == "localisation")[:, None] & own & (iou == overlap_own[:, None])
    points &= np.cumsum(points, axis=1) == 1  # the first of equals
    points |= (kinds == "identity")[:, None] & holds.any(axis=0) & enough
    return Verdicts(
        scores=video.scores[dets],
        classes=video.det_classes[dets],
        kinds=kinds,
        gt_classes=video.gt_classes[gts],
        found=found[gts],
        missed=~found[gts] & ~points.any(axis=0),
        pointers=np.argwhere(points),
    )


def _match(video: VideoTubes) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which tubes are right (D,) and which do not count (D,), and which annotations are found (G,), as for AP50.

    Best first, a tube takes the free annotation of its class that it overlaps most, the last of equals; where there is
    none, a crowd of its class, however often that was taken, and then it does not count.
    """
    right, ignored = np.zeros(len(video.scores), np.bool_), np.zeros(len(video.scores), np.bool_)
    found = np.zeros(len(video.crowd), np.bool_)
    candidates = (video.det_classes[:, None] == video.gt_classes) & (video.iou >= FOREGROUND)
    best_first = np.argsort(-video.scores, kind="stable")
    for label in np.unique(video.det_classes):
        of_class = best_first[video.det_classes[best_first] == label]
        ignored[of_class[LIMIT:]] = True
        for row in of_class[:LIMIT]:
            options = np.flatnonzero(candidates[row] & ~video.crowd & ~found)
            if options.size:
                right[row] = True
                found[options[video.iou[row, options] == video.iou[row, options].max()][-1]] = True
            else:
                ignored[row] = bool((candidates[row] & video.crowd).any())
    return right, ignored, found


def _loses_identity(holds: NDArray[np.bool_], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tubes (D,) are right in parts and switch or take turns; holds (T, D, G), seen (T, D)."""
    right_in_parts = 2 * holds.any(axis=2).sum(axis=0) >= seen.sum(axis=0)
    switches = holds.any(axis=0).sum(axis=1) >= 2
    takes_turns = np.zeros_like(switches)
    for held in np.moveaxis(holds, 2, 0):  # by whom one annotation is held, (T, D)
        holders = np.flatnonzero(held.any(axis=0))
        without = held[:, holders].T @ ~seen[:, holders]  # row holds it where column is absent, (N, N)
        takes_turns[holders] |= (without & without.T).any(axis=1)
    return np.asarray(right_in_parts & (switches | takes_turns))


_EMPTY = Verdicts(
    scores=np.zeros(0),
    classes=np.zeros(0, np.int64),
    kinds=np.zeros(0, np.str_),
    gt_classes=np.zeros(0, np.int64),
    found=np.zeros(0, np.bool_),
    missed=np.zeros(0, np.bool_),
    pointers=np.zeros((0, 2), np.int64),
)
