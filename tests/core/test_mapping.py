"""A model in another list of classes: what it finds stays, what it is called changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vistool.mapping import map_classes
from vistool.protocols import VideoModel
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import FakeOfflineModel, FakeOnlineModel, FakeSource, moving_rectangles
from vistool.types import Category, Frame, FramePrediction, Rle, Track, VideoInfo

SOURCE = (Category(1, "bicycle"), Category(2, "car"), Category(3, "truck"), Category(62, "chair"))
TARGET = (Category(5, "vehicle"), Category(9, "bicycle"), Category(11, "person"))
ROWS = {0: 1, 1: 0, 2: 0}  # the chair leads nowhere, the person has no source
MASKS = {0: Rle((4, 5), b"5220003"), 2: Rle((4, 5), b"5220003")}
TRACKS = moving_rectangles(3, 6)
VIDEO = FakeSource.of(TRACKS).info


def track(track_id: int, *class_scores: float) -> Track:
    label = int(np.argmax(class_scores))
    return Track(track_id, label, class_scores[label], MASKS, class_scores)


class Told:
    """Runs either way and says what it was given."""

    categories = SOURCE

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tuple(tracks)

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        return self.tracks

    def begin(self, video: VideoInfo) -> Told:
        return self

    def step(self, frame: Frame) -> FramePrediction:
        scored = all(track.class_scores is not None for track in self.tracks)
        scores = np.array([track.class_scores for track in self.tracks] if scored else [], np.float32)
        return FramePrediction(
            frame.index,
            track_ids=np.array([track.id for track in self.tracks], np.int64),
            labels=np.array([track.label for track in self.tracks], np.int64),
            scores=np.array([track.score for track in self.tracks], np.float32),
            masks=tuple(track.masks[0] for track in self.tracks),
            class_scores=scores.reshape(-1, len(SOURCE)) if scored else None,
        )


class ToldInClips:
    """The tracker of `Clips`."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.told = Told(tracks)

    def segment(self, frames: Sequence[Frame]) -> list[FramePrediction]:
        return [self.told.step(frame) for frame in frames]

    def step(self, frame: Frame) -> FramePrediction:
        return self.told.step(frame)

    def withdrawn(self) -> set[int]:
        return {2}


class Clips:
    """Says what it was given clip by clip, and withdraws a track."""

    categories = SOURCE

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tracks

    def begin_clips(self, video: VideoInfo, window: int) -> ToldInClips:
        return ToldInClips(self.tracks)


class OnlineAndClips(Clips):
    def begin(self, video: VideoInfo) -> ToldInClips:
        return ToldInClips(self.tracks)


def offline(tracks: Sequence[Track], rows: Mapping[int, int] = ROWS) -> tuple[Track, ...]:
    mapped = map_classes(Told(tracks), TARGET, rows)
    return mapped.segment(VIDEO, [])  # type: ignore[union-attr]


def online(tracks: Sequence[Track], rows: Mapping[int, int] = ROWS) -> FramePrediction:
    mapped = map_classes(Told(tracks), TARGET, rows)
    return mapped.begin(VIDEO).step(Frame(7, 0.5, np.zeros((4, 5, 3), np.uint8)))  # type: ignore[union-attr]


def test_a_class_scores_as_its_surest_source_and_the_best_class_is_the_label() -> None:
    (mapped,) = offline([track(3, 0.5, 0.6, 0.7, 0.2)])

    assert mapped.class_scores == (0.7, 0.5, 0.0)
    assert (mapped.id, mapped.label, mapped.score, mapped.masks) == (3, 0, 0.7, MASKS)


def test_sure_sources_do_not_add_up() -> None:
    (mapped,) = offline([track(1, 0.0, 0.9, 0.9, 0.0)])

    assert mapped.score == 0.9


def test_what_is_none_of_the_classes_is_left_out() -> None:
    tracks = [track(1, 0.0, 0.0, 0.0, 0.9), track(2, 0.1, 0.0, 0.0, 0.9)]

    assert [(each.id, each.label, each.score) for each in offline(tracks)] == [(2, 1, 0.1)]
    assert online(tracks).track_ids.tolist() == [2]


def test_a_lone_label_leads_to_its_class_or_nowhere() -> None:
    tracks = [Track(1, 3, 0.9, MASKS), Track(2, 2, 0.8, MASKS)]

    (mapped,), frame = offline(tracks), online(tracks)

    assert mapped == Track(2, 0, 0.8, MASKS)
    assert (frame.track_ids.tolist(), frame.labels.tolist(), frame.class_scores) == ([2], [0], None)
    assert frame.scores.tolist() == [np.float32(0.8)]


@pytest.mark.parametrize("tracks", [[], [track(1, 0.2, 0.1, 0.1, 0.6)]], ids=["nothing", "something"])
def test_lists_without_a_common_class_leave_nothing(tracks: list[Track]) -> None:
    assert offline(tracks, {}) == ()
    assert len(online(tracks, {}).track_ids) == 0


def test_a_row_that_does_not_count_still_does_not() -> None:
    told = Told([track(1, 0.0, 0.0, 0.0, 0.9), track(2, 0.4, 0.0, 0.0, 0.0), track(3, 0.4, 0.0, 0.0, 0.0)])
    plain = told.step(Frame(0, 0.0, np.zeros((4, 5, 3), np.uint8)))
    told.step = lambda frame: replace(plain, judged=np.array([True, False, True]))  # type: ignore[method-assign]

    mapped = map_classes(told, TARGET, ROWS).begin(VIDEO).step(Frame(0, 0.0, np.zeros((4, 5, 3), np.uint8)))  # type: ignore[union-attr]

    assert mapped.track_ids.tolist() == [2, 3]
    assert mapped.judged is not None
    assert mapped.judged.tolist() == [False, True]


def test_a_frame_keeps_its_index_and_every_row_its_mask() -> None:
    frame = online([track(4, 0.0, 0.0, 0.0, 1.0), track(8, 0.3, 0.1, 0.2, 0.0)])

    assert (frame.frame_index, frame.masks) == (7, (MASKS[0],))
    np.testing.assert_allclose(frame.class_scores, [[0.2, 0.3, 0.0]], rtol=1e-6)  # type: ignore[arg-type]
    assert (frame.labels.tolist(), frame.scores.tolist()) == ([1], [np.float32(0.3)])


score_rows = st.lists(st.tuples(*[st.floats(0, 1, width=32)] * len(SOURCE)), max_size=5)


@given(score_rows, st.dictionaries(st.integers(0, 3), st.integers(0, 2)))
def test_both_modes_say_the_same(rows: list[tuple[float, ...]], mapping: dict[int, int]) -> None:
    tracks = [track(number, *scores) for number, scores in enumerate(rows)]

    tracks_found, frame = offline(tracks, mapping), online(tracks, mapping)

    assert [each.id for each in tracks_found] == frame.track_ids.tolist()
    assert [each.label for each in tracks_found] == frame.labels.tolist()
    assert [each.score for each in tracks_found] == frame.scores.tolist()


@given(score_rows)
def test_the_same_list_of_classes_changes_nothing(rows: list[tuple[float, ...]]) -> None:
    tracks = tuple(track(number, *scores) for number, scores in enumerate(rows) if max(scores) > 0)

    mapped = map_classes(Told(tracks), SOURCE, {row: row for row in range(len(SOURCE))})

    assert mapped.segment(VIDEO, []) == tracks  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("model", "capabilities"),
    [
        (FakeOnlineModel(TRACKS), {"begin"}),
        (FakeOfflineModel(TRACKS), {"segment"}),
        (Told(()), {"begin", "segment"}),
        (Clips(()), {"begin_clips"}),
        (OnlineAndClips(()), {"begin", "begin_clips"}),
    ],
    ids=["online", "offline", "both", "clips", "online and clips"],
)
def test_a_model_keeps_its_modes_and_gets_the_classes(model: VideoModel, capabilities: set[str]) -> None:
    mapped = map_classes(model, TARGET, {0: 1})

    assert {name for name in ("begin", "segment", "begin_clips") if hasattr(mapped, name)} == capabilities
    assert mapped.categories == TARGET


def test_a_mapped_model_runs_and_tells_the_classes_that_are_left() -> None:
    model = map_classes(FakeOfflineModel(TRACKS), TARGET, {TRACKS[0].label: 2})
    source = FakeSource.of(TRACKS)

    result = run(source, model, mode="offline", window=4, overlap=2, ranking=Ranking(conf=0.5))

    assert result.categories == TARGET
    assert [(each.label, dict(each.masks)) for each in result.tracks] == [(2, dict(TRACKS[0].masks))]


@pytest.mark.parametrize("rows", [{4: 0}, {0: 3}, {-1: 0}], ids=["source", "target", "negative"])
def test_rows_that_are_not_there_are_refused(rows: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="no such rows"):
        map_classes(Told(()), TARGET, rows)


@pytest.mark.parametrize("way", ["begin", "begin_clips"])
def test_what_is_withdrawn_stays_so(way: str) -> None:
    mapped = map_classes(OnlineAndClips([]), TARGET, ROWS)

    tracker = mapped.begin(VIDEO) if way == "begin" else mapped.begin_clips(VIDEO, 4)  # type: ignore[union-attr]

    assert tracker.withdrawn() == {2}  # type: ignore[union-attr]


def test_clips_are_translated_frame_by_frame() -> None:
    tracks = [track(3, 0.5, 0.6, 0.7, 0.2), track(4, 0.0, 0.0, 0.0, 0.9)]
    frames = [Frame(t, t / 25, np.zeros((4, 5, 3), np.uint8)) for t in range(3)]

    found = map_classes(Clips(tracks), TARGET, ROWS).begin_clips(VIDEO, 3).segment(frames)  # type: ignore[union-attr]

    assert [(each.frame_index, each.track_ids.tolist(), each.labels.tolist()) for each in found] == [
        (t, [3], [0]) for t in range(3)
    ]
