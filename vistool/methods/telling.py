"""What online methods tell of a frame, and scores that are means over all frames of a video, seen or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..types import Frame, FramePrediction, Rle


class MeanOverVideo:
    """What to say of each track on each frame, so that the mean of all that was said of it since it began is, at any
    time, the sum of its scores divided by the number of all frames so far.

    Of T frames a track was there for n = T - b. Where S is the sum of its scores up to now, the mean should be S / T,
    and what was said should add up to n · S / T; said is what that has grown by. It lies in [0, 1] as scores do.
    """

    def __init__(self, classes: int) -> None:
        self._sums = np.zeros((0, classes))  # by track, S
        self._said = np.zeros((0, classes))  # by track, the sum of what was said
        self._begun = np.zeros(0, np.int64)  # by track, b: frames before its first
        self._track_ids = np.zeros(0, np.int64)
        self._frames = 0

    def said(
        self, track_ids: NDArray[np.int64], class_scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The next frame: ids (n,) and scores (n, K) of the tracks on it → those of all tracks, the n first."""
        self._begin(track_ids[~np.isin(track_ids, self._track_ids)])
        self._frames += 1
        place = {track_id: row for row, track_id in enumerate(self._track_ids.tolist())}
        rows = np.array([place[track_id] for track_id in track_ids.tolist()], np.int64)
        self._sums[rows] += class_scores
        due = self._sums * ((self._frames - self._begun) / self._frames)[:, None]
        now = np.clip(due - self._said, 0, 1)
        self._said = due
        rest = np.setdiff1d(np.arange(len(self._track_ids)), rows)
        order = np.concatenate([rows, rest])
        return self._track_ids[order], now[order].astype(np.float32)

    def _begin(self, track_ids: NDArray[np.int64]) -> None:
        """New tracks, of which nothing was seen so far."""
        count = len(track_ids)
        nothing = np.zeros((count, self._sums.shape[1]))
        self._sums, self._said = np.concatenate([self._sums, nothing]), np.concatenate([self._said, nothing])
        self._begun = np.concatenate([self._begun, np.full(count, self._frames)])
        self._track_ids = np.concatenate([self._track_ids, track_ids])


def told(
    frame: Frame,
    track_ids: NDArray[np.int64],
    class_scores: NDArray[np.float32],
    shapes: Sequence[Rle],
    means: MeanOverVideo | None,
) -> FramePrediction:
    """n ids, scores (n, K) and masks of the objects of a frame → what is said of it.

    With `means` every track known so far is told, after the n, with an empty mask where it is not seen.
    """
    if means is not None:
        track_ids, class_scores = means.said(track_ids, class_scores)
        height, width = frame.image.shape[:2]
        shapes = [*shapes, *[masks.empty((height, width))] * (len(track_ids) - len(shapes))]
    return FramePrediction(
        frame.index,
        track_ids=track_ids,
        labels=class_scores.argmax(1),
        scores=class_scores.max(1),
        masks=tuple(shapes),
        class_scores=class_scores,
    )
