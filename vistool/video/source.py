"""What `open_video` returns: the wanted frames of a video or of a row of pictures, with the damage met on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..protocols import FrameSource
from ..types import Frame, VideoInfo
from .damage import Damage, DamageLog
from .selection import Selection


class UnreadablePictureError(Exception):
    """Why one picture is left out, in a few words."""


class Picture(Protocol):
    """A picture that becomes an image only when it is wanted."""

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3), upright, owned by the caller; UnreadablePictureError where it cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture and its place in the source."""

    index: int
    time: Fraction  # seconds after the first
    picture: Picture


class PictureReader(Protocol):
    """All pictures of a source, from front to back."""

    @property
    def info(self) -> VideoInfo: ...

    @property
    def damage(self) -> DamageLog: ...

    def __iter__(self) -> Iterator[Placed]: ...

    def close(self) -> None: ...


class SelectedFrames(FrameSource):
    """The wanted frames of a reader, once, from front to back; reads no further than the last wanted one.

    InputError when the source ends before `start`. Closed by `close` or by leaving a `with` block.
    """

    def __init__(self, reader: PictureReader, selection: Selection) -> None:
        self._reader = reader
        self._selection = selection
        self._times: dict[int, float] = {}
        self._begun = False
        self._last: Placed | None = None  # the picture that was reached

    @property
    def info(self) -> VideoInfo:
        return self._reader.info

    @property
    def damage(self) -> Damage:
        """What could not be read so far; final after the last frame."""
        return self._reader.damage.so_far

    @property
    def times_seen(self) -> dict[int, float]:
        """Seconds by frame index, of every frame handed out."""
        return dict(self._times)

    def __iter__(self) -> Iterator[Frame]:
        if self._begun:
            raise RuntimeError(f"{self.info.name} has been read; open it again")
        self._begun = True
        return self._frames()

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> SelectedFrames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frames(self) -> Iterator[Frame]:
        unreadable = 0
        for placed in self._wanted():
            try:
                image = placed.picture.rgb()
            except UnreadablePictureError as error:
                self._reader.damage.add(placed.index, str(error))
                unreadable += 1
                continue
            self._times[placed.index] = float(placed.time)
            yield Frame(placed.index, float(placed.time), image)
        if not self._times:
            raise self._nothing_found(unreadable)

    def _wanted(self) -> Iterator[Placed]:
        start, end, stride = self._selection.start, self._selection.end, self._selection.stride
        first = None  # index of the first wanted picture
        for placed in self._reader:
            self._last = placed
            if end is not None and end.reached(placed.index, placed.time):
                return
            if first is None and start.reached(placed.index, placed.time):
                first = placed.index
            if first is not None and (placed.index - first) % stride == 0:
                yield placed

    def _nothing_found(self, unreadable: int) -> InputError:
        name, last = self.info.name, self._last
        if unreadable or last is None:
            return InputError(f"no picture can be read: `{name}` ({self.damage.messages[0]})")
        return InputError(
            f"no frame {self._selection}: `{name}` (frame {last.index} is at {float(last.time):.3f} s)",
            hint="`vistool inspect` tells its length",
        )
