"""Who is who: from slots, and the masks of two frames, to lasting tracks. NumPy alone.

A slot is a row of the network's output. A track id is public, rises from 1, and never comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import masks
from ...types import Rle
from .presets import Preset

NOBODY = 0
"""In place of a track id, where an object is told as none."""


@dataclass(frozen=True, slots=True, eq=False)
class _Owner:
    """Whose a slot is."""

    track_id: int
    class_scores: NDArray[np.float64]  # (K,), the sum over the frames that show it
    last_seen: int  # number of the frame


class Identities:
    """The slots of one video, and whose they are; a track has one slot at most.

    A mask that lies where one lay on the frame before is the same object, whatever its slot. Otherwise a slot goes on
    with its owner, unless that one goes on elsewhere, or was away for more than `slot_gap` frames, or `same_class` and
    another class is named. What is left is new.
    """

    def __init__(self, rules: Preset) -> None:
        self._rules = rules
        self._owners: dict[int, _Owner] = {}  # by slot
        self._last_ids: Sequence[int] = ()  # of the frame before
        self._last_shapes: Sequence[Rle] = ()
        self._frame = -1
        self._next_id = 1

    def name(
        self, slots: NDArray[np.int64], shapes: Sequence[Rle], class_scores: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """The next frame: n slots, no two alike, n masks, scores (n, K) → track ids (n,)."""
        self._frame += 1
        claims = self._by_place(shapes)
        for row, slot in enumerate(slots.tolist()):
            owner = self._owners.get(slot)
            if row in claims or owner is None or owner.track_id in claims.values():
                continue
            if self._goes_on(owner, class_scores[row]):
                claims[row] = owner.track_id
        for row in range(len(slots)):
            if row not in claims:
                claims[row] = self._next_id
                self._next_id += 1
        track_ids = [claims[row] for row in range(len(slots))]
        self._own(slots.tolist(), track_ids, class_scores)
        self._last_ids, self._last_shapes = track_ids, shapes
        return np.array(track_ids, np.int64)

    def _by_place(self, shapes: Sequence[Rle]) -> dict[int, int]:
        """Row → the track whose mask of the frame before it overlaps enough; the greatest overlap first, one to one."""
        overlaps = masks.iou_matrix(shapes, self._last_shapes)
        pairs = np.argwhere(overlaps > self._rules.overlap)
        order = np.argsort(-overlaps[pairs[:, 0], pairs[:, 1]], kind="stable")
        claims: dict[int, int] = {}
        for row, column in pairs[order].tolist():
            if row not in claims and self._last_ids[column] not in claims.values():
                claims[row] = self._last_ids[column]
        return claims

    def _goes_on(self, owner: _Owner, class_scores: NDArray[np.float32]) -> bool:
        """Whether the owner of a slot, at its place no more, may be what the slot shows now."""
        gap, most = self._frame - owner.last_seen - 1, self._rules.slot_gap
        in_time = most is None or gap <= most
        return in_time and (not self._rules.same_class or class_scores.argmax() == owner.class_scores.argmax())

    def _own(self, slots: Sequence[int], track_ids: Sequence[int], class_scores: NDArray[np.float32]) -> None:
        """Each slot of this frame is its track's from now on, and the track has no other; empty slots keep theirs."""
        known = {owner.track_id: owner for owner in self._owners.values()}
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner.track_id not in track_ids}
        for slot, track_id, scores in zip(slots, track_ids, class_scores.astype(np.float64), strict=True):
            total = known[track_id].class_scores + scores if track_id in known else scores
            self._owners[slot] = _Owner(track_id, total, self._frame)
