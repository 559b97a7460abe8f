"""Run lengths of many masks at once, against COCO's library, dense masks, and the same one at a time."""

from __future__ import annotations

from itertools import accumulate, groupby, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_strategies import Dense, masks, stacks
from pycocotools import mask as coco

from vistool import runs
from vistool.runs import BadStringError, Runs

SHORT = st.integers(0, 2**24 - 1)  # with longer ones COCO's library writes past its buffer
LONGEST = 2**33  # two runs of it differ by no more than a string can hold

lists_of_runs = st.lists(st.lists(SHORT, min_size=1, max_size=20), max_size=6)


def in_parts(read: Runs) -> list[list[int]]:
    return [part.tolist() for part in np.split(read.lengths, read.first[1:])] if len(read.first) else []


def in_columns(mask: Dense) -> list[int]:
    """Run lengths by walking down the columns."""
    groups = [(value, len(list(same))) for value, same in groupby(mask.T.ravel().tolist())]
    return [length for _, length in ([(False, 0)] if groups[0][0] else []) + groups]


def spelt_by_coco(lengths: list[int]) -> bytes:
    found: Any = coco.frPyObjects({"size": [sum(lengths), 1], "counts": lengths}, sum(lengths), 1)
    return bytes(found["counts"])


@given(lists_of_runs)
def test_strings_are_those_of_the_coco_library(lists: list[list[int]]) -> None:
    assert runs.spell(runs.from_lists(lists)) == [spelt_by_coco(lengths) for lengths in lists]


@given(st.lists(st.lists(st.integers(-LONGEST, LONGEST), min_size=1, max_size=12), max_size=6))
def test_parsing_undoes_spelling(lists: list[list[int]]) -> None:
    assert in_parts(runs.parse(runs.spell(runs.from_lists(lists)))) == lists


@given(lists_of_runs)
def test_spelling_undoes_parsing(lists: list[list[int]]) -> None:
    texts = [spelt_by_coco(lengths) for lengths in lists]

    assert runs.spell(runs.parse(texts)) == texts


@given(st.lists(masks, max_size=6))
def test_masks_of_the_coco_library_have_the_runs_of_their_columns(several: list[Dense]) -> None:
    texts = [coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"] for mask in several]

    assert in_parts(runs.parse(texts)) == [in_columns(mask) for mask in several]


@given(lists_of_runs)
def test_many_masks_at_once_are_read_as_one_at_a_time(lists: list[list[int]]) -> None:
    texts = [spelt_by_coco(lengths) for lengths in lists]

    assert in_parts(runs.parse(texts)) == [in_parts(runs.parse([text]))[0] for text in texts]
    assert runs.spell(runs.from_lists(lists)) == [runs.spell(runs.from_lists([lengths]))[0] for lengths in lists]


@given(lists_of_runs)
def test_every_run_knows_its_mask(lists: list[list[int]]) -> None:
    read = runs.from_lists(lists)

    assert in_parts(read) == lists
    assert read.count.tolist() == [len(lengths) for lengths in lists]
    assert read.place.tolist() == [place for lengths in lists for place in range(len(lengths))]
    assert read.totals().tolist() == [sum(lengths) for lengths in lists]


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        runs.from_lists([[4], [2**63, 1]])


@given(stacks(min_size=0), st.randoms(use_true_random=False))
def test_changes_in_any_order_give_the_runs(stack: Dense, random: Any) -> None:
    lists = [in_columns(mask) for mask in stack]
    changes = [list(accumulate(lengths)) for lengths in lists]  # the last is the end of the picture, and says nothing
    for positions in changes:
        random.shuffle(positions)

    read = runs.from_changes([np.array(positions, np.int64) for positions in changes], stack[0].size if lists else 0)

    assert in_parts(read) == lists


@given(st.lists(st.lists(st.integers(0, 12), max_size=20), max_size=5))
def test_a_pixel_is_set_after_an_odd_number_of_changes(changes: list[list[int]]) -> None:
    read = runs.from_changes([np.array(positions, np.int64) for positions in changes], 12)

    pixels = [[value for place, n in enumerate(lengths) for value in [place % 2] * n] for lengths in in_parts(read)]
    assert pixels == [[sum(p <= pixel for p in positions) % 2 for pixel in range(12)] for positions in changes]
    assert all(0 not in lengths[1:] for lengths in in_parts(read))


@given(stacks(min_size=1), st.integers(0, 2**32 - 1))
def test_changes_of_two_masks_together_are_those_of_the_pixels_in_one_of_them(stack: Dense, seed: int) -> None:
    other = np.random.default_rng(seed).permutation(stack)
    changes = [
        np.array([end for mask in pair for end in [*accumulate(in_columns(mask))][:-1]], np.int64)
        for pair in zip(stack, other, strict=True)
    ]

    read = runs.from_changes(changes, stack[0].size)

    assert in_parts(read) == [in_columns(mask) for mask in stack ^ other]


BAD = {
    "empty": b"",
    "a letter beyond": b"5p20003",
    "a letter below": b"5/20003",
    "beyond ASCII": "6é".encode(),
    "cut off": b"522000P",
    "endless": b"5" + b"P" * 7 + b"03",
}


@pytest.mark.parametrize("number", [0, 1, 4], ids=["first", "inside", "last"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_string_that_spells_nothing_is_named(bad: bytes, number: int) -> None:
    texts = [b"5220003", b"06", b"6", b"013030"]
    texts.insert(number, bad)

    with pytest.raises(BadStringError, match="compressed") as refused:
        runs.parse(texts)

    assert refused.value.number == number


def test_of_two_strings_that_spell_nothing_the_first_is_named() -> None:
    with pytest.raises(BadStringError) as refused:
        runs.parse([b"6", b"", b"06", b"P"])

    assert refused.value.number == 1


characters = st.integers(ord("0") - 1, ord("o") + 1)  # those of a string, and one more at each end


@given(st.lists(st.lists(characters, max_size=8).map(bytes), min_size=1, max_size=6))
def test_many_strings_are_read_or_refused_as_each_is_alone(texts: list[bytes]) -> None:
    alone = [read_or_refused([text]) for text in texts]
    wrong = [number for number, found in enumerate(alone) if isinstance(found, int)]

    together = read_or_refused(texts)

    assert together in wrong if wrong else together == [found[0] for found in alone if isinstance(found, list)]


def read_or_refused(texts: list[bytes]) -> list[list[int]] | int:
    """Run lengths, or the number of the string that is none."""
    try:
        return in_parts(runs.parse(texts))
    except BadStringError as error:
        return error.number


def test_a_long_string_is_named_by_its_beginning() -> None:
    with pytest.raises(BadStringError) as refused:
        runs.parse([b"0" * 500 + b"z"])

    assert len(str(refused.value)) < 120


@given(stacks(), st.integers(0, 3), st.integers(0, 3))
def test_padding_is_what_columns_without_a_pixel_add(stack: Dense, left: int, right: int) -> None:
    height = stack.shape[1]
    read = runs.from_lists([in_columns(mask) for mask in stack])
    rows = np.arange(len(stack))

    padded = runs.pad(read, (left + rows) * height, (right + rows[::-1]) * height)

    wide = [np.pad(mask, ((0, 0), (left + row, right + len(stack) - 1 - row))) for row, mask in enumerate(stack)]
    assert in_parts(padded) == [in_columns(mask) for mask in wide]


NO_MASKS = {"strings": runs.parse([]), "lists": runs.from_lists([]), "changes": runs.from_changes([], 12)}


@pytest.mark.parametrize("read", NO_MASKS.values(), ids=NO_MASKS)
def test_no_masks_have_no_runs(read: Runs) -> None:
    assert (in_parts(read), runs.spell(read), read.totals().tolist(), read.place.tolist()) == ([], [], [], [])


ZIGZAG, ONE_RUN, FLAT = [0, 2**24 - 1] * 40, [7], [2**24 - 1, 0, 3] * 40


@pytest.mark.parametrize("lists", [*permutations([ZIGZAG, ONE_RUN, FLAT])])
def test_neighbouring_masks_leave_each_other_alone(lists: tuple[list[int], ...]) -> None:
    assert in_parts(runs.parse([spelt_by_coco(lengths) for lengths in lists])) == [*lists]
