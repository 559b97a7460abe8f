"""Masks of many tracks at once: checked, brought to compressed strings, measured. In bulk: files hold millions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import masks, runs
from ..runs import Runs
from ..types import Rle

_AT_ONCE = 300  # masks, so that what is computed of them stays in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """N masks, and their pixels."""

    rles: Sequence[Rle]
    areas: NDArray[np.int64]  # (N,)


class BadMaskError(ValueError):
    """Something that is no mask of its size; `number` says which."""

    def __init__(self, why: str, number: int) -> None:
        super().__init__(why)
        self.number = number


def measure(sizes_hw: Sequence[tuple[int, int]], counts: Sequence[bytes | Sequence[int]]) -> Measured:
    """Masks spelt as compressed strings or as lists of run lengths; BadMaskError for the first that is wrong."""
    rles: list[Rle] = [Rle((0, 0), b"0")] * len(counts)
    same: dict[tuple[int, int], tuple[int, int]] = {}  # one tuple for all masks of a size
    areas = np.zeros(len(counts), np.int64)
    strings = [number for number, one in enumerate(counts) if isinstance(one, bytes)]
    lists = [number for number, one in enumerate(counts) if not isinstance(one, bytes)]
    for numbers, read in ((strings, _strings), (lists, _lists)):
        for begin in range(0, len(numbers), _AT_ONCE):
            some = numbers[begin : begin + _AT_ONCE]
            sizes = [sizes_hw[number] for number in some]
            try:
                texts, areas[some] = read(sizes, [counts[number] for number in some])
            except BadMaskError as error:
                raise BadMaskError(str(error), some[error.number]) from error
            for number, size_hw, text in zip(some, sizes, texts, strict=True):
                rles[number] = Rle(same.setdefault(size_hw, size_hw), text)
    return Measured(rles, areas)


_Spelt = tuple[Sequence[bytes], NDArray[np.int64]]
"""Compressed strings, and areas (N,)."""


def _strings(sizes_hw: Sequence[tuple[int, int]], texts: Sequence[Any]) -> _Spelt:
    try:
        read = runs.parse(texts)
    except runs.BadStringError as error:
        raise BadMaskError(str(error), error.number) from error
    tight = _check(read, sizes_hw)
    return (texts if tight else _respelt(read, sizes_hw)), _areas(read)


def _lists(sizes_hw: Sequence[tuple[int, int]], lists: Sequence[Any]) -> _Spelt:
    for number, one in enumerate(lists):
        if not one:
            raise BadMaskError("it has no run lengths", number)
    try:
        read = runs.from_lists(lists)
    except OverflowError as error:
        number = next(n for n, one in enumerate(lists) if max(map(abs, one)) >= 2**63)
        raise BadMaskError("a run length is longer than any picture", number) from error
    tight = _check(read, sizes_hw)
    return (masks.spell(read, sizes_hw) if tight else _respelt(read, sizes_hw)), _areas(read)


def _check(read: Runs, sizes_hw: Sequence[tuple[int, int]]) -> bool:
    """Whether no run is empty but the first of a mask; BadMaskError where the runs are not those of the picture.

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
    return bool(np.count_nonzero(read.lengths == 0) == np.count_nonzero(read.lengths[read.first] == 0))


def _respelt(read: Runs, sizes_hw: Sequence[tuple[int, int]]) -> list[bytes]:
    """Without empty runs; one mask after another, because it is rare."""
    parts = zip(np.split(read.lengths, read.first[1:]), _pixels(sizes_hw).tolist(), strict=True)
    return [runs.spell(runs.from_changes([np.cumsum(lengths)], size))[0] for lengths, size in parts]


def _pixels(sizes_hw: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    sizes = np.array(sizes_hw, np.int64).reshape(-1, 2)
    return sizes[:, 0] * sizes[:, 1]


def _areas(read: Runs) -> NDArray[np.int64]:
    areas: NDArray[np.int64] = np.add.reduceat(read.lengths * (read.place & 1), read.first)
    return areas
