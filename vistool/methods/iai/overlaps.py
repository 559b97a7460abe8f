"""Following objects without a head for identities: by where they were and what they are. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ... import masks
from ...types import Rle
from .identities import NEW

MIN_IOU = 0.2  # with where a slot was seen last, below which a detection is another object
MEMORY = 24  # frames in a row without its object after which a slot is looked for no more


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """Where and as what a slot was seen last."""

    mask: Rle
    label: int
    frame: int


class LastSights:
    """What is remembered of one video: the last sight of each slot."""

    def __init__(self) -> None:
        self._sights: dict[int, _Sight] = {}
        self._frame = -1

    def continued(self, shapes: Sequence[Rle], labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next frame: which slot each of n detections continues, or NEW; n masks of the source, labels (n,) → (n,).

        The assignment of greatest total IoU among pairs of one class that overlap enough.
        """
        self._frame += 1
        slots = [slot for slot, sight in self._sights.items() if self._frame - sight.frame <= MEMORY]
        sights = [self._sights[slot] for slot in slots]
        overlaps = masks.iou_matrix(shapes, [sight.mask for sight in sights])
        same = labels[:, None] == np.array([sight.label for sight in sights], np.int64)
        overlaps = np.where(same & (overlaps >= MIN_IOU), overlaps, 0)
        found = np.full(len(shapes), NEW)
        for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[row, column] > 0:
                found[row] = slots[column]
        return found

    def see(self, slots: NDArray[np.int64], shapes: Sequence[Rle], labels: NDArray[np.int64]) -> None:
        """What the detections of this frame turned out to be; those without a slot are left out."""
        for slot, shape, label in zip(slots.tolist(), shapes, labels.tolist(), strict=True):
            if slot != NEW:
                self._sights[slot] = _Sight(shape, label, self._frame)
