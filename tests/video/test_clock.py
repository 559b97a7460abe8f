from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vistool.video.clock import Clock, nominal_rate

RATE = Fraction(10)
STAMPS = st.lists(st.none() | st.integers(-1000, 1000).map(lambda n: Fraction(n, 10)), max_size=60)


def times(stamps: list[Fraction | None]) -> list[Fraction]:
    clock = Clock(RATE)
    return [clock.time_of(stamp) for stamp in stamps]


@given(STAMPS)
def test_time_begins_at_zero_and_never_goes_back(stamps: list[Fraction | None]) -> None:
    seen = times(stamps)

    assert seen[:1] in ([], [0])
    assert seen == sorted(seen)


@given(st.lists(st.integers(0, 10**6), unique=True).map(sorted), st.integers(-(10**9), 10**9))
def test_rising_stamps_are_kept_exactly_wherever_they_begin(ticks: list[int], start: int) -> None:
    stamps = [Fraction(start + tick, 90_000) for tick in ticks]

    assert times([*stamps]) == [stamp - stamps[0] for stamp in stamps]


def test_a_missing_stamp_counts_as_one_interval() -> None:
    assert times([None, None, Fraction(5), None]) == [0, Fraction(1, 10), Fraction(2, 10), Fraction(3, 10)]


def test_frames_out_of_order_hold_the_time_and_shift_nothing() -> None:
    assert times([Fraction(n) for n in (0, 1, 4, 2, 5)]) == [0, 1, 4, 4, 5]


def test_a_file_that_begins_its_clock_anew_goes_on_in_time() -> None:
    first, second = [Fraction(n) for n in range(50)], [Fraction(n) for n in range(50)]

    seen = times([*first, *second])

    assert seen[49] == 49
    assert seen[-1] - seen[-2] == 1


@pytest.mark.parametrize(
    ("claimed", "intervals_ms", "expected"),
    [
        (Fraction(30000, 1001), [40], Fraction(30000, 1001)),
        (Fraction(1000), [33, 34, 33, 33, 34, 33, 33, 34, 33], Fraction(30)),
        (None, [40] * 9, Fraction(25)),
        (Fraction(0), [1], Fraction(1000)),
        (Fraction(90000), [], Fraction(25)),
    ],
    ids=["a plausible claim", "the resolution of the clock", "no claim", "truly fast", "nothing to measure"],
)
def test_the_nominal_rate_is_the_claimed_one_unless_it_is_absurd(
    claimed: Fraction | None, intervals_ms: list[int], expected: Fraction
) -> None:
    stamps = [Fraction(sum(intervals_ms[:n]), 1000) for n in range(len(intervals_ms) + 1)]

    assert nominal_rate(claimed, stamps) == expected
