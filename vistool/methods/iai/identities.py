"""Who is who: from what the head says of identities to lasting tracks (section 3.2, and the Hungarian assignment).

A slot is one of the network's N identities: a channel of the masks that memory is painted with, and an output of the
head. A track id is public, rises from 1, and never comes back. NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .presets import Preset

NEW = -1  # in place of a slot: continues nothing
NOBODY = 0  # in place of a track id: not told


def continued(id_scores: NDArray[np.float32], known: NDArray[np.int64], rules: Preset) -> NDArray[np.int64]:
    """Which known slot each detection continues, or NEW; id_scores (n, N), known (S,) slots → (n,).

    The assignment of greatest total score, each slot to one detection at most. "New", the last of the N, may be taken
    by as many as there are.
    """
    count, ids = id_scores.shape
    fresh = id_scores[:, -1:]
    if rules.unseen_ids == "new":  # D5: all slots, the background with a score of 0, and "new" another n - 1 times
        columns = np.arange(ids + count)
        scores = np.hstack([id_scores, np.zeros((count, 1), np.float32), np.tile(fresh, (1, max(0, count - 1)))])
    else:
        columns = np.concatenate([known, np.full(count, ids - 1)])
        scores = np.hstack([id_scores[:, known], np.tile(fresh, (1, count))])
    rows, chosen = linear_sum_assignment(-scores)
    slots = np.full(count, NEW)
    slots[rows] = columns[chosen]
    return np.where(np.isin(slots, known), slots, NEW)


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """The identities of the n detections of a frame."""

    slots: NDArray[np.int64]  # (n,), what they are painted as; NEW: nothing was left for an object
    track_ids: NDArray[np.int64]  # (n,); NOBODY for objects without a slot of their own
    new: bool  # whether one of them was not known before
    reused: tuple[int, ...]  # slots that were another object's until now


@dataclass(slots=True)
class _Owner:
    track_id: int
    last_seen: int  # number of the frame


class Identities:
    """The slots of one video and whose they are.

    They are given out in order. When all are taken, one whose object is out of sight for more than `recycle_after`
    frames goes to another, that of the longest absence first. Its old track is over: the object is a new one if it
    returns. Where there is none, `overflow` decides.
    """

    def __init__(self, rules: Preset) -> None:
        self._rules = rules
        self._shared = rules.max_ids - 2 if rules.overflow == "shared" else NEW  # D6
        self._usable = rules.max_ids - (2 if rules.overflow == "shared" else 1)
        self._owners: list[_Owner] = []  # by slot
        self._frame = -1
        self._next_id = 1

    @property
    def known(self) -> NDArray[np.int64]:
        """Slots that are somebody's, (S,)."""
        return np.arange(len(self._owners))

    @property
    def track_ids(self) -> NDArray[np.int64]:
        """Whose they are, (S,)."""
        return np.array([owner.track_id for owner in self._owners], np.int64)

    def take(self, slots: NDArray[np.int64]) -> Assigned:
        """The next frame, on which each of n detections continues a known slot, another each, or is NEW; (n,)."""
        self._frame += 1
        slots = slots.copy()
        for slot in slots[slots != NEW]:
            self._owners[slot].last_seen = self._frame
        reused: list[int] = []
        opened = np.flatnonzero(slots == NEW)
        for row in opened:
            slots[row] = self._open(reused)
        own = (slots != NEW) & (slots != self._shared)
        track_ids = np.full(len(slots), NOBODY)
        track_ids[own] = self.track_ids[slots[own]]
        return Assigned(slots, track_ids, bool((slots[opened] != NEW).any()), tuple(reused))

    def _open(self, reused: list[int]) -> int:
        """A slot for a new object: the next one, or that of an object long gone, which is then added to `reused`."""
        owner = _Owner(self._next_id, self._frame)
        if len(self._owners) < self._usable:
            self._owners.append(owner)
            slot = len(self._owners) - 1
        elif (free := self._longest_absent()) is not None:
            self._owners[free] = owner
            reused.append(free)
            slot = free
        else:
            return self._shared
        self._next_id += 1
        return slot

    def _longest_absent(self) -> int | None:
        if self._rules.recycle_after is None or not self._owners:
            return None
        slot = min(range(len(self._owners)), key=lambda each: self._owners[each].last_seen)
        return slot if self._frame - self._owners[slot].last_seen > self._rules.recycle_after else None
