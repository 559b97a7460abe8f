"""Who is who without slots: where the tracks should be now, and what they are. NumPy alone.

For weights whose slots are places: an object that crosses the picture goes from slot to slot there, and half-way two of
them show a piece of it each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import masks
from ...likeness import cosines, nearness, one_to_one
from ...types import Rle
from .identities import NOBODY
from .presets import Preset

Floats = NDArray[np.float64]

CLASS_WEIGHT = 0.5  # share of an overlap that is lost where two sights have no class in common
MIN_LIKENESS = 0.1  # of classes, times nearness: below it what is seen is not an object that was out of sight
MOST_MOVED = 4  # frames for which an object out of sight is taken to go on as it went
MIN_INSIDE = 0.5  # share of the box of a piece that lies where its object should be
MIN_COSINE = 0.5  # of the classes of a piece and those of its object


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """What is remembered of an object."""

    track_id: int
    last_seen: int  # number of the frame
    box: Floats  # x, y, width, height
    speed: Floats | None  # (2,) pixels a frame; None until it was seen twice
    classes: Floats  # (K,) scores, the sum over the frames that show it

    def expected(self, frame: int) -> Floats:
        """Its box on a later frame, if it goes on as it went."""
        if self.speed is None:
            return self.box
        steps = min(frame - self.last_seen, MOST_MOVED)
        return np.concatenate([self.box[:2] + steps * self.speed, self.box[2:]])

    def next(self, frame: int, box: Floats, classes: Floats) -> _Track:
        """Seen again."""
        way = box[:2] + box[2:] / 2 - self.box[:2] - self.box[2:] / 2
        now = way / (frame - self.last_seen)
        speed = now if self.speed is None else (self.speed + now) / 2
        return _Track(self.track_id, frame, box, speed, self.classes + classes)


class Motion:
    """The tracks of one video; in place of `identities.Identities`. Slots have no say.

    A track goes on with the mask whose box overlaps best the one where it should be, less where the class differs. What
    is left over may be a piece of such an object, or else, if its score reaches `begin_score`, a track of its class
    that should be near, in sight or not, or a new one. What is more doubtful is nobody's. A track is given up
    `slot_gap` frames after it was seen last.
    """

    def __init__(self, rules: Preset) -> None:
        self._rules = rules
        self._tracks: list[_Track] = []
        self._frame = -1
        self._next_id = 1

    def name(
        self, slots: NDArray[np.int64], shapes: Sequence[Rle], class_scores: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """The next frame: n slots, n masks, scores (n, K) → track ids (n,), `NOBODY` for what is none.

        Rows of one id are pieces of one object.
        """
        self._frame += 1
        self._forget()
        boxes, classes = masks.boxes_xywh(shapes).astype(np.float64), class_scores.astype(np.float64)
        expected = np.array([track.expected(self._frame) for track in self._tracks]).reshape(-1, 4)
        alike = cosines(classes, np.array([track.classes for track in self._tracks]).reshape(-1, classes.shape[1]))
        owners = self._at_their_place(boxes, expected, alike)
        owners |= _pieces(boxes, expected, alike, owners)
        sure = [row for row in range(len(boxes)) if row not in owners and classes[row].max() >= self._rules.begin_score]
        owners |= _not_far(boxes, expected, alike, owners, sure)
        for row in sure:
            owners.setdefault(row, len(self._tracks) + row)  # a track to come
        return self._go_on(boxes, classes, owners)

    def _forget(self) -> None:
        most = self._rules.slot_gap
        if most is not None:
            self._tracks = [track for track in self._tracks if self._frame - track.last_seen - 1 <= most]

    def _at_their_place(self, boxes: Floats, expected: Floats, alike: Floats) -> dict[int, int]:
        """Row → number of the track, of those that the frame before showed."""
        in_sight = np.array([track.last_seen == self._frame - 1 for track in self._tracks], np.bool_)
        overlaps = masks.box_iou(boxes[:, None], expected) * (1 - CLASS_WEIGHT + CLASS_WEIGHT * alike)
        return dict(one_to_one(np.where(in_sight & (overlaps > self._rules.overlap), overlaps, 0)))

    def _go_on(self, boxes: Floats, classes: Floats, owners: Mapping[int, int]) -> NDArray[np.int64]:
        """The ids of all rows; what is remembered of their tracks is what they show now."""
        track_ids, known = np.full(len(boxes), NOBODY, np.int64), len(self._tracks)
        for number in sorted(set(owners.values())):  # new ones come after those there are, in the order of their rows
            rows = [row for row, owner in owners.items() if owner == number]
            surest = max(rows, key=lambda row: classes[row].max())
            seen = _around(boxes[rows]), classes[surest]
            if number < known:
                track = self._tracks[number] = self._tracks[number].next(self._frame, *seen)
            else:
                track = _Track(self._next_id, self._frame, seen[0], None, seen[1])
                self._tracks, self._next_id = [*self._tracks, track], self._next_id + 1
            track_ids[rows] = track.track_id
        return track_ids


def _pieces(boxes: Floats, expected: Floats, alike: Floats, owners: Mapping[int, int]) -> dict[int, int]:
    """Rows that complete a track which is at its place: with them it fills the box where it should be no worse."""
    inside = masks.box_intersection(boxes[:, None], expected) / boxes[:, 2:].prod(1)[:, None]
    fits = (inside >= MIN_INSIDE) & (alike >= MIN_COSINE)
    pieces: dict[int, int] = {}
    for main, number in owners.items():
        alone = masks.box_iou(boxes[main], expected[number])
        for row in np.flatnonzero(fits[:, number]).tolist():
            together = masks.box_iou(_around(boxes[[row, main]]), expected[number])
            better = row not in pieces or inside[row, number] > inside[row, pieces[row]]
            if row not in owners and together >= alone and better:
                pieces[row] = number
    return pieces


def _not_far(
    boxes: Floats, expected: Floats, alike: Floats, owners: Mapping[int, int], rows: Sequence[int]
) -> dict[int, int]:
    """Row → number of the track, of those rows, and of tracks that are left."""
    likeness = np.zeros_like(alike)
    likeness[rows] = (alike * nearness(boxes, expected))[rows]
    likeness[:, list(owners.values())] = 0
    return dict(one_to_one(np.where(likeness < MIN_LIKENESS, 0, likeness)))


def _around(boxes: Floats) -> Floats:
    """The smallest box around boxes (N, 4)."""
    first, last = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    return np.concatenate([first, last - first])
