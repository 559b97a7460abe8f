"""Stand-ins for the seams: a source, models and a writer without a file, a network or a format.

Shipped, so that whoever writes a writer or a method tests it with what this project tests itself with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from . import masks
from .types import Category, Frame, FramePrediction, Rle, Track, VideoInfo, VideoPrediction

CATEGORIES = (Category(1, "square"), Category(3, "bar"), Category(4, "tile"))

_FRAME_RATE = Fraction(25)


def moving_rectangles(
    count: int = 3, length: int = 12, size_hw: tuple[int, int] = (48, 64), *, stride: int = 1, seed: int = 0
) -> tuple[Track, ...]:
    """Rectangles that slide to and fro, each in a lane of its own, on frames 0, stride, 2·stride, …

    No two ever overlap; each overlaps itself from one frame to the next. The label is the id modulo the categories.
    """
    height, width = size_hw
    lane, long = height // count, width // 3
    if lane < 1 or long < 1:
        raise ValueError(f"{count} rectangles do not fit in {height} × {width} pixels")
    rng = np.random.default_rng(seed)
    tracks = []
    for row in range(count):
        phase, speed = rng.integers(0, width), rng.integers(1, max(2, long // 4))
        boxes = {}
        for t in range(length):
            left = abs(int(phase + speed * t) % (2 * (width - long)) - (width - long))
            picture = np.zeros(size_hw, np.bool_)
            picture[row * lane : row * lane + max(1, lane - 1), left : left + long] = True
            boxes[t * stride] = masks.encode(picture)
        label = (row + 1) % len(CATEGORIES)
        class_scores = tuple(0.9 if k == label else 0.05 for k in range(len(CATEGORIES)))
        tracks.append(Track(row + 1, label, 0.9, boxes, class_scores))
    return tuple(tracks)


def draw(tracks: Sequence[Track], indices: Iterable[int], size_hw: tuple[int, int]) -> Iterator[Frame]:
    """Pictures of the tracks, each in a grey of its own on black, made one at a time."""
    for index in indices:
        image = np.zeros((*size_hw, 3), np.uint8)
        for number, track in enumerate(tracks, start=1):
            if index in track.masks:
                image[masks.decode(track.masks[index])] = 255 * number // len(tracks)
        yield Frame(index, float(index / _FRAME_RATE), image)


class FakeSource:
    """A video of given frames, read once; `closed` tells whether it was closed."""

    def __init__(self, frames: Iterable[Frame], size_hw: tuple[int, int], *, name: str = "fake.mp4") -> None:
        self._frames = frames
        self._info = VideoInfo(name, size_hw, _FRAME_RATE, frame_count=None)
        self.closed = False

    @classmethod
    def of(cls, tracks: Sequence[Track]) -> FakeSource:
        """The pictures of `tracks`, on every frame where one of them is seen."""
        indices = sorted({index for track in tracks for index in track.masks})
        size_hw = next(mask.size_hw for track in tracks for mask in track.masks.values())
        return cls(draw(tracks, indices, size_hw), size_hw)

    @property
    def info(self) -> VideoInfo:
        return self._info

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def close(self) -> None:
        self.closed = True


class FakeOnlineModel:
    """Knows the tracks beforehand and tells, frame by frame, what is to be seen."""

    def __init__(self, tracks: Sequence[Track], categories: tuple[Category, ...] = CATEGORIES) -> None:
        self._tracks = tuple(tracks)
        self._categories = categories

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._categories

    def begin(self, video: VideoInfo) -> FakeTracker:
        return FakeTracker(self._tracks)


class FakeTracker:
    """The tracker of a FakeOnlineModel."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._tracks = tracks

    def step(self, frame: Frame) -> FramePrediction:
        visible = [track for track in self._tracks if frame.index in track.masks]
        return FramePrediction(
            frame.index,
            track_ids=np.array([track.id for track in visible], np.int64),
            labels=np.array([track.label for track in visible], np.int64),
            scores=np.array([track.score for track in visible], np.float32),
            masks=tuple(track.masks[frame.index] for track in visible),
        )


class FakeOfflineModel:
    """Knows the tracks beforehand and tells, window by window, which part of them is to be seen, under fresh ids.

    `seed` also shuffles the candidates of each window, in another way each time; `dropout` is the share of masks that
    go missing, at random. `windows` records the frame indices of each call.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        categories: tuple[Category, ...] = CATEGORIES,
        *,
        seed: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        self._tracks = tuple(tracks)
        self._categories = categories
        self._seed = seed
        self._dropout = dropout
        self.windows: list[tuple[int, ...]] = []

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._categories

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        indices = tuple(frame.index for frame in frames)
        self.windows.append(indices)
        rng = np.random.default_rng((self._seed or 0, indices[0]))
        found = []
        for track in self._tracks:
            visible = [index for index in indices if index in track.masks and rng.random() >= self._dropout]
            if visible:
                found.append(replace(track, masks={index: track.masks[index] for index in visible}))
        order = range(len(found)) if self._seed is None else rng.permutation(len(found))
        return tuple(replace(found[row], id=slot) for slot, row in enumerate(order))


class RecordingWriter:
    """Keeps in memory what it is given. `published` is set by `finish` alone."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.predictions: list[FramePrediction] = []
        self.published: VideoPrediction | None = None
        self.closed = False

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        self.frames.append(frame.index)
        self.predictions.append(prediction)

    def finish(self, result: VideoPrediction) -> None:
        self.published = result

    def close(self) -> None:
        self.closed = True

    @property
    def masks(self) -> dict[tuple[int, int], Rle]:
        """By track id and frame index, as they were streamed."""
        return {
            (track_id, prediction.frame_index): mask
            for prediction in self.predictions
            for track_id, mask in zip(prediction.track_ids.tolist(), prediction.masks, strict=True)
        }
