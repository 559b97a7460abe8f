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
_LIMITS = 1 << _GROUP_BITS * np.arange(1, 13) - 1  # from which on a number takes two groups, three, and so on
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

    leading = np.flatnonzero(goes_on)  # bytes of the numbers of more than one byte, but the last of each
    wide, begin, before = np.unique(leading - np.arange(len(leading)), return_index=True, return_counts=True)
    if before.max(initial=0) >= _MAX_GROUPS:
        place = int(np.searchsorted(ends, leading[begin[(before >= _MAX_GROUPS).argmax()]], side="right"))
        raise BadStringError("a run length of the compressed string is too long", texts, place)
    signed = (codes & 31 ^ 16).view(np.int8) - np.int8(16)  # of each last byte
    values = signed[~goes_on].astype(np.int64)
    values[wide] <<= _GROUP_BITS * before
    for group in range(int(before.max(initial=0))):
        longer = before > group
        values[wide[longer]] |= (codes[leading[begin[longer] + group]] & 31).astype(np.int64) << (_GROUP_BITS * group)

    bounds = ends - np.searchsorted(leading, ends)  # numbers before the end of each text
    count = np.diff(bounds, prepend=0)
    first = bounds - count
    _undo_differences(values, first, count)
    return Runs(values, first, count)


def pad(runs: Runs, before: NDArray[np.int64], after: NDArray[np.int64]) -> Runs:
    """The same masks with so much more background in front and behind, both (N,)."""
    ends_inside = np.flatnonzero((runs.count & 1 == 0) & (after > 0))  # what follows is a run of its own
    ends = runs.first + runs.count
    lengths = runs.lengths.copy()
    lengths[runs.first] += before
    lengths[ends - 1] += np.where(runs.count & 1, after, 0)
    lengths = np.insert(lengths, ends[ends_inside], after[ends_inside])
    count = runs.count.copy()
    count[ends_inside] += 1
    return Runs(lengths, _starts(count), count)


def spell(runs: Runs) -> list[bytes]:
    """The inverse of `parse`."""
    values = runs.lengths.copy()
    values[2:] -= runs.lengths[:-2]
    for place in range(3):  # these are no differences
        some = runs.first[runs.count > place] + place
        values[some] = runs.lengths[some]
    size = values ^ values >> 63  # -1 is as short as 0
    wide = np.flatnonzero(size >= 16)  # of more than one byte
    before = np.searchsorted(_LIMITS, size[wide], side="right")  # bytes before the last
    begin = wide + np.cumsum(before) - before
    last = (values & 31).astype(np.uint8)
    last[wide] = values[wide] >> _GROUP_BITS * before & 31
    codes = np.empty(len(values) + int(before.sum()), np.uint8)
    is_last = np.ones(len(codes), np.bool_)
    for group in range(int(before.max(initial=0))):
        longer = before > group
        at = begin[longer] + group
        codes[at] = (values[wide[longer]] >> _GROUP_BITS * group & 31) + 32
        is_last[at] = False
    codes[is_last] = last
    text = (codes + np.uint8(_FIRST_CHARACTER)).tobytes()
    numbers = runs.first + runs.count
    ends = numbers + np.append(0, np.cumsum(before))[np.searchsorted(wide, numbers)]
    return [text[begin:end] for begin, end in pairwise([0, *ends.tolist()])]


class BadStringError(ValueError):
    """A string that does not spell run lengths."""

    def __init__(self, what: str, texts: Sequence[bytes], number: int) -> None:
        text = repr(texts[number])
        super().__init__(f"{what}: {text if len(text) <= 60 else f'{text[:57]}...'}")
        self.number = number


def _undo_differences(values: NDArray[np.int64], first: NDArray[np.int64], count: NDArray[np.int64]) -> None:
    """Differences to the run two before → run lengths, in place: running sums over every other number."""
    three = first[count > 2]
    values[three + 2] -= values[three]  # the third number is no difference yet
    for parity in range(min(2, len(values))):
        every_other = values[parity::2]
        np.cumsum(every_other, out=every_other)
        begin = (first - parity + 1) // 2  # of each mask; what came before it is taken off again
        before = np.where(begin > 0, every_other[begin - 1], 0)
        every_other -= np.repeat(before, np.diff(begin, append=len(every_other)))


def _starts(count: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(count) - count


def _sums(values: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums over stretches that begin at `first`; none is empty."""
    return np.add.reduceat(values, first) if len(first) else np.zeros(0, np.int64)
