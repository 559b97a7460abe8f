"""Laws of paths."""

from __future__ import annotations

import numpy as np
import pytest

from vistool.shapes.motion import Stage, plan_paths, spline


def test_a_spline_goes_through_its_points() -> None:
    times = np.array([0.0, 0.2, 0.5, 1.0])
    points = np.array([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5], [3.0, 3.0]])

    np.testing.assert_allclose(spline(times, points, times), points, atol=1e-12)


@pytest.mark.parametrize("points", [2, 3, 5])
def test_a_spline_through_points_on_a_line_is_the_line(points: int) -> None:
    times = np.linspace(0, 1, points)
    at = np.linspace(0, 1, 17)

    curve = spline(times, np.c_[times, 2 - 3 * times], at)

    np.testing.assert_allclose(curve, np.c_[at, 2 - 3 * at], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_path_stays_within_reach_of_the_frame(seed: int) -> None:
    stage = Stage(frames=24, aspect=5 / 3, difficulty=1.0, linger=0.2, hiding=1.0, poles=())

    paths = plan_paths(np.random.default_rng(seed), stage, np.full(7, 0.2), np.arange(7))

    centres = np.concatenate([path.centres for path in paths])
    assert np.isfinite(centres).all()
    assert (np.abs(centres - [5 / 6, 0.5]) < [2.5, 2.0]).all()


def test_without_difficulty_nothing_leaves_the_frame() -> None:
    stage = Stage(frames=24, aspect=5 / 3, difficulty=0.0, linger=0.2, hiding=1.0, poles=())

    paths = plan_paths(np.random.default_rng(0), stage, np.full(7, 0.2), np.zeros(7, np.int64))

    centres = np.concatenate([path.centres for path in paths])
    assert ((centres > 0) & (centres < [5 / 3, 1])).all()
