"""Masks of many tracks at once: checked, measured, and set side by side. In bulk: files hold millions.

COCO's library compares all masks of one call with each other, and the call costs more than a pair. So the masks of
`SIDE_BY_SIDE` successive frames stand next to each other in one wide picture, a strip: those of different frames share
nothing there, and one call does for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import runs
from ..runs import Runs
from ..types import Rle

SIDE_BY_SIDE = 16  # frames
MAX_PIXELS = 2**27  # of a picture; COCO's library counts those of a strip in 32 bits
_AT_ONCE = 300  # masks, so that what is computed of them stays in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """N masks, each in its place on a strip, and their pixels."""

    rles: Sequence[Rle]  # size_hw is that of the strip
    areas: NDArray[np.int64]  # (N,)


class BadMaskError(ValueError):
    """Something that is no mask of its size; `number` says which."""

    def __init__(self, why: str, number: int) -> None:
        super().__init__(why)
        self.number = number


def measure(
    sizes_hw: Sequence[tuple[int, int]], counts: Sequence[bytes | Sequence[int]], frames: Sequence[int]
) -> Measured:
    """Masks spelt as compressed strings or as lists of run lengths; BadMaskError for the first that is wrong."""
    rles: list[Rle] = [Rle((0, 0), b"0")] * len(counts)
    strips: dict[tuple[int, int], tuple[int, int]] = {}  # one tuple for all masks of a size
    areas = np.zeros(len(counts), np.int64)
    strings = [number for number, one in enumerate(counts) if isinstance(one, bytes)]
    lists = [number for number, one in enumerate(counts) if not isinstance(one, bytes)]
    for numbers, read in ((strings, _strings), (lists, _lists)):
        for begin in range(0, len(numbers), _AT_ONCE):
            some = numbers[begin : begin + _AT_ONCE]
            sizes = [sizes_hw[number] for number in some]
            try:
                found = _checked(read([counts[number] for number in some]), sizes)
            except BadMaskError as error:
                raise BadMaskError(str(error), some[error.number]) from error
            areas[some] = _areas(found)
            texts = runs.spell(_in_place(found, sizes, [frames[number] for number in some]))
            for number, size_hw, text in zip(some, sizes, texts, strict=True):
                height, width = size_hw
                strip = strips.get(size_hw) or strips.setdefault(size_hw, (height, width * SIDE_BY_SIDE))
                rles[number] = Rle(strip, text)
    return Measured(rles, areas)


def left_edge(frame: NDArray[np.int64], strip_width: NDArray[np.int64]) -> NDArray[np.int64]:
    """Column of the strip where the picture of a frame begins."""
    return frame % SIDE_BY_SIDE * (strip_width // SIDE_BY_SIDE)


def _strings(texts: Sequence[Any]) -> Runs:
    try:
        return runs.parse(texts)
    except runs.BadStringError as error:
        raise BadMaskError(str(error), error.number) from error


def _lists(lists: Sequence[Any]) -> Runs:
    for number, one in enumerate(lists):
        if not one:
            raise BadMaskError("it has no run lengths", number)
    try:
        return runs.from_lists(lists)
    except OverflowError as error:
        number = next(n for n, one in enumerate(lists) if max(map(abs, one)) >= 2**63)
        raise BadMaskError("a run length is longer than any picture", number) from error


def _checked(read: Runs, sizes_hw: Sequence[tuple[int, int]]) -> Runs:
    """Without empty runs but the first of a mask; BadMaskError where the runs are not those of the picture.

    COCO's library would not return from runs that do not fill the picture, and measures empty ones wrongly.
    """
    pixels = _pixels(sizes_hw)
    wrong = read.totals() != pixels
    least = np.minimum.reduceat(read.lengths, read.first)
    wrong |= (least < 0) | (np.maximum.reduceat(read.lengths, read.first) > pixels)  # whose sum may have wrapped
    if wrong.any():
        number = int(wrong.argmax())
        covered, size_hw = int(read.totals()[number]), list(sizes_hw[number])
        why = f"run lengths cover {covered} pixels, size {size_hw} has {int(pixels[number])}"
        raise BadMaskError("a run length is negative" if least[number] < 0 else why, number)
    if np.count_nonzero(read.lengths == 0) == np.count_nonzero(read.lengths[read.first] == 0):
        return read
    parts = zip(np.split(read.lengths, read.first[1:]), pixels.tolist(), strict=True)  # one by one, because it is rare
    tight = [runs.from_changes([np.cumsum(lengths)], size).lengths.tolist() for lengths, size in parts]
    return runs.from_lists(tight)


def _in_place(read: Runs, sizes_hw: Sequence[tuple[int, int]], frames: Sequence[int]) -> Runs:
    pixels, place = _pixels(sizes_hw), np.array(frames, np.int64) % SIDE_BY_SIDE
    return runs.pad(read, place * pixels, (SIDE_BY_SIDE - 1 - place) * pixels)


def _pixels(sizes_hw: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    sizes = np.array(sizes_hw, np.int64).reshape(-1, 2)
    return sizes[:, 0] * sizes[:, 1]


def _areas(read: Runs) -> NDArray[np.int64]:
    areas: NDArray[np.int64] = np.add.reduceat(read.lengths * (read.place & 1), read.first)
    return areas
