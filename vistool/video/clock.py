"""Times from timestamps: exact where the file is sound, never going back where it is not. Knows nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

_MOST_REORDERED = 16  # frames that a decoder may hold to bring them into order
_FASTEST_PLAUSIBLE = 240  # frames per second; beyond it, headers give their clock's resolution instead of a rate
_DEFAULT_RATE = Fraction(25)
_COMMON_RATES = (
    *(Fraction(n * 1000, 1001) for n in (24, 30, 60, 120)),
    *(Fraction(n) for n in (1, 5, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)),
)
_SNAP = Fraction(1, 500)  # relative distance within which a measured rate is taken for a common one


class Clock:
    """Seconds after the first frame, from the stamps of a stream in display order.

    A missing stamp counts as one nominal interval. A stamp that goes back holds the time, as for the few frames that
    come out of order after damage; when more go back than a decoder can reorder, the file has begun a new clock, which
    is joined to the old one.
    """

    def __init__(self, frame_rate: Fraction) -> None:
        self._interval = 1 / frame_rate
        self._zero: Fraction | None = None  # the stamp that is time zero
        self._last: Fraction | None = None
        self._held = 0  # frames in a row whose stamp went back

    def time_of(self, stamp: Fraction | None) -> Fraction:
        """The time of the next frame; `stamp` in seconds of the file's own clock, None where it is missing."""
        self._last = self._next(stamp)
        return self._last

    def _next(self, stamp: Fraction | None) -> Fraction:
        expected = Fraction(0) if self._last is None else self._last + self._interval
        if stamp is None:
            return expected
        if self._zero is None:
            self._zero = stamp - expected
        time = stamp - self._zero
        if self._last is None or time >= self._last:
            self._held = 0
            return time
        self._held += 1
        if self._held <= _MOST_REORDERED:
            return self._last
        self._held = 0
        self._zero = stamp - expected
        return expected


def nominal_rate(claimed: Fraction | None, stamps: Sequence[Fraction]) -> Fraction:
    """Frames per second to name a video by: what its header claims, or the rate of its first stamps (seconds, any
    order) where the claim is absent or is the resolution of the file's clock."""
    if claimed is not None and 0 < claimed <= _FASTEST_PLAUSIBLE:
        return claimed
    first, last = min(stamps, default=Fraction(0)), max(stamps, default=Fraction(0))
    if last == first:
        return _DEFAULT_RATE
    measured = (len(set(stamps)) - 1) / (last - first)
    nearest = min(_COMMON_RATES, key=lambda rate: abs(rate - measured))
    return nearest if abs(nearest - measured) <= _SNAP * nearest else measured.limit_denominator(1001)
