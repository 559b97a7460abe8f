"""Which tracks are told, in which order, as what. Two protocols: one class a track for people, and the benchmark's list
of (track, class) pairs. Knows no video and no format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .types import RankingProtocol, Rle, Track

YTVIS_PAIRS = 10  # (track, class) pairs a video that the benchmark protocol keeps unless told otherwise


@dataclass(frozen=True, slots=True)
class Ranking:
    """What is kept of a prediction.

    people: every track once, as its best allowed class, if that scores at least `conf`.
    ytvis: every (track, allowed class) pair with a score above 0 competes; `conf` has no say, the benchmark wants the
    low scores too.
    """

    protocol: RankingProtocol = "people"
    conf: float = 0.3
    max_instances: int | None = None  # tracks or pairs kept, best first; None: no limit for people, 10 for ytvis
    labels: frozenset[int] | None = None  # allowed rows of `categories`; None: all

    @property
    def most(self) -> int | None:
        """How many tracks or pairs are kept; None: all."""
        if self.max_instances is None and self.protocol == "ytvis":
            return YTVIS_PAIRS
        return self.max_instances


def rank(tracks: Sequence[Track], ranking: Ranking) -> tuple[Track, ...]:
    """The tracks of a whole video, best first; equal scores in the order given. A track without a mask is dropped.

    ytvis: the best pair of a track keeps the track's id; each further one is a track of its own and gets, in rank
    order, the next number after the highest id of `tracks`.
    """
    visible = [track for track in tracks if track.masks]
    if ranking.protocol == "people":
        return _best_of_each(visible, ranking)
    pairs = [pair for track in visible for pair in _as_every_class(track, ranking.labels) if pair.score > 0]
    kept = _best_first(pairs, ranking.most)
    next_id = max((track.id for track in tracks), default=0) + 1
    seen: set[int] = set()
    renumbered = []
    for pair in kept:
        if pair.id in seen:
            pair, next_id = replace(pair, id=next_id), next_id + 1
        seen.add(pair.id)
        renumbered.append(pair)
    return tuple(renumbered)


def rank_frame(tracks: Sequence[Track], ranking: Ranking) -> tuple[Track, ...]:
    """The tracks to show on one frame, by what is known so far: every track at most once, whatever the protocol."""
    if ranking.protocol == "ytvis":
        ranking = replace(ranking, conf=0.0)
    return _best_of_each(tracks, ranking)


class Standings:
    """What is known of every track so far: the mean of its class scores, and its masks."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._times: dict[int, int] = {}
        self._masks: dict[int, dict[int, Rle]] = {}

    def judge(self, track_id: int, class_scores: NDArray[np.floating]) -> None:
        """One more opinion (K,) on the class of a track."""
        if track_id not in self._sums:
            self._sums[track_id] = np.zeros(self._classes)
            self._times[track_id] = 0
            self._masks[track_id] = {}
        self._sums[track_id] += class_scores
        self._times[track_id] += 1

    def see(self, track_id: int, frame_index: int, mask: Rle) -> None:
        """Where a track, judged before, is on one frame, once and for all."""
        self._masks[track_id][frame_index] = mask

    def track(self, track_id: int) -> Track:
        """The track as it stands; its masks still grow."""
        scores = self._sums[track_id] / self._times[track_id]
        label = int(scores.argmax())
        return Track(track_id, label, float(scores[label]), self._masks[track_id], tuple(scores.tolist()))

    def tracks(self) -> tuple[Track, ...]:
        """All tracks, in the order of their first opinion."""
        return tuple(self.track(track_id) for track_id in self._sums)


def class_vector(
    classes: int, label: int, score: float, class_scores: Sequence[float] | NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """Class scores (K,); where only one class is known, its score and zeros."""
    if class_scores is not None:
        return np.asarray(class_scores, np.float64)
    vector = np.zeros(classes)
    vector[label] = score
    return vector


def _best_of_each(tracks: Sequence[Track], ranking: Ranking) -> tuple[Track, ...]:
    best = (_as_best_class(track, ranking.labels) for track in tracks)
    return _best_first([track for track in best if track is not None and track.score >= ranking.conf], ranking.most)


def _as_best_class(track: Track, labels: frozenset[int] | None) -> Track | None:
    """The track as its best allowed class, the first of equals; None when no class is allowed."""
    allowed = _allowed(track, labels)
    if track.class_scores is None:
        return track if allowed else None
    label = max(allowed, key=track.class_scores.__getitem__, default=None)
    return None if label is None else replace(track, label=label, score=track.class_scores[label])


def _as_every_class(track: Track, labels: frozenset[int] | None) -> list[Track]:
    """The track once for each allowed class that it has a score for."""
    allowed = _allowed(track, labels)
    if track.class_scores is None:
        return [track] if allowed else []
    return [replace(track, label=label, score=track.class_scores[label]) for label in allowed]


def _allowed(track: Track, labels: frozenset[int] | None) -> list[int]:
    scored = [track.label] if track.class_scores is None else range(len(track.class_scores))
    return [label for label in scored if labels is None or label in labels]


def _best_first(tracks: Sequence[Track], most: int | None) -> tuple[Track, ...]:
    return tuple(sorted(tracks, key=_score, reverse=True)[:most])  # a reversed sort is stable too


def _score(track: Track) -> float:
    return track.score
