"""Who is who, from where the tracks should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hitf_fakes import SMALL, K
from hypothesis import given
from hypothesis import strategies as st

from vistool import masks
from vistool.methods.hitf.identities import NOBODY
from vistool.methods.hitf.motion import Motion

SIZE = (20, 400)
Row = tuple[int, int, int] | tuple[int, int, int, float]  # first column, width, class; its score, else 0.7

FOLLOWED = replace(SMALL, naming="motion", overlap=0.3, begin_score=0.5, slot_gap=24)


def named(frames: Sequence[Sequence[Row]], slots: Sequence[Sequence[int]] = (), **rules: Any) -> list[list[int]]:
    """Track ids, frame by frame, of bars as high as the picture."""
    motion, told = Motion(replace(FOLLOWED, **rules)), []
    for number, rows in enumerate(frames):
        pictures = np.zeros((len(rows), *SIZE), np.bool_)
        scores = np.full((len(rows), K), 0.02, np.float32)
        for row, (left, width, label, *score) in enumerate(rows):
            pictures[row, :, left : left + width] = True
            scores[row, label] = score[0] if score else 0.7
        own = np.array(slots[number] if slots else range(len(rows)), np.int64)
        told.append(motion.name(own, masks.encode_stack(pictures), scores).tolist())
    return told


def going(first: int, speed: int, label: int = 0, *, width: int = 20, frames: int = 7) -> list[Row]:
    return [(first + speed * t, width, label) for t in range(frames)]


def test_objects_of_a_class_that_cross_keep_their_names() -> None:
    """Half-way one lies on the other; by overlap alone they would turn round there."""
    right, left = going(40, 15), going(130, -15)

    assert right[3] == left[3]
    assert named([list(pair) for pair in zip(right, left, strict=True)]) == [[1, 2]] * 7


def test_an_object_faster_than_its_size_is_followed() -> None:
    """Its masks never overlap."""
    assert named([[row] for row in going(0, 30)]) == [[1]] * 7


def test_of_two_in_one_place_the_class_decides() -> None:
    before: list[Row] = [(100, 20, 0), (110, 20, 1)]

    assert named([before, [(104, 20, 1), (106, 20, 0)]]) == [[1, 2], [2, 1]]


def test_a_class_read_differently_on_one_frame_parts_nothing() -> None:
    assert named([[(100, 20, 0)], [(102, 20, 1)], [(104, 20, 0)]]) == [[1]] * 3


@pytest.mark.parametrize(
    ("returned", "track_id"),
    [((160, 20, 0), 1), ((160, 20, 1), 2), ((380, 20, 0), 2)],
    ids=["where it should be", "of another class", "elsewhere"],
)
def test_out_of_sight_an_object_goes_on_as_it_went(returned: Row, track_id: int) -> None:
    frames = [[row] for row in going(60, 20, frames=3)]

    assert named([*frames, [], [], [returned]])[-1] == [track_id]


def test_an_object_out_of_sight_is_looked_for_where_it_was_going() -> None:
    """Two of a class cross out of sight: each returns nearer to where the other one was last."""
    right, left = going(100, 20, frames=3), going(220, -20, frames=3)
    gone: list[list[Row]] = [[], []]

    told = named([*map(list, zip(right, left, strict=True)), *gone, [(195, 20, 0), (125, 20, 0)]])

    assert told[-1] == [1, 2]


@pytest.mark.parametrize(("away", "expected"), [(3, [1]), (4, [2])], ids=["back in time", "too late"])
def test_a_track_out_of_sight_for_too_long_is_over(away: int, expected: list[int]) -> None:
    assert named([[(100, 20, 0)], *[[]] * away, [(100, 20, 0)]], slot_gap=3)[-1] == expected


def test_a_track_that_is_over_never_comes_back() -> None:
    frames: list[list[Row]] = [rows for turn in range(5) for rows in ([(60 * turn, 20, 0)], [], [], [])]

    assert [ids for ids in named(frames, slot_gap=2) if ids] == [[1], [2], [3], [4], [5]]


def test_pieces_of_an_object_are_one_track() -> None:
    """And the whole goes on with what they were together."""
    frames: list[list[Row]] = [[(100, 40, 0)], [(100, 26, 0), (126, 14, 0)], [(100, 40, 0)]]

    assert named(frames) == [[1], [1, 1], [1]]


@pytest.mark.parametrize("piece", [(126, 14, 1), (160, 14, 0)], ids=["of another class", "where it should not be"])
def test_what_does_not_complete_an_object_is_none_of_its_pieces(piece: Row) -> None:
    assert named([[(100, 40, 0)], [(100, 26, 0), piece]])[-1] == [1, 2]


def test_what_is_doubtful_goes_on_with_a_track_and_begins_none() -> None:
    assert named([[(100, 20, 0, 0.4)], [(100, 20, 0)], [(102, 20, 0, 0.1)], [(300, 20, 0, 0.4)]]) == [
        [NOBODY],
        [1],
        [1],
        [NOBODY],
    ]


def test_what_is_doubtful_ends_no_absence() -> None:
    """And a sure one does, afterwards."""
    assert named([[(100, 20, 0)], [], [(100, 20, 0, 0.4)], [(100, 20, 0)]]) == [[1], [], [NOBODY], [1]]


def test_frames_without_objects_and_their_first_frame_are_taken() -> None:
    assert named([[], [], [(0, 20, 0)], []]) == [[], [], [1], []]


BARS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), st.integers(0, K - 1)), max_size=5)
VIDEOS = st.lists(BARS, max_size=12)


def bars(video: Sequence[Sequence[tuple[int, int, int]]]) -> list[list[Row]]:
    return [[(20 * place, 10 * width, label) for place, width, label in rows] for rows in video]


@given(VIDEOS, st.sampled_from([0, 2, 24]))
def test_new_tracks_count_on(video: list[list[tuple[int, int, int]]], slot_gap: int) -> None:
    seen = [track_id for ids in named(bars(video), slot_gap=slot_gap) for track_id in ids]

    assert sorted(set(seen), key=seen.index) == list(range(1, len(set(seen)) + 1))


@given(VIDEOS, st.randoms(use_true_random=False))
def test_slots_have_no_say(video: list[list[tuple[int, int, int]]], random: Any) -> None:
    slots = [random.sample(range(9), len(rows)) for rows in video]

    assert named(bars(video), slots) == named(bars(video))
