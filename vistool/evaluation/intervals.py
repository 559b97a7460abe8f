"""How sure a number is: the bootstrap over videos, which asks what other choices of the videos would have given.

Percentile intervals (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979): V videos
are drawn with replacement from the V that there are, as often as wanted, and every number is counted anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .ap_numbers import UNDEFINED
from .scoring import Figures, Scores, is_defined

LEVEL = 0.95  # of the draws lie within an interval

Interval = tuple[float, float]
"""Low and high end; both -1 where no draw defines the number."""
Intervals = dict[str, dict[str, Interval]]
"""Metric → name → interval."""


def intervals(scores: Scores, draws: int, seed: int) -> Intervals:
    """Of every number; the same seed draws the same videos."""
    drawn = (_known(scores.figures(weights)) for weights in _draws(len(scores.videos), draws, seed))
    return _spread(scores.figures(), drawn)


def differences(a: Scores, b: Scores, draws: int, seed: int) -> tuple[Figures, Intervals]:
    """b - a for every number, NaN where one of them does not define it, and its interval.

    Both are drawn the same videos, so what these share cancels.
    """
    drawn = (_difference(a.figures(weights), b.figures(weights)) for weights in _draws(len(a.videos), draws, seed))
    as_they_are = _difference(a.figures(), b.figures())
    return as_they_are, _spread(as_they_are, drawn)


def _draws(videos: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each video is drawn, (V,), `draws` times."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, videos, videos), minlength=videos).astype(np.float64)


def _known(figures: Figures) -> Figures:
    """The numbers that are defined."""
    return {
        metric: {name: value for name, value in values.items() if is_defined(name, values)}
        for metric, values in figures.items()
    }


def _difference(a: Figures, b: Figures) -> Figures:
    return {
        metric: {
            name: value - a[metric][name] if is_defined(name, values) and is_defined(name, a[metric]) else math.nan
            for name, value in values.items()
        }
        for metric, values in b.items()
    }


def _spread(like: Figures, drawn: Iterable[Figures]) -> Intervals:
    samples: dict[str, dict[str, list[float]]]
    samples = {metric: {name: [] for name in names} for metric, names in like.items()}
    for figures in drawn:
        for metric, values in figures.items():
            for name, value in values.items():
                if not math.isnan(value):
                    samples[metric][name].append(value)
    return {metric: {name: _percentiles(values) for name, values in names.items()} for metric, names in samples.items()}


def _percentiles(values: Sequence[float]) -> Interval:
    if not values:
        return (UNDEFINED, UNDEFINED)
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return (float(low), float(high))
