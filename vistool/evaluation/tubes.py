"""Annotated and predicted tracks, checked and measured once, and how much those of one video share.

A tube is one track of one video: a mask or nothing on each frame. All that is measured later needs areas, boxes and
shared pixels alone, so these are kept beside the run lengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..types import Rle
from .measured import SIDE_BY_SIDE, left_edge


@dataclass(frozen=True, slots=True, eq=False)
class Tube:
    """One track of one video, annotated or predicted; T is the number of its masks."""

    id: int  # of the annotation; position in the file, from 1, of a prediction
    video_id: int
    category_id: int
    masks: tuple[Rle | None, ...]  # T, each in its place on a strip
    areas: NDArray[np.int64]  # (T,) pixels; 0 without a mask
    mean_area: float  # over the frames where it is above 0, as the file says
    score: float = 1.0
    crowd: bool = False
    hidden: NDArray[np.float64] | None = None  # (T,) share of the whole object that is covered; None: not annotated
    occlusion: float | None = None  # OVIS's score of the track, 0 to 1; None: not annotated


@dataclass(frozen=True, slots=True)
class Video:
    """One annotated video."""

    id: int
    size_hw: tuple[int, int]
    length: int | None  # frames; None where the file does not say
    names: tuple[str, ...]  # what a per-video result may be called after, the best first


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """All annotated tracks of a data set, in the order of the file; ids of videos and categories ascend."""

    videos: Mapping[int, Video]  # by id
    category_names: Mapping[int, str]  # by id
    tubes: tuple[Tube, ...]

    @property
    def video_ids(self) -> tuple[int, ...]:
        return tuple(self.videos)


@dataclass(slots=True)
class Notes:
    """What was odd about the input, counted, so that one kind is one line."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, times: int = 1) -> None:
        if times:
            self.counts[what] += times

    def lines(self) -> tuple[str, ...]:
        return tuple(f"{what}: {times}" for what, times in self.counts.items())


_ABSENT, _BEYOND = -1, -2  # no mask on this frame · the tube has no such frame


class Frames:
    """N tubes as columns of arrays, filled up to a common length T."""

    def __init__(self, tubes: Sequence[Tube], length: int, sizes: dict[tuple[int, int], int]) -> None:
        """Sizes not met before join `sizes`."""
        self.tubes = tubes
        self.size = np.full((length, len(tubes)), _BEYOND, np.int64)  # (T, N) its number, or why there is none
        self.areas = np.zeros((length, len(tubes)), np.int64)  # (T, N)
        for row, tube in enumerate(tubes):
            frames = len(tube.masks)
            self.size[:frames, row] = [
                _ABSENT if rle is None else sizes.setdefault(rle.size_hw, len(sizes)) for rle in tube.masks
            ]
            self.areas[:frames, row] = tube.areas

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(T, N) whether the tube has a pixel on the frame."""
        return self.areas > 0

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """(T, N, 4) x, y, width, height of the tight box; zeros without a pixel."""
        boxes = np.zeros((*self.size.shape, 4), np.int64)
        frame, column = np.nonzero(self.seen)
        rles = self.rles(frame, column)
        boxes[frame, column] = masks.boxes_xywh(rles)
        boxes[frame, column, 0] -= left_edge(frame, np.array([rle.size_hw[1] for rle in rles], np.int64))
        return boxes

    def rles(self, frames: NDArray[np.int64], columns: NDArray[np.int64]) -> list[Rle]:
        """Of these frames of these tubes, both (M,), where there is a mask."""
        pairs = zip(frames.tolist(), columns.tolist(), strict=True)
        return [rle for t, n in pairs if (rle := self.tubes[n].masks[t]) is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Predicted and annotated tubes of one video, frame by frame; T is the longest of them."""

    found: Frames
    annotated: Frames
    shared: NDArray[np.int64]  # (T, D, G) pixels, counted for the pairs asked for
    joint: NDArray[np.int64]  # (T, D, G) pixels
    uneven: NDArray[np.bool_]  # (T, D, G) both have a mask and the sizes differ: not compared
    beyond: NDArray[np.bool_]  # (T, D, G) one of the two has ended: not compared

    def tube_iou(self) -> NDArray[np.float64]:
        """Shared over joint pixels of whole tubes, (D, G); 0 where there are none."""
        compared = ~(self.uneven | self.beyond)
        shared = np.where(compared, self.shared, 0).sum(axis=0)
        joint = np.where(compared, self.joint, 0).sum(axis=0)
        return np.asarray(shared / np.where(joint > 0, joint, 1))

    def frame_iou(self) -> NDArray[np.float64]:
        """Shared over joint pixels on each frame, (T, D, G); 0 where either has no mask."""
        return np.asarray(self.shared / np.where(self.joint > 0, self.joint, 1))

    def box_iou(self) -> NDArray[np.float64]:
        """The same of the tight boxes, as rectangles; 0 where either has no pixel."""
        return masks.box_iou(self.found.boxes[:, :, None], self.annotated.boxes[:, None])


def overlap(found: Sequence[Tube], annotated: Sequence[Tube], wanted: NDArray[np.bool_] | None = None) -> Overlap:
    """Of tubes of one video; `wanted` (D, G) says which pairs matter, by default all."""
    length = max((len(tube.masks) for tube in (*found, *annotated)), default=0)
    sizes: dict[tuple[int, int], int] = {}
    f, a = Frames(found, length, sizes), Frames(annotated, length, sizes)
    both = (f.size >= 0)[:, :, None] & (a.size >= 0)[:, None]
    uneven = both & (f.size[:, :, None] != a.size[:, None])
    compared = both & ~uneven if wanted is None else both & ~uneven & wanted
    shared = np.zeros(both.shape, np.int64)
    for rows, columns in _blocks(compared.any(axis=0)):
        block = compared[:, rows][:, :, columns]
        f_wanted, a_wanted = block.any(axis=2), block.any(axis=1)
        for begin in range(0, length, SIDE_BY_SIDE):
            strip = slice(begin, begin + SIDE_BY_SIDE)
            for size in range(len(sizes)):
                t, row = np.nonzero(f_wanted[strip] & (f.size[strip, rows] == size))
                u, column = np.nonzero(a_wanted[strip] & (a.size[strip, columns] == size))
                if len(t) and len(u):
                    some, others = (begin + t, rows[row]), (begin + u, columns[column])
                    pairs = masks.intersection_matrix(f.rles(*some), a.rles(*others), f.areas[some])
                    i, j = np.nonzero(t[:, None] == u)
                    shared[begin + t[i], rows[row[i]], columns[column[j]]] = pairs[i, j]
    beyond = (f.size == _BEYOND)[:, :, None] | (a.size == _BEYOND)[:, None]
    return Overlap(f, a, shared, f.areas[:, :, None] + a.areas[:, None] - shared, uneven, beyond)


def _blocks(pairs: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows and columns that go together, when all pairs (D, G) of a block are wanted or few are not."""
    left = np.asarray(pairs.any(axis=1))
    while left.any():
        columns = np.flatnonzero(pairs[left.argmax()])
        rows = np.flatnonzero(left & pairs[:, columns].any(axis=1))
        yield rows, np.flatnonzero(pairs[rows].any(axis=0))
        left[rows] = False


def mean_area(areas: Iterable[float | None]) -> float:
    """Mean over the frames with an area above 0; 0.0 without one."""
    visible = [area for area in areas if area]
    return float(np.mean(visible)) if visible else 0.0
