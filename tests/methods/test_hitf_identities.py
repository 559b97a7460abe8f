"""Who is who, from slots and places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hitf_fakes import SMALL, K
from hypothesis import given
from hypothesis import strategies as st

from vistool import masks
from vistool.methods.hitf.identities import Identities
from vistool.types import Rle

SIZE = (20, 200)
Row = tuple[int, int, int]  # slot, first column, class


def shape(left: int, width: int = 10) -> Rle:
    picture = np.zeros(SIZE, np.bool_)
    picture[:, left : left + width] = True
    return masks.encode(picture)


def scores(labels: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (0.1 + 0.7 * np.eye(K)[list(labels)]).astype(np.float32).reshape(-1, K)


def named(frames: Sequence[Sequence[Row]], **rules: Any) -> list[list[int]]:
    """Track ids, frame by frame, of bars ten columns wide."""
    identities = Identities(replace(SMALL, **rules))
    told = []
    for rows in frames:
        slots = np.array([slot for slot, _, _ in rows], np.int64)
        shapes = [shape(left) for _, left, _ in rows]
        told.append(identities.name(slots, shapes, scores([label for _, _, label in rows])).tolist())
    return told


def test_a_slot_is_an_object_wherever_it_goes() -> None:
    assert named([[(0, 0, 0), (3, 50, 1)], [(0, 100, 0), (3, 20, 1)], [(3, 90, 1), (4, 150, 0)]]) == [
        [1, 2],
        [1, 2],
        [2, 3],
    ]


def test_a_mask_at_its_place_is_the_object_whatever_its_slot() -> None:
    assert named([[(0, 0, 0)], [(1, 2, 0)], [(1, 100, 0)]]) == [[1], [1], [1]]


def test_two_slots_that_swap_are_told_apart_by_place() -> None:
    """And stay swapped: afterwards memory has the new slots."""
    assert named([[(0, 0, 0), (1, 50, 0)], [(0, 50, 0), (1, 0, 0)], [(0, 100, 0), (1, 150, 0)]]) == [
        [1, 2],
        [2, 1],
        [2, 1],
    ]


def test_place_wins_over_the_memory_of_a_slot() -> None:
    """Slot 1 takes what was slot 0's; slot 0 shows something else, which is new."""
    assert named([[(0, 0, 0)], [(0, 100, 0), (1, 1, 0)]]) == [[1], [2, 1]]


def test_of_an_object_that_splits_the_larger_piece_keeps_its_name() -> None:
    identities = Identities(SMALL)
    whole, pieces = [shape(0, 100)], [shape(0, 30), shape(30, 70)]

    first = identities.name(np.array([0]), whole, scores([0]))
    second = identities.name(np.array([0, 1]), pieces, scores([0, 0]))

    assert (first.tolist(), second.tolist()) == ([1], [2, 1])


def test_pairs_are_made_one_to_one_the_greatest_overlap_first() -> None:
    """With a low threshold the first mask overlaps both of the frame before, and the second its own a little less."""
    before, now = [(0, 0, 0), (1, 10, 0)], [(2, 4, 0), (3, 13, 0)]

    assert named([before, now], overlap=0.1) == [[1, 2], [1, 2]]


def test_memory_of_a_slot_lasts_for_ever_in_the_paper() -> None:
    assert named([[(2, 0, 0)], *[[]] * 50, [(2, 100, 0)]])[-1] == [1]


@pytest.mark.parametrize(("away", "expected"), [(3, [1]), (4, [2])], ids=["back in time", "too late"])
def test_a_slot_that_was_empty_for_too_long_is_anybody_s(away: int, expected: list[int]) -> None:
    assert named([[(2, 0, 0)], *[[]] * away, [(2, 0, 0)]], slot_gap=3)[-1] == expected


def test_a_track_that_is_over_never_comes_back() -> None:
    """On a long video twice as many objects as slots take turns."""
    frames = [[(number % 5, 15 * (number % 10), 0)] for number in range(10) for _ in range(2)]

    told = named(frames, slot_gap=2)

    assert told == [[number + 1] for number in range(10) for _ in range(2)]


def test_memory_of_a_slot_needs_the_class_where_it_is_asked_for() -> None:
    frames: list[list[Row]] = [[(0, 0, 1)], [(0, 100, 2)]]

    assert named(frames, same_class=True) == [[1], [2]]
    assert named(frames, same_class=False) == [[1], [1]]


def test_the_class_of_a_track_is_that_of_all_its_frames() -> None:
    """One frame on which another class is named does not end it."""
    frames: list[list[Row]] = [[(0, 0, 1)], [(0, 1, 1)], [(0, 2, 2)], [(0, 100, 1)]]

    assert named(frames, same_class=True) == [[1]] * 4


def test_place_needs_no_class() -> None:
    assert named([[(0, 0, 1)], [(0, 1, 2)]], same_class=True) == [[1], [1]]


def test_an_object_that_returns_in_another_slot_is_new() -> None:
    assert named([[(0, 0, 0)], [], [(1, 0, 0)]]) == [[1], [], [2]]


SIGHTS: st.SearchStrategy[Mapping[int, tuple[int, int]]] = st.dictionaries(
    st.integers(0, 4), st.tuples(st.integers(0, 18), st.integers(0, 2)), max_size=5
)


@given(
    st.lists(SIGHTS, max_size=12),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.sampled_from([0.1, 0.5]),
)
def test_no_two_rows_of_a_frame_are_one_track_and_new_ones_count_on(
    video: list[Mapping[int, tuple[int, int]]], slot_gap: int | None, same_class: bool, overlap: float
) -> None:
    frames = [[(slot, 10 * place, label) for slot, (place, label) in sights.items()] for sights in video]

    told = named(frames, slot_gap=slot_gap, same_class=same_class, overlap=overlap)

    seen = [track_id for ids in told for track_id in ids]
    assert all(len(set(ids)) == len(ids) for ids in told)
    assert sorted(set(seen), key=seen.index) == list(range(1, len(set(seen)) + 1))


@given(st.lists(SIGHTS, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_the_slots_has_no_say_in_who_continues(
    video: list[Mapping[int, tuple[int, int]]], random: Any
) -> None:
    """Up to the numbers that new tracks get."""
    frames = [[(slot, 20 * (place % 9), label) for slot, (place, label) in sights.items()] for sights in video]
    frames = [[row for n, row in enumerate(rows) if row[1] not in {r[1] for r in rows[:n]}] for rows in frames]
    shuffled = [random.sample(rows, len(rows)) for rows in frames]

    one, other = named(frames), named(shuffled)

    pairs = {
        (own, dict(zip([row[0] for row in mixed], others, strict=True))[row[0]])
        for rows, ids, mixed, others in zip(frames, one, shuffled, other, strict=True)
        for row, own in zip(rows, ids, strict=True)
    }
    assert len(pairs) == len({own for own, _ in pairs}) == len({other for _, other in pairs})
