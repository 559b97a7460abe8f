"""`refinevis`: IDOL's tracker, rule by rule. A detection's look is an axis; detections of different axes are unlike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vistool.methods.refinevis.association import (
    BACKGROUND,
    DISCARDED,
    AssociationRules,
    TrackMemory,
    assign,
    mask_iou,
    select,
    similarity,
)

RULES = AssociationRules()
COSINE = AssociationRules(similarity="cosine")
LENGTH = 6.0  # of a look: two that are equal have the dot product 36
Looks = NDArray[np.float32]


def axes(*numbers: int, dim: int = 12) -> Looks:
    return LENGTH * np.eye(dim, dtype=np.float32)[list(numbers)]


def nothing_overlaps(count: int) -> NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)


class Memory:
    """A TrackMemory that is told of frames as axis → score, surest first."""

    def __init__(self, rules: AssociationRules = RULES) -> None:
        self.tracks = TrackMemory(rules)

    def next(self, seen: dict[int, float], overlaps: NDArray[np.float32] | None = None) -> list[int]:
        scores = np.array(list(seen.values()), np.float32)
        overlaps = nothing_overlaps(len(seen)) if overlaps is None else overlaps
        return self.tracks.associate(scores, axes(*seen), overlaps).tolist()

    def skip(self, frames: int) -> None:
        for _ in range(frames):
            self.next({})


def bi_softmax(logits: Sequence[Sequence[float]]) -> list[list[float]]:
    """As the formula has it, number by number."""
    powers = [[np.exp(value) for value in row] for row in logits]
    columns = [sum(row[j] for row in powers) for j in range(len(logits[0]))]
    return [[(value / sum(row) + value / columns[j]) / 2 for j, value in enumerate(row)] for row in powers]


def test_queries_above_the_threshold_are_detections_best_first() -> None:
    assert select(np.array([0.1, 0.3, 0.9, 0.05, 0.3], np.float32), RULES).tolist() == [2, 1, 4]


def test_where_no_query_is_sure_the_best_one_is_a_detection() -> None:
    assert select(np.array([0.01, 0.03, 0.02], np.float32), RULES).tolist() == [1]


def test_a_network_without_queries_has_no_detection() -> None:
    assert select(np.zeros(0, np.float32), RULES).tolist() == []


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5))
def test_the_overlap_of_masks_is_intersection_over_union(rows: list[list[bool]]) -> None:
    sets = [{place for place, inside in enumerate(row) if inside} for row in rows]

    found = mask_iou(np.array(rows).reshape(len(rows), 2, 3))

    expected = [[len(a & b) / max(1, len(a | b)) for b in sets] for a in sets]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_similarity_is_the_mean_of_both_softmaxes() -> None:
    rng = np.random.default_rng(0)
    new, old = rng.standard_normal((2, 3, 4)).astype(np.float32)

    np.testing.assert_allclose(similarity(new, old, RULES), bi_softmax((new @ old.T).tolist()), rtol=1e-5)


def test_scaled_cosines_do_not_depend_on_the_length_of_looks() -> None:
    new, old = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)

    np.testing.assert_allclose(similarity(100 * new, 0.01 * old, COSINE), similarity(new, old, COSINE), rtol=1e-4)


@pytest.mark.parametrize(("cosine", "kept"), [(0.51, True), (0.49, False)])
def test_the_cosine_rejects_what_the_softmax_alone_would_take(cosine: float, kept: bool) -> None:
    old = axes(0)
    new = cosine * axes(0) + np.sqrt(1 - cosine**2) * axes(1)

    assert (similarity(new.astype(np.float32), old, COSINE)[0, 0] == 1) == kept


def test_an_object_keeps_its_id_whatever_its_place_among_the_detections() -> None:
    memory = Memory()
    assert memory.next({0: 0.9, 1: 0.8, 2: 0.7}) == [1, 2, 3]

    assert memory.next({2: 0.9, 0: 0.5, 1: 0.4}) == [3, 1, 2]


def test_a_lone_detection_inherits_the_lone_id_however_unlike_it_is() -> None:
    memory = Memory()
    memory.next({0: 0.9})

    assert memory.next({1: 0.9}) == [1]


def test_a_lone_detection_unlike_the_lone_track_is_a_new_one_by_cosine() -> None:
    memory = Memory(COSINE)
    memory.next({0: 0.9})

    assert memory.next({1: 0.9}) == [2]


def test_a_third_detection_unlike_both_tracks_opens_a_new_one() -> None:
    memory = Memory()
    memory.next({0: 0.9, 1: 0.8})

    assert memory.next({0: 0.9, 1: 0.8, 2: 0.7}) == [1, 2, 3]


@pytest.mark.parametrize(("missing", "found"), [(0, 1), (9, 1), (10, 3)])
def test_a_track_that_returns_too_late_is_a_new_one(missing: int, found: int) -> None:
    memory = Memory()
    memory.next({0: 0.9, 1: 0.9})
    for _ in range(missing):
        memory.next({1: 0.9})

    assert memory.next({1: 0.9, 0: 0.8}) == [2, found]


def test_ids_are_never_used_again() -> None:
    memory = Memory()
    given = []
    for axis in range(4):
        given += memory.next({axis: 0.9})
        memory.skip(11)

    assert given == [1, 2, 3, 4]


@pytest.mark.parametrize(("overlap", "mark"), [(0.04, BACKGROUND), (0.05, DISCARDED)])
def test_an_unsure_detection_is_background_where_nothing_surer_is(overlap: float, mark: int) -> None:
    memory = Memory()
    memory.next({0: 0.9})
    overlaps = np.array([[1, overlap], [overlap, 1]], np.float32)

    assert memory.next({0: 0.9, 1: 0.19}, overlaps) == [1, mark]


def test_what_is_not_a_track_is_not_remembered() -> None:
    memory = Memory()
    memory.next({0: 0.9, 1: 0.1})

    assert [track.id for track in memory.tracks.known] == [1]


STRICT = replace(RULES, init_score=0.2, new_score=0.3)


def test_the_first_tracks_open_at_one_score() -> None:
    assert Memory(STRICT).next({0: 0.25, 1: 0.19}) == [1, BACKGROUND]


def test_later_tracks_open_at_another() -> None:
    memory = Memory(STRICT)
    memory.next({1: 0.9, 2: 0.9})

    assert memory.next({1: 0.9, 2: 0.8, 0: 0.31, 3: 0.29}) == [1, 2, 3, BACKGROUND]


def test_sure_detections_choose_first_and_a_track_is_taken_once() -> None:
    likeness = np.array([[0.9, 0.6], [0.95, 0.4]])

    assert assign(likeness, np.array([1, 1]), RULES).tolist() == [0, -1]


def test_of_several_candidates_the_one_of_many_detections_is_preferred() -> None:
    likeness = np.array([[0.9, 0.6, 0.4]])

    assert assign(likeness, np.array([1, 1, 9]), RULES).tolist() == [0]
    assert assign(likeness, np.array([1, 9, 9]), RULES).tolist() == [1]


@pytest.mark.parametrize(("value", "column"), [(0.5, -1), (0.51, 0)])
def test_a_continuation_must_exceed_the_threshold(value: float, column: int) -> None:
    assert assign(np.array([[value, 0.1]]), np.array([1, 1]), RULES).tolist() == [column]


def test_a_track_looks_like_its_last_three_detections_new_and_sure_ones_most() -> None:
    memory = Memory()
    for axis, score in ((4, 0.9), (0, 0.9), (1, 0.5), (2, 0.3)):
        memory.next({axis: score})

    weights = np.array([0.9 + 1 / 3, 0.5 + 2 / 3, 0.3 + 3 / 3])
    (track,) = memory.tracks.known
    np.testing.assert_allclose(track.look, weights / weights.sum() @ axes(0, 1, 2), rtol=1e-6)


def test_without_a_memory_of_frames_a_track_looks_like_an_exponential_mean() -> None:
    memory = Memory(replace(RULES, memory_length=0))
    for axis in (0, 1, 2):
        memory.next({axis: 0.9})

    (track,) = memory.tracks.known
    np.testing.assert_allclose(track.look, [0.04, 0.16, 0.8] @ axes(0, 1, 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("detections", "missing", "withdrawn"),
    [(2, 1, False), (2, 2, True), (2, 8, True), (2, 11, True), (3, 2, False)],
)
def test_few_detections_followed_by_none_come_to_nothing(detections: int, missing: int, withdrawn: bool) -> None:
    memory = Memory()
    for _ in range(12):
        memory.next({0: 0.9})
    for _ in range(detections):
        memory.next({0: 0.9, 1: 0.8})
    for _ in range(missing):
        memory.next({0: 0.9})

    assert memory.tracks.withdrawn == ({2} if withdrawn else set())


def test_a_short_video_withdraws_nothing() -> None:
    memory = Memory()
    memory.next({0: 0.9})
    memory.skip(8)
    assert memory.tracks.withdrawn == frozenset()

    memory.skip(1)
    assert memory.tracks.withdrawn == {1}


def test_frames_without_detections_are_no_failure() -> None:
    memory = Memory()

    assert [memory.next({}) for _ in range(3)] == [[], [], []]
    assert memory.next({0: 0.9}) == [1]


def test_two_hundred_objects_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    looks = LENGTH * np.linalg.qr(rng.standard_normal((256, 256)))[0][:200].astype(np.float32)
    memory, scores, overlaps = TrackMemory(RULES), np.full(200, 0.9, np.float32), nothing_overlaps(200)
    memory.associate(scores, looks, overlaps)
    shuffle = rng.permutation(200)

    assert memory.associate(scores, looks[shuffle], overlaps).tolist() == (shuffle + 1).tolist()


frames = st.lists(st.dictionaries(st.integers(0, 11), st.floats(0, 1, width=32), max_size=5), max_size=12)


@given(frames)
def test_no_id_is_given_twice_on_a_frame_and_no_track_outlives_its_time(film: list[dict[int, float]]) -> None:
    memory, given_ids, missing = Memory(), [], []
    for seen in film:
        given_ids.append(memory.next(dict(sorted(seen.items(), key=lambda item: -item[1]))))
        missing += [memory.tracks.missing(track) for track in memory.tracks.known]

    tracked = [[each for each in ids if each > 0] for ids in given_ids]
    assert [sorted(set(ids)) for ids in tracked] == [sorted(ids) for ids in tracked]
    assert max(missing, default=0) < RULES.forget_after
