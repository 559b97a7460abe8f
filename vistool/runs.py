"""Run lengths of many masks at once, and the compressed strings that COCO spells them in.

A string holds one signed number a run, in groups of 5 bits, least significant first; the sixth bit says that more come.
From the fourth number on it is the difference to the run two before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

_GROUP_BITS = 5  # payload of one character
_FIRST_CHARACTER = ord("0")
_MAX_GROUPS = 7  # 35 bits hold every 32-bit run length and every difference of two


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The run lengths of N masks, one after another; background first in each."""

    lengths: NDArray[np.int64]  # (R,)
    first: NDArray[np.int64]  # (N,) where each mask's runs begin
    count: NDArray[np.int64]  # (N,) how many it has; at least one

    @property
    def place(self) -> NDArray[np.int64]:
        """(R,) number of each run within its mask."""
        return np.arange(len(self.lengths)) - np.repeat(self.first, self.count)

    def totals(self) -> NDArray[np.int64]:
        """Pixels that each mask covers, foreground and background, (N,)."""
        return _sums(self.lengths, self.first)


def from_lists(lists: Sequence[Sequence[int]]) -> Runs:
    """N lists of run lengths, none of them empty; OverflowError for a number beyond 64 bits."""
    count = np.array([len(one) for one in lists], np.int64)
    lengths = np.fromiter(chain.from_iterable(lists), np.int64, int(count.sum()))
    return Runs(lengths, _starts(count), count)


def from_changes(changes: Sequence[NDArray[np.int64]], pixels: int) -> Runs:
    """N lists of the positions, in any order, where a mask of `pixels` pixels flips; what comes twice cancels."""
    number = np.repeat(np.arange(len(changes)), [len(one) for one in changes])
    positions = np.concatenate([*changes, np.zeros(0, np.int64)])
    found, times = np.unique(number * (pixels + 1) + positions, return_counts=True)
    number, positions = np.divmod(found[times & 1 == 1], pixels + 1)
    number, positions = number[positions < pixels], positions[positions < pixels]
    count = np.bincount(number, minlength=len(changes)) + 1
    stops = np.full(int(count.sum()), pixels)  # each mask's last run ends with the picture
    stops[np.arange(len(positions)) + number] = positions
    first = _starts(count)
    lengths = np.diff(stops, prepend=0)
    lengths[first] = stops[first]
    return Runs(lengths, first, count)


def parse(texts: Sequence[bytes]) -> Runs:
    """Compressed strings → run lengths; ValueError names the first string that is none, and its number."""
    sizes = np.array([len(text) for text in texts], np.int64)
    codes = np.frombuffer(b"".join(texts), np.uint8) - np.uint8(_FIRST_CHARACTER)  # wraps: what is too low is too high
    goes_on = codes & 32 > 0
    ends = np.cumsum(sizes)
    wrong = (sizes == 0) | goes_on[np.maximum(ends - 1, 0)] if codes.size else sizes == 0
    if codes.size and codes.max() >= 64:
        wrong |= np.logical_or.reduceat(np.r_[codes >= 64, False], np.minimum(ends - sizes, codes.size)) & (sizes > 0)
    if wrong.any():
        raise BadStringError("not a compressed run-length string", texts, int(wrong.argmax()))

    last = np.flatnonzero(~goes_on)  # of each number
    begin = np.empty_like(last)
    begin[:1], begin[1:] = 0, last[:-1] + 1
    width = last - begin + 1
    if width.max(initial=0) > _MAX_GROUPS:
        place = int(np.searchsorted(ends, begin[(width > _MAX_GROUPS).argmax()], side="right"))
        raise BadStringError("a run length of the compressed string is too long", texts, place)
    values = (codes[begin] & 31).astype(np.int64)
    for group in range(1, int(width.max(initial=0))):
        longer = np.flatnonzero(width > group)
        values[longer] |= (codes[begin[longer] + group] & 31).astype(np.int64) << (_GROUP_BITS * group)
    negative = np.flatnonzero(codes[last] & 16)
    values[negative] -= np.int64(1) << (_GROUP_BITS * width[negative])

    bounds = np.searchsorted(last, ends - 1) + 1  # numbers before the end of each text
    count = np.diff(bounds, prepend=0)
    first = _starts(count)
    _undo_differences(values, first, count)
    return Runs(values, first, count)


def spell(runs: Runs) -> list[bytes]:
    """The inverse of `parse`."""
    values, place = runs.lengths.copy(), runs.place
    later = np.flatnonzero(place > 2)
    values[later] -= runs.lengths[later - 2]
    bits = int(np.abs(values).max(initial=0)).bit_length() + 1  # and the sign
    shifts = _GROUP_BITS * np.arange(-(-bits // _GROUP_BITS))
    groups = values[:, None] >> shifts  # what is left before each group is written
    more = groups >> _GROUP_BITS != np.where(groups & 16, -1, 0)
    used = np.ones_like(more)
    used[:, 1:] = np.logical_and.accumulate(more[:, :-1], axis=1)
    text = ((groups & 31) + 32 * more + _FIRST_CHARACTER)[used].astype(np.uint8).tobytes()
    ends = np.cumsum(_sums(used.sum(1), runs.first)).tolist()
    return [text[begin:end] for begin, end in pairwise([0, *ends])]


class BadStringError(ValueError):
    """A string that does not spell run lengths."""

    def __init__(self, what: str, texts: Sequence[bytes], number: int) -> None:
        text = repr(texts[number])
        super().__init__(f"{what}: {text if len(text) <= 60 else f'{text[:57]}...'}")
        self.number = number


def _undo_differences(values: NDArray[np.int64], first: NDArray[np.int64], count: NDArray[np.int64]) -> None:
    """Differences to the run two before → run lengths, in place.

    Sums of neighbours have the same differences, with one step less; and a run is the alternating sum of those.
    """
    three = first[count > 2]
    values[three + 2] -= values[three]  # the third number is no difference yet
    alternating = 1 - 2 * (np.arange(len(values)) & 1)
    np.cumsum(values, out=values)
    values -= np.repeat(np.where(first > 0, values[first - 1], 0), count)
    values *= alternating
    np.cumsum(values, out=values)
    values -= np.repeat(np.where(first > 0, values[first - 1], 0), count)
    values *= alternating


def _starts(count: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(count) - count


def _sums(values: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums over stretches that begin at `first`; none is empty."""
    return np.add.reduceat(values, first) if len(first) else np.zeros(0, np.int64)
