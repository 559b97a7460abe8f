"""Which tracks are told, in which order, as what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vistool.ranking import Ranking, Standings, class_vector, rank, rank_frame
from vistool.types import Rle, Track

MASK = {0: Rle((4, 5), b"5220003")}


def track(track_id: int, *class_scores: float) -> Track:
    label = int(np.argmax(class_scores))
    return Track(track_id, label, class_scores[label], MASK, class_scores)


def told(tracks: tuple[Track, ...]) -> list[tuple[int, int, float]]:
    return [(each.id, each.label, each.score) for each in tracks]


def test_people_get_every_track_once_as_its_best_class_best_first() -> None:
    ranked = rank([track(1, 0.4, 0.3), track(2, 0.1, 0.9), track(3, 0.2, 0.1)], Ranking(conf=0.3))

    assert told(ranked) == [(2, 1, 0.9), (1, 0, 0.4)]


def test_a_score_equal_to_the_threshold_is_kept() -> None:
    assert told(rank([track(1, 0.3)], Ranking(conf=0.3))) == [(1, 0, 0.3)]


def test_only_allowed_labels_are_told_and_scored() -> None:
    ranked = rank([track(1, 0.9, 0.5), track(2, 0.9, 0.1)], Ranking(labels=frozenset({1})))

    assert told(ranked) == [(1, 1, 0.5)]


def test_a_track_of_one_known_class_is_told_by_its_label() -> None:
    tracks = [Track(1, 0, 0.8, MASK), Track(2, 1, 0.7, MASK)]

    assert told(rank(tracks, Ranking(labels=frozenset({1})))) == [(2, 1, 0.7)]


def test_equal_scores_stay_in_the_order_given() -> None:
    assert [each.id for each in rank([track(5, 0.5), track(2, 0.5), track(9, 0.5)], Ranking())] == [5, 2, 9]


@pytest.mark.parametrize("protocol", ["people", "ytvis"])
def test_a_track_without_a_mask_is_not_told(protocol: str) -> None:
    assert rank([Track(1, 0, 0.9, {}, (0.9,))], Ranking(protocol=protocol)) == ()  # type: ignore[arg-type]


def test_no_more_tracks_are_told_than_asked_for() -> None:
    assert [each.id for each in rank([track(n, n / 10) for n in range(1, 9)], Ranking(conf=0, max_instances=2))] == [
        8,
        7,
    ]


def test_the_benchmark_gets_every_pair_and_ids_that_stay_unique() -> None:
    ranked = rank([track(1, 0.4, 0.35), track(4, 0.1, 0.9)], Ranking(protocol="ytvis"))

    assert told(ranked) == [(4, 1, 0.9), (1, 0, 0.4), (5, 1, 0.35), (6, 0, 0.1)]


def test_the_benchmark_gets_ten_pairs_unless_told_otherwise() -> None:
    tracks = [track(n, 0.5, 0.4) for n in range(1, 9)]

    assert len(rank(tracks, Ranking(protocol="ytvis"))) == 10
    assert len(rank(tracks, Ranking(protocol="ytvis", max_instances=13))) == 13


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), max_size=6),
    st.sampled_from(["people", "ytvis"]),
    st.sampled_from([None, frozenset({0}), frozenset({1, 2}), frozenset()]),
    st.integers(1, 12),
)
def test_ranked_tracks_are_few_sorted_allowed_and_unique(
    scores: list[list[float]], protocol: str, labels: frozenset[int] | None, most: int
) -> None:
    tracks = [track(n, *row) for n, row in enumerate(scores, start=1)]

    ranked = rank(tracks, Ranking(protocol, conf=0.2, max_instances=most, labels=labels))  # type: ignore[arg-type]

    assert len(ranked) <= most
    assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)
    assert len({each.id for each in ranked}) == len(ranked)
    assert all(labels is None or each.label in labels for each in ranked)


def test_a_frame_shows_a_track_once_under_both_protocols() -> None:
    tracks = [track(1, 0.4, 0.35), track(2, 0.05, 0.1)]

    assert told(rank_frame(tracks, Ranking(conf=0.3))) == [(1, 0, 0.4)]
    assert told(rank_frame(tracks, Ranking("ytvis", conf=0.3))) == [(1, 0, 0.4), (2, 1, 0.1)]


def test_a_standing_is_the_mean_of_the_opinions_so_far() -> None:
    standings = Standings(classes=2)
    standings.judge(3, np.array([0.8, 0.2]))
    standings.judge(3, np.array([0.2, 0.8]))
    standings.judge(3, np.array([0.5, 0.8]))
    standings.see(3, 7, MASK[0])

    (standing,) = standings.tracks()

    assert (standing.id, standing.label, dict(standing.masks)) == (3, 1, {7: MASK[0]})
    assert standing.class_scores == pytest.approx((0.5, 0.6))


def test_one_known_class_stands_for_a_vector_of_zeros_and_its_score() -> None:
    np.testing.assert_array_equal(class_vector(3, 1, 0.7, None), [0, 0.7, 0])
    np.testing.assert_array_equal(class_vector(3, 1, 0.7, (0.1, 0.7, 0.2)), [0.1, 0.7, 0.2])
