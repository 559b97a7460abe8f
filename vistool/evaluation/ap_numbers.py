"""Verdicts → the benchmark's numbers: of all videos, of some, or of videos that count several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ytvis_ap import AREA_RANGES, IOU_THRESHOLDS, LIMITS, OCCLUSION_RANGES, Verdicts

RECALL_POINTS = np.linspace(0.0, 1.0, 101)  # i × 0.01 in double arithmetic, which is not always i / 100
UNDEFINED = -1.0  # where nothing is annotated

_ALL, _SMALL, _MEDIUM, _LARGE, _LIGHT, _MODERATE, _HEAVY = range(7)
_AT_50, _AT_75 = 0, 5
_EPSILON = float(np.spacing(1))  # so a single hit has precision 1 - 2e-16, unless another one follows
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The benchmark's twelve, in its order; s, m, l: small, medium, large."""
OCCLUSION_FIGURES = ("APso", "APmo", "APho", "ARso", "ARmo", "ARho")
"""What OVIS adds: slightly, moderately, heavily occluded."""


@dataclass(frozen=True, slots=True, eq=False)
class CategoryVerdicts:
    """All N predictions of one category, best first; equals by video, then in file order."""

    video: NDArray[np.int64]  # (N,) row of the video
    place: NDArray[np.int64]  # (N,) rank within the video, from 0
    matched: NDArray[np.bool_]  # (A, T, N)
    ignored: NDArray[np.bool_]  # (A, T, N)
    wanted: NDArray[np.int64]  # (V, A)


def gathered(verdicts: Mapping[int, Verdicts], videos: int, ranges: int) -> CategoryVerdicts:
    """Of one category: verdicts by row of the video, rows ascending, `videos` rows in all."""
    wanted = np.zeros((videos, ranges), np.int64)
    for row, one in verdicts.items():
        wanted[row] = one.wanted
    some = [*verdicts.values()]
    scores = np.concatenate([np.zeros(0), *(one.scores for one in some)])
    order = np.argsort(-scores, kind="stable")
    nothing = np.zeros((ranges, len(IOU_THRESHOLDS), 0), np.bool_)
    return CategoryVerdicts(
        np.repeat([*verdicts], [len(one.scores) for one in some]).astype(np.int64)[order],
        np.concatenate([np.zeros(0, np.int64), *(np.arange(len(one.scores)) for one in some)])[order],
        np.concatenate([nothing, *(one.matched for one in some)], axis=-1)[..., order],
        np.concatenate([nothing, *(one.ignored for one in some)], axis=-1)[..., order],
        wanted,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ApTable:
    """Everything that AP and AR of any choice of the videos are counted from."""

    categories: Mapping[str, CategoryVerdicts]  # by name
    occlusion: bool  # whether OVIS's groups are there

    def figures(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """The benchmark's numbers by name, fractions, -1 where undefined; weights (V,): how often each video counts."""
        counted = [self._category(name, weights) for name in self.categories]
        if not counted:
            return dict.fromkeys(FIGURES + (OCCLUSION_FIGURES if self.occlusion else ()), UNDEFINED)
        precision = np.stack([p for p, _ in counted])  # (K, A, T, R)
        recall = np.stack([r for _, r in counted])  # (K, M, A, T)
        figures = {
            "AP": _mean(precision[:, _ALL]),
            "AP50": _mean(precision[:, _ALL, _AT_50]),
            "AP75": _mean(precision[:, _ALL, _AT_75]),
        }
        figures |= {f"AP{x}": _mean(precision[:, row]) for x, row in zip("sml", (_SMALL, _MEDIUM, _LARGE), strict=True)}
        figures |= {f"AR{limit}": _mean(recall[:, m, _ALL]) for m, limit in enumerate(LIMITS)}
        figures |= {
            f"AR{x}": _mean(recall[:, -1, row]) for x, row in zip("sml", (_SMALL, _MEDIUM, _LARGE), strict=True)
        }
        if self.occlusion:
            groups = list(zip(("so", "mo", "ho"), (_LIGHT, _MODERATE, _HEAVY), strict=True))
            figures |= {f"AP{x}": _mean(precision[:, row]) for x, row in groups}
            figures |= {f"AR{x}": _mean(recall[:, -1, row]) for x, row in groups}
        return figures

    def per_category(self, weights: NDArray[np.float64] | None = None) -> dict[str, dict[str, float]]:
        """AP, AP50, AP75 and the three AR of each category."""
        table = {}
        for name in self.categories:
            precision, recall = self._category(name, weights)
            table[name] = {
                "AP": _mean(precision[None, _ALL]),
                "AP50": _mean(precision[None, _ALL, _AT_50]),
                "AP75": _mean(precision[None, _ALL, _AT_75]),
                **{f"AR{limit}": _mean(recall[None, m, _ALL]) for m, limit in enumerate(LIMITS)},
            }
        return table

    def _category(
        self, name: str, weights: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision at each recall point with 100 predictions a video (A, T, R), and the recall reached (M, A, T).

        -1 in every range where nothing is annotated, whatever was predicted there: that is free of charge.
        """
        verdicts = self.categories[name]
        of_video = np.ones(len(verdicts.wanted)) if weights is None else weights
        wanted = of_video @ verdicts.wanted
        ranges = np.flatnonzero(wanted > 0)
        shape = (len(wanted), len(IOU_THRESHOLDS))
        precision = np.full((*shape, len(RECALL_POINTS)), UNDEFINED)
        recall = np.full((len(LIMITS), *shape), UNDEFINED)
        if not len(ranges):
            return precision, recall
        times = of_video[verdicts.video]
        right = (verdicts.matched & ~verdicts.ignored)[ranges]
        for m, limit in enumerate(LIMITS):
            recall[m, ranges] = (right @ np.where(verdicts.place < limit, times, 0.0)) / wanted[ranges, None]
        hits = np.cumsum(right * times, axis=-1)
        misses = np.cumsum(~(verdicts.matched | verdicts.ignored)[ranges] * times, axis=-1)
        precision[ranges] = at_recall_points(hits, misses, wanted[ranges])
        return precision, recall


def ap_table(names: Sequence[str], verdicts: Sequence[CategoryVerdicts]) -> ApTable:
    """Of all categories, in their order; no two have one name."""
    table = dict(zip(names, verdicts, strict=True))
    ranges = verdicts[0].wanted.shape[1] if verdicts else len(AREA_RANGES)
    return ApTable(table, ranges == len(AREA_RANGES) + len(OCCLUSION_RANGES))


def at_recall_points(
    hits: NDArray[np.float64], misses: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Running counts (A, T, N), wanted (A,) → best precision at each recall or beyond (A, T, R), 0 if not reached."""
    recall = hits / wanted[:, None, None]
    precision = hits / (misses + hits + _EPSILON)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    count = hits.shape[-1]
    at_points = np.zeros((*hits.shape[:2], len(RECALL_POINTS)))
    for row in np.ndindex(hits.shape[:2]):
        first = np.searchsorted(recall[row], RECALL_POINTS, side="left")
        reached = first < count
        at_points[row][reached] = envelope[row][first[reached]]
    return at_points


def _mean(values: NDArray[np.float64]) -> float:
    """Of what is defined; values (K, T, R) or (K, T) are summed in the benchmark's order, categories innermost."""
    values = np.moveaxis(values, 0, -1)
    defined = values[values > UNDEFINED]
    return float(defined.mean()) if defined.size else UNDEFINED
