from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vistool.errors import InputError, UsageError
from vistool.types import VideoInfo
from vistool.video.damage import DamageLog
from vistool.video.selection import Mark, Selection
from vistool.video.source import Placed, SelectedFrames

COUNT, RATE = 30, Fraction(25)


class Gray:
    """A picture that counts how often it was wanted."""

    def __init__(self) -> None:
        self.converted = 0

    def rgb(self) -> np.ndarray:
        self.converted += 1
        return np.zeros((2, 2, 3), np.uint8)


class Reader:
    """`COUNT` pictures, 0.04 s apart, and a note of how many were read."""

    def __init__(self) -> None:
        self.info = VideoInfo("reader", (2, 2), RATE, COUNT)
        self.damage = DamageLog()
        self.picture = Gray()
        self.given = 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        for index in range(COUNT):
            self.given += 1
            yield Placed(index, index / RATE, self.picture)

    def close(self) -> None:
        pass


def indices(start: str | None, end: str | None, stride: int) -> list[int]:
    return [frame.index for frame in SelectedFrames(Reader(), Selection.parse(start, end, stride))]


@given(st.integers(0, COUNT - 1), st.integers(1, COUNT + 5), st.integers(1, COUNT))
def test_frames_are_selected_as_a_slice_of_all_frames(start: int, length: int, stride: int) -> None:
    expected = list(range(COUNT))[start : start + length : stride]

    assert indices(f"{start}f", f"{start + length}f", stride) == expected
    assert indices(str(float(start / RATE)), str(float((start + length) / RATE)), stride) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", Fraction(25, 2)), ("0", 0), (".5", Fraction(1, 2)), ("01:02:03.250", Fraction(14893, 4)), ("2:05", 125)],
)
def test_times_are_read_exactly(text: str, seconds: Fraction) -> None:
    assert Mark.parse(text, "--start").time_s == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "12ff", "1:60:00", "1:2:3:4", "nan", "f", "1,5"])
def test_a_malformed_time_is_a_usage_error_that_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--end"):
        Selection.parse(None, text, 1)


@pytest.mark.parametrize(("start", "end"), [("5f", "5f"), ("2", "1"), (None, "0"), ("10f", "3f")])
def test_an_end_not_after_the_start_is_a_usage_error(start: str | None, end: str) -> None:
    with pytest.raises(UsageError, match="--end"):
        Selection.parse(start, end, 1)


def test_a_stride_below_one_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--stride"):
        Selection.parse(None, None, 0)


@pytest.mark.parametrize("start", ["30f", "1.2", "00:10:00"])
def test_a_start_after_the_last_frame_is_an_input_error_that_says_where_it_ends(start: str) -> None:
    with pytest.raises(InputError, match=r"frame 29 is at 1\.160 s"):
        indices(start, None, 1)


def test_a_range_of_mixed_units_without_a_frame_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"from 10f to 0\.1"):
        indices("10f", "0.1", 1)


def test_what_is_skipped_is_not_converted_and_what_lies_behind_the_end_is_not_read() -> None:
    reader = Reader()

    list(SelectedFrames(reader, Selection.parse("4f", "10f", 3)))

    assert reader.picture.converted == 2
    assert reader.given == 11


def test_a_source_is_read_once() -> None:
    source = SelectedFrames(Reader(), Selection.parse(None, None, 1))
    list(source)

    with pytest.raises(RuntimeError, match="open it again"):
        iter(source)


def test_the_times_of_the_frames_handed_out_are_remembered() -> None:
    source = SelectedFrames(Reader(), Selection.parse(None, None, 10))

    frames = list(source)

    assert source.times_seen == {frame.index: frame.time_s for frame in frames}
