"""A model that speaks another list of classes: same tracks, same masks, its scores under other names.

Knows tracks and frames; knows no method, no data set and no format.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .protocols import ClipModel, ClipTracker, OfflineModel, OnlineModel, OnlineTracker, VideoModel, Withdrawing
from .types import Category, Frame, FramePrediction, Track, VideoInfo


def map_classes(model: VideoModel, target: tuple[Category, ...], rows: Mapping[int, int]) -> VideoModel:
    """`model` with the classes `target`; `rows`: row of its own categories → row of `target`, where there is one.

    It runs in the modes that `model` runs in. The score of a class is the greatest score of its source classes, not
    their sum: where a model scores each class for itself, an object can be surely a car and surely a truck, and is no
    surer a vehicle for that. A candidate without a score above 0 is left out: a row has a label, and each would be
    wrong. So is one of which only a label is known, when that leads nowhere; where it leads somewhere, it keeps its
    score.

    Raises ValueError for a row that is not there.
    """
    if not rows.keys() <= set(range(len(model.categories))) or not set(rows.values()) <= set(range(len(target))):
        raise ValueError(f"no such rows: {dict(rows)} (from {len(model.categories)} classes to {len(target)})")
    translation = _Translation(target, dict(rows))
    online = _Online(cast(OnlineModel, model), translation)
    if hasattr(model, "begin_clips"):
        clips = _Clips(cast(ClipModel, model), translation)
        return _OnlineAndClips(online, clips) if hasattr(model, "begin") else clips
    if not hasattr(model, "segment"):
        return online
    offline = _Offline(cast(OfflineModel, model), translation)
    return _Both(online, offline) if hasattr(model, "begin") else offline


@dataclass(frozen=True, slots=True)
class _Translation:
    """From scores and labels of one list of classes to those of another."""

    target: tuple[Category, ...]
    rows: Mapping[int, int]

    def scores(self, class_scores: NDArray[np.floating]) -> NDArray[np.floating]:
        """(N, K) → (N, K'); 0 for a class without a source."""
        mapped = np.zeros((len(class_scores), len(self.target)), class_scores.dtype)
        for source, target in self.rows.items():
            np.maximum(mapped[:, target], class_scores[:, source], out=mapped[:, target])
        return mapped

    def frame(self, found: FramePrediction) -> FramePrediction:
        """The rows that have a class of the target, under it."""
        if found.class_scores is None:
            labels = np.array([self.rows.get(label, -1) for label in found.labels.tolist()], np.int64)
            kept = np.flatnonzero(labels >= 0)
            scores, class_scores = found.scores, None
        else:
            class_scores = self.scores(found.class_scores)
            labels, scores = class_scores.argmax(1), class_scores.max(1)
            kept = np.flatnonzero(scores > 0)
        return FramePrediction(
            found.frame_index,
            track_ids=found.track_ids[kept],
            labels=labels[kept],
            scores=scores[kept],
            masks=tuple(found.masks[row] for row in kept.tolist()),
            class_scores=None if class_scores is None else class_scores[kept],
            judged=None if found.judged is None else found.judged[kept],
        )

    def track(self, track: Track) -> Track | None:
        """The track under its best class of the target; None when it has none."""
        if track.class_scores is None:
            return replace(track, label=self.rows[track.label]) if track.label in self.rows else None
        scores = self.scores(np.array([track.class_scores]))[0]
        label = int(scores.argmax())
        if scores[label] <= 0:
            return None
        return replace(track, label=label, score=float(scores[label]), class_scores=tuple(scores.tolist()))


@dataclass(frozen=True, slots=True)
class _Online:
    """An online model in translation."""

    model: OnlineModel
    translation: _Translation

    @property
    def categories(self) -> tuple[Category, ...]:
        return self.translation.target

    def begin(self, video: VideoInfo) -> OnlineTracker:
        return _Tracker(self.model.begin(video), self.translation)


@dataclass(frozen=True, slots=True)
class _Tracker:
    """The tracker of an `_Online` model."""

    tracker: OnlineTracker
    translation: _Translation

    def step(self, frame: Frame) -> FramePrediction:
        return self.translation.frame(self.tracker.step(frame))

    def withdrawn(self) -> Collection[int]:
        return self.tracker.withdrawn() if isinstance(self.tracker, Withdrawing) else ()


@dataclass(frozen=True, slots=True)
class _Clips:
    """A model that follows objects from clip to clip, in translation."""

    model: ClipModel
    translation: _Translation

    @property
    def categories(self) -> tuple[Category, ...]:
        return self.translation.target

    def begin_clips(self, video: VideoInfo, window: int) -> ClipTracker:
        return _ClipTracker(self.model.begin_clips(video, window), self.translation)


@dataclass(frozen=True, slots=True)
class _ClipTracker:
    """The tracker of a `_Clips` model."""

    tracker: ClipTracker
    translation: _Translation

    def segment(self, frames: Sequence[Frame]) -> list[FramePrediction]:
        return [self.translation.frame(found) for found in self.tracker.segment(frames)]

    def withdrawn(self) -> Collection[int]:
        return self.tracker.withdrawn() if isinstance(self.tracker, Withdrawing) else ()


@dataclass(frozen=True, slots=True)
class _Offline:
    """An offline model in translation."""

    model: OfflineModel
    translation: _Translation

    @property
    def categories(self) -> tuple[Category, ...]:
        return self.translation.target

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        found = [self.translation.track(track) for track in self.model.segment(video, frames)]
        return tuple(track for track in found if track is not None)


@dataclass(frozen=True, slots=True)
class _Both:
    """One model that runs either way."""

    online: _Online
    offline: _Offline

    @property
    def categories(self) -> tuple[Category, ...]:
        return self.online.categories

    def begin(self, video: VideoInfo) -> OnlineTracker:
        return self.online.begin(video)

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        return self.offline.segment(video, frames)


@dataclass(frozen=True, slots=True)
class _OnlineAndClips:
    """One model that runs frame by frame or clip by clip."""

    online: _Online
    clips: _Clips

    @property
    def categories(self) -> tuple[Category, ...]:
        return self.online.categories

    def begin(self, video: VideoInfo) -> OnlineTracker:
        return self.online.begin(video)

    def begin_clips(self, video: VideoInfo, window: int) -> ClipTracker:
        return self.clips.begin_clips(video, window)
