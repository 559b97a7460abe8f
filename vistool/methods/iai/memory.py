"""What is remembered of a video, and for how long: the last frame, and some of those before it (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Remembered(NamedTuple):
    """One frame, or several one after another."""

    keys: Tensor  # (B, P, D)
    values: Tensor  # (B, P, D)


class Memory:
    """The memory of B clips that go on together. Gradients flow through it.

    Short-term memory is the last frame. Long-term memory is the first frame, every frame with a new object, and the
    frames that lie `interval` after the one kept last: without new objects 0, 2, 5, 8, … for 3, since the release
    counts the first frame as 1 and the gap to it from 0.

    With room for `most` frames, the first stays and the oldest of the others goes; None: nothing ever goes.
    """

    def __init__(self, *, interval: int, most: int | None) -> None:
        self._interval, self._most = interval, most
        self._step = 0  # frames added
        self._last_kept = 0  # value of `_step` at the frame that was kept last, but 0 for the first
        self._frames: list[tuple[int, Remembered]] = []  # what long-term memory holds, by the number of the frame
        self._long: Remembered | None = None  # the same in one piece, as long as it is right
        self._short: Remembered | None = None

    @property
    def short(self) -> Remembered:
        """The last frame."""
        assert self._short is not None, "nothing was added yet"
        return self._short

    @property
    def long(self) -> Remembered:
        """The frames that are kept, oldest first."""
        if self._long is None:
            keys, values = zip(*(remembered for _, remembered in self._frames), strict=True)
            self._long = Remembered(torch.cat(keys, dim=1), torch.cat(values, dim=1))
        return self._long

    @property
    def frames(self) -> tuple[int, ...]:
        """Numbers, from 0, of the frames that long-term memory holds."""
        return tuple(number for number, _ in self._frames)

    def add(self, frame: Remembered, *, new_objects: bool) -> None:
        """The next frame; `new_objects`: whether an object is seen on it that was not known before."""
        self._step += 1
        self._short = frame
        first = self._step == 1
        if not first and not new_objects and self._step - self._last_kept < self._interval:
            return
        self._last_kept = 0 if first else self._step
        self._frames.append((self._step - 1, frame))
        if self._most is not None and len(self._frames) > self._most:
            del self._frames[1]
        self._long = None

    def rewrite(self, change: Callable[[int], Remembered | None]) -> None:
        """Replace what long-term memory holds: `change` gives, by the number of a frame, what; None: as it is."""
        self._frames = [(number, change(number) or held) for number, held in self._frames]
        self._long = None
