"""Which frames of a source are wanted: `--start`, `--end` and `--stride`. Indices and times are those of the source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from ..errors import UsageError

_FRAME = re.compile(r"(\d+)f")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_SECONDS = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_HINT = "give seconds (12.5), HH:MM:SS.mmm or a frame (123f)"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a video: a frame by its index, or a time in seconds."""

    text: str
    index: int | None = None
    time_s: Fraction | None = None

    @classmethod
    def parse(cls, text: str, option: str) -> Mark:
        """`12.5`, `HH:MM:SS.mmm`, `MM:SS` or `123f`; anything else is a UsageError that names the option."""
        stripped = text.strip()
        if match := _FRAME.fullmatch(stripped):
            return cls(text, index=int(match[1]))
        if match := _CLOCK.fullmatch(stripped):
            hours, minutes, seconds = int(match[1] or 0), int(match[2]), Fraction(match[3])
            if minutes < 60 and seconds < 60:
                return cls(text, time_s=(hours * 60 + minutes) * 60 + seconds)
        if _SECONDS.fullmatch(stripped):
            return cls(text, time_s=Fraction(stripped))
        raise UsageError(f"{option} is not a time: `{text}`", hint=_HINT)

    def reached(self, index: int, time: Fraction) -> bool:
        """Whether a frame lies at this mark or after it."""
        if self.index is not None:
            return index >= self.index
        assert self.time_s is not None
        return time >= self.time_s


@dataclass(frozen=True, slots=True)
class Selection:
    """The frames from `start` on, up to but without `end`, every `stride`-th counted from the first."""

    start: Mark
    end: Mark | None
    stride: int

    @classmethod
    def parse(cls, start: str | None, end: str | None, stride: int) -> Selection:
        if stride < 1:
            raise UsageError(f"--stride is too small: `{stride}`", hint="1 takes every frame, 2 every second one")
        selection = cls(Mark.parse(start or "0f", "--start"), None if end is None else Mark.parse(end, "--end"), stride)
        if selection._is_empty():
            raise UsageError(f"--end is not after --start: `{start or 0}` to `{end}`")
        return selection

    def _is_empty(self) -> bool:
        """Whether the marks alone show that no frame can lie between them."""
        if self.end is None:
            return False
        if self.start.index is not None and self.end.index is not None:
            return self.end.index <= self.start.index
        if self.start.time_s is not None and self.end.time_s is not None:
            return self.end.time_s <= self.start.time_s
        return self.end.index == 0 or self.end.time_s == 0

    def __str__(self) -> str:
        return f"from {self.start.text}" + ("" if self.end is None else f" to {self.end.text}")
