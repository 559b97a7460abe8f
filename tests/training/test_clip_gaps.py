"""Clips in order with random gaps (`--clip-gap`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toy_training import FRAMES, toy_options

from vistool.training.dataset import ClipSampler
from vistool.training.loop import train
from vistool.training.options import fixed_settings


@given(
    seed=st.integers(0, 2**31),
    step=st.integers(0, 10**6),
    clip_frames=st.integers(1, 6),
    clip_gap=st.integers(1, 5),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=9),
)
@example(seed=0, step=0, clip_frames=5, clip_gap=3, lengths=[5])  # only one clip fits
def test_gaps_lie_between_one_and_the_greatest_wherever_a_clip_fits(
    seed: int, step: int, clip_frames: int, clip_gap: int, lengths: list[int]
) -> None:
    row, frames = ClipSampler(tuple(lengths), clip_frames, 0, 4, seed, clip_gap).choose(step, 2)

    assert len(frames) == clip_frames
    assert 0 <= frames[0] <= frames[-1] < lengths[row]
    gaps = [later - sooner for sooner, later in pairwise(frames)]
    if lengths[row] >= clip_frames:
        assert all(1 <= gap <= clip_gap for gap in gaps)
    else:  # all frames there are, some of them several times
        assert sorted(set(frames)) == list(range(lengths[row]))
        assert all(gap >= 0 for gap in gaps)


def test_every_start_and_every_gap_comes_up() -> None:
    sampler = ClipSampler((9,), 3, 0, 1, 0, 3)

    clips = [sampler.choose(step, 0)[1] for step in range(2000)]

    assert {frames[0] for frames in clips} == set(range(7))
    assert {later - sooner for frames in clips for sooner, later in pairwise(frames)} == {1, 2, 3}
    assert min(Counter(frames[0] for frames in clips).values()) > 2000 / 7 * 0.75  # starts are even
    early = Counter(frames[1] - frames[0] for frames in clips if frames[0] < 3)  # where nothing is in the way
    assert min(early.values()) > 0.75 * sum(early.values()) / 3


def test_the_rows_are_those_of_clips_of_any_other_kind() -> None:
    near = ClipSampler((30, 20, 25, 9), 3, 10, 2, 5)
    ordered = replace(near, clip_gap=2)

    rows = [[sampler.choose(step, number)[0] for step in range(9) for number in (0, 1)] for sampler in (near, ordered)]

    assert rows[0] == rows[1]


def test_clips_with_gaps_are_a_pure_function_of_seed_step_and_number() -> None:
    first, second, other = (ClipSampler((30, 20, 25, 9), 5, 10, 2, seed, 3) for seed in (5, 5, 6))
    forwards = [first.choose(step, number) for step in range(20) for number in range(2)]
    backwards = [second.choose(step, number) for step in reversed(range(20)) for number in (1, 0)]

    assert forwards == backwards[::-1]
    assert forwards != [other.choose(step, number) for step in range(20) for number in range(2)]


def test_a_run_takes_its_clips_with_the_gap_it_is_told(
    squares: Path, toy_method: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    chosen = ClipSampler.choose

    def choose(self: ClipSampler, step: int, number: int) -> tuple[int, list[int]]:
        row, frames = chosen(self, step, number)
        seen.append(tuple(frames))
        return row, frames

    monkeypatch.setattr(ClipSampler, "choose", choose)
    train(toy_options(squares, tmp_path / "run", max_steps=3, warmup=1, clip_frames=FRAMES - 1, clip_gap=1))

    assert len(seen) == 12
    assert set(seen) == {tuple(range(first, first + FRAMES - 1)) for first in (0, 1)}


def test_runs_from_before_the_option_can_be_resumed() -> None:
    """Their states do not know it: what is absent there is what is not set here."""
    assert fixed_settings(toy_options(Path("data.json"), Path("run")))["clip_gap"] is None
