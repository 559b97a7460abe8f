"""How alike two sights of objects are, and who goes with whom."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vistool.likeness import REACH, cosines, directions, nearness, one_to_one

VECTORS = arrays(np.float64, st.tuples(st.integers(1, 4), st.just(3)), elements=st.integers(-5, 5).map(float))
GAINS = arrays(
    np.float64, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])
)


@given(VECTORS)
def test_directions_have_length_one_and_nothing_has_none(vectors: np.ndarray) -> None:
    lengths = np.linalg.norm(directions(vectors), axis=1)

    np.testing.assert_allclose(lengths, vectors.any(1), atol=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_directions_keep_their_precision(kind: type[np.floating]) -> None:
    assert directions(np.ones((2, 3), kind)).dtype == kind


@given(VECTORS, VECTORS, st.floats(0.1, 10))
def test_cosines_do_not_depend_on_lengths(a: np.ndarray, b: np.ndarray, factor: float) -> None:
    np.testing.assert_allclose(cosines(factor * a, b), cosines(a, b), atol=1e-12)
    np.testing.assert_allclose(np.diag(cosines(a, a)), a.any(1), atol=1e-12)


def test_nearness_is_one_where_centres_meet_and_falls_by_e_over_its_reach() -> None:
    box = np.array([[10, 10, 16, 4]], np.float64)  # 8 pixels is its size
    around, away = np.array([[14, 8, 8, 8]], np.float64), box + np.array([8 * REACH, 0, 0, 0])

    assert nearness(box, around) == pytest.approx(np.ones((1, 1)))
    assert nearness(box, away) == pytest.approx(np.full((1, 1), np.exp(-1)))


@given(GAINS)
def test_the_assignment_has_the_greatest_sum_of_all(gains: np.ndarray) -> None:
    pairs = list(one_to_one(gains))

    wide = gains if gains.shape[0] <= gains.shape[1] else gains.T
    rows = range(len(wide))
    best = max(
        sum(wide[r, c] for r, c in zip(rows, each, strict=True))
        for each in permutations(range(wide.shape[1]), len(wide))
    )
    assert sum(gains[row, column] for row, column in pairs) == pytest.approx(best)
    assert all(gains[row, column] > 0 for row, column in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
