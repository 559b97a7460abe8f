"""Windows cover a video, and what they saw of one object becomes one track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vistool import masks
from vistool.errors import UsageError
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import FakeOfflineModel, FakeSource, draw, moving_rectangles
from vistool.types import Rle, Track, VideoInfo, VideoPrediction
from vistool.windows import MEMORY, Joiner, check

EVERYTHING = Ranking(conf=0.0)
SIZE = (24, 36)


def follow(model: FakeOfflineModel, source: FakeSource, window: int, overlap: int) -> VideoPrediction:
    return run(source, model, mode="offline", window=window, overlap=overlap, ranking=EVERYTHING)


def paths(tracks: Sequence[Track]) -> set[frozenset[tuple[int, Rle]]]:
    """Tracks without their ids."""
    return {frozenset(track.masks.items()) for track in tracks}


WINDOWS = {
    "windows fit exactly": (3, 1, 7, [(0, 1, 2), (2, 3, 4), (4, 5, 6)]),
    "the last is moved back": (4, 1, 9, [(0, 1, 2, 3), (3, 4, 5, 6), (5, 6, 7, 8)]),
    "stride one": (3, 2, 5, [(0, 1, 2), (1, 2, 3), (2, 3, 4)]),
    "no overlap": (2, 0, 5, [(0, 1), (2, 3), (3, 4)]),
    "shorter than a window": (8, 2, 3, [(0, 1, 2)]),
    "as long as a window": (3, 1, 3, [(0, 1, 2)]),
    "whole video": (0, 0, 5, [(0, 1, 2, 3, 4)]),
    "single frames": (1, 0, 3, [(0,), (1,), (2,)]),
}


@pytest.mark.parametrize(("window", "overlap", "length", "expected"), WINDOWS.values(), ids=WINDOWS)
def test_windows_start_a_stride_apart_and_end_on_the_last_frame(
    window: int, overlap: int, length: int, expected: list[tuple[int, ...]]
) -> None:
    tracks = moving_rectangles(2, length)
    model = FakeOfflineModel(tracks)

    follow(model, FakeSource.of(tracks), window, overlap)

    assert model.windows == expected


@settings(max_examples=60)
@given(st.integers(1, 7), st.integers(0, 6), st.integers(1, 23), st.integers(1, 5), st.integers(0, 99))
def test_ground_truth_through_shuffled_windows_keeps_its_identities(
    window: int, overlap: int, length: int, count: int, seed: int
) -> None:
    tracks = moving_rectangles(count, length, SIZE, seed=seed)
    model = FakeOfflineModel(tracks, seed=seed)

    result = follow(model, FakeSource.of(tracks), window, min(overlap, window - 1))

    assert paths(result.tracks) == paths(tracks)
    assert len(result.tracks) == count


@pytest.mark.parametrize("overlap", [1, 2, 4])
@pytest.mark.parametrize("length", [5, 11, 12, 13, 40])
def test_an_object_that_comes_late_and_leaves_early_is_one_track(overlap: int, length: int) -> None:
    whole, brief = moving_rectangles(2, length, SIZE)
    brief = Track(brief.id, brief.label, brief.score, {t: m for t, m in brief.masks.items() if 3 <= t < length - 1})
    model = FakeOfflineModel([whole, brief], seed=1)

    result = follow(model, FakeSource.of([whole, brief]), 5, overlap)

    assert paths(result.tracks) == paths([whole, brief])


def test_a_gap_shorter_than_the_window_does_not_part_a_track() -> None:
    (track,) = moving_rectangles(1, 20, SIZE)
    gappy = Track(track.id, track.label, track.score, {t: m for t, m in track.masks.items() if t not in (7, 8)})

    result = follow(FakeOfflineModel([gappy]), FakeSource(draw([gappy], range(20), SIZE), SIZE), 6, 3)

    assert paths(result.tracks) == paths([gappy])


def test_an_object_unseen_in_a_whole_overlap_returns_as_itself() -> None:
    (track,) = moving_rectangles(1, 12, SIZE)
    split = Track(track.id, track.label, track.score, {t: m for t, m in track.masks.items() if t not in (4, 5)})

    result = follow(FakeOfflineModel([split]), FakeSource(draw([split], range(12), SIZE), SIZE), 6, 2)

    assert paths(result.tracks) == paths([split])


@pytest.mark.parametrize("seed", range(5))
def test_windows_that_miss_a_mask_now_and_then_are_outvoted_or_leave_a_gap(seed: int) -> None:
    tracks = moving_rectangles(3, 30, SIZE, seed=seed)
    model = FakeOfflineModel(tracks, seed=seed, dropout=0.15)

    result = follow(model, FakeSource.of(tracks), 6, 5)

    assert len(result.tracks) == 3
    truth = {frozenset(track.masks.items()) for track in tracks}
    assert all(any(set(track.masks.items()) <= whole for whole in truth) for track in result.tracks)
    assert sum(len(track.masks) for track in result.tracks) >= 0.9 * 90


def test_frame_indices_that_step_are_kept() -> None:
    tracks = moving_rectangles(2, 9, SIZE, stride=5)

    result = follow(FakeOfflineModel(tracks, seed=3), FakeSource.of(tracks), 4, 2)

    assert list(result.times_s) == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert result.length == 41
    assert paths(result.tracks) == paths(tracks)


def row_mask(left: int, right: int) -> Rle:
    picture = np.zeros((1, 12), np.bool_)
    picture[0, left:right] = True
    return masks.encode(picture)


def candidate(slot: int, boxes: dict[int, Rle], class_scores: tuple[float, ...] = (0.8, 0.1)) -> Track:
    return Track(slot, int(np.argmax(class_scores)), max(class_scores), boxes, class_scores)


def settled(joiner: Joiner, index: int) -> dict[int, Rle]:
    (frame,) = draw([], [index], (1, 12))
    return dict(joiner.settle(frame).masks)


def test_the_window_that_sees_a_frame_far_from_its_edges_decides_its_mask() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1, 2, 3, 4], [candidate(0, {t: row_mask(0, 6) for t in range(5)})])
    joiner.add([2, 3, 4, 5, 6], [candidate(0, {t: row_mask(0, 8) for t in range(2, 7)})])

    chosen = [settled(joiner, index)[1] for index in range(7)]

    small, large = row_mask(0, 6), row_mask(0, 8)
    assert chosen[:3] == [small] * 3  # frame 2: the middle of the first window, the edge of the second
    assert chosen[4:] == [large] * 3


def test_a_window_without_the_object_has_no_vote_and_one_that_lost_it_votes_for_background() -> None:
    joiner = Joiner(classes=2)
    box = row_mask(0, 6)
    joiner.add([0, 1, 2], [candidate(0, {0: box, 1: box})])
    joiner.add([1, 2, 3], [])
    joiner.add([0, 1, 2, 3, 4], [candidate(0, {0: box, 4: box})])

    assert settled(joiner, 0) == {1: box}
    assert settled(joiner, 1) == {1: box}  # weight 2 of the first window against weight 2 of the third: a tie sees it
    assert settled(joiner, 2) == {}
    assert settled(joiner, 4) == {1: box}


def test_the_class_decides_between_candidates_in_one_place() -> None:
    joiner = Joiner(classes=2)
    rider, horse = (0.9, 0.0), (0.0, 0.9)
    joiner.add([0, 1], [candidate(0, {1: row_mask(0, 8)}, rider), candidate(1, {1: row_mask(0, 9)}, horse)])
    joiner.add([1, 2], [candidate(0, {1: row_mask(0, 8), 2: row_mask(0, 2)}, horse),
                        candidate(1, {1: row_mask(0, 9), 2: row_mask(3, 6)}, rider)])  # fmt: skip

    assert settled(joiner, 2) == {2: row_mask(0, 2), 1: row_mask(3, 6)}


def test_an_object_read_as_another_class_keeps_its_identity() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {1: row_mask(0, 4)}, (0.9, 0.0))])
    joiner.add([1, 2], [candidate(0, {1: row_mask(0, 4), 2: row_mask(1, 5)}, (0.0, 0.9))])

    assert settled(joiner, 2) == {1: row_mask(1, 5)}


def test_candidates_that_hardly_overlap_are_two_objects() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {1: row_mask(0, 6)})])
    joiner.add([1, 2], [candidate(0, {1: row_mask(6, 12), 2: row_mask(6, 12)})])

    assert settled(joiner, 2) == {2: row_mask(6, 12)}


RETURNS = {
    "in its place": (10, row_mask(2, 6), 0.9, (0.9, 0.0), 1),
    "a little further": (10, row_mask(6, 10), 0.9, (0.9, 0.0), 1),
    "at the end of the memory": (MEMORY, row_mask(2, 6), 0.9, (0.9, 0.0), 1),
    "too late": (MEMORY + 8, row_mask(2, 6), 0.9, (0.9, 0.0), 2),
    "of another class": (10, row_mask(2, 6), 0.9, (0.0, 0.9), 2),
    "too doubtful": (10, row_mask(2, 6), 0.1, (0.1, 0.0), 2),
}


@pytest.mark.parametrize(("gap", "mask", "score", "classes", "expected"), RETURNS.values(), ids=RETURNS)
def test_what_returns_is_the_same_object_if_it_is_like_it(
    gap: int, mask: Rle, score: float, classes: tuple[float, float], expected: int
) -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {1: row_mask(2, 6)}, (0.9, 0.0))])
    for start in range(1, gap - 1):
        joiner.add([start, start + 1], [])
        settled(joiner, start - 1)
    joiner.add([gap - 1, gap], [Track(5, int(classes[1] > 0), score, {gap: mask}, classes)])

    assert settled(joiner, gap) == {expected: mask}


def test_far_away_it_is_another_object() -> None:
    joiner = Joiner(classes=2)
    left, right = np.zeros((2, 1, 400), np.bool_)
    left[0, :4] = right[0, -4:] = True
    joiner.add([0, 1], [candidate(0, {0: masks.encode(left)})])
    joiner.add([1, 2], [candidate(0, {2: masks.encode(right)})])

    assert settled(joiner, 2) == {2: masks.encode(right)}


def test_a_candidate_without_a_mask_joins_nothing_and_breaks_nothing() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {0: row_mask(2, 6)}), candidate(1, {})])
    joiner.add([1, 2], [candidate(0, {}), candidate(1, {2: row_mask(2, 6)})])

    assert settled(joiner, 2) == {1: row_mask(2, 6)}


def test_two_in_one_place_do_not_both_return_as_one() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {0: row_mask(2, 6)})])
    joiner.add([1, 2], [candidate(0, {2: row_mask(2, 6)}), candidate(1, {2: row_mask(3, 7)})])

    assert settled(joiner, 2) == {1: row_mask(2, 6), 2: row_mask(3, 7)}


def test_of_two_candidates_in_one_place_the_sure_one_is_the_object() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {1: row_mask(0, 8)}, (0.9, 0.0))])
    joiner.add([1, 2], [candidate(0, {1: row_mask(0, 8), 2: row_mask(0, 8)}, (0.1, 0.0)),
                        candidate(1, {1: row_mask(0, 7), 2: row_mask(0, 7)}, (0.9, 0.0))])  # fmt: skip

    assert settled(joiner, 2)[1] == row_mask(0, 7)


def test_touching_windows_are_joined_across_the_cut() -> None:
    joiner = Joiner(classes=2)
    joiner.add([0, 1], [candidate(0, {0: row_mask(0, 4), 1: row_mask(1, 5)})])
    joiner.add([2, 3], [candidate(7, {2: row_mask(2, 6), 3: row_mask(3, 7)})])

    assert settled(joiner, 3) == {1: row_mask(3, 7)}


def test_what_the_joiner_holds_does_not_grow_with_the_video() -> None:
    joiner = Joiner(classes=2)
    held = []
    for start in range(0, 400, 2):
        joiner.add(range(start, start + 5), [candidate(0, {t: row_mask(0, 6) for t in range(start, start + 5)})])
        settled(joiner, start)
        settled(joiner, start + 1)
        held.append((len(joiner._recent), len(joiner._votes), len(joiner._opinions), len(joiner._remembered)))

    assert len(set(held[3:])) == 1


def test_identities_out_of_sight_are_forgotten() -> None:
    joiner = Joiner(classes=9)
    for start in range(0, 400, 2):
        classes = tuple(float(k == start // 2 % 9) for k in range(9))  # never the same object
        joiner.add([start, start + 1], [Track(0, classes.index(1.0), 1.0, {start: row_mask(0, 6)}, classes)])

        assert len(joiner._remembered) <= MEMORY


@pytest.mark.parametrize(("window", "overlap"), [(4, 4), (4, 9), (1, 1)])
def test_an_overlap_as_long_as_the_window_is_refused_with_both_values(window: int, overlap: int) -> None:
    with pytest.raises(
        UsageError, match=rf"overlap must be smaller than the window: `{overlap}` \(window is {window}\)"
    ):
        check(window, overlap)


@pytest.mark.parametrize(("window", "overlap"), [(-1, 0), (3, -1)])
def test_negative_windows_are_refused(window: int, overlap: int) -> None:
    with pytest.raises(UsageError, match="cannot be negative"):
        check(window, overlap)


def test_any_overlap_goes_with_the_whole_video_as_one_window() -> None:
    check(0, 5)


def test_the_model_is_told_the_video() -> None:
    seen: list[VideoInfo] = []

    class Curious(FakeOfflineModel):
        def segment(self, video: VideoInfo, frames: Sequence[object]) -> tuple[Track, ...]:
            seen.append(video)
            return ()

    tracks = moving_rectangles(1, 3, SIZE)
    source = FakeSource.of(tracks)

    follow(Curious(tracks), source, 0, 0)

    assert seen == [source.info]
