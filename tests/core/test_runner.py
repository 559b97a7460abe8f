"""The runner hands frames on in order, keeps no pixels, and publishes everything or nothing."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from vistool import masks
from vistool.errors import InputError, OutputExistsError, UsageError
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import (
    CATEGORIES,
    FakeOfflineModel,
    FakeOnlineModel,
    FakeSource,
    FakeTracker,
    RecordingWriter,
    draw,
    moving_rectangles,
)
from vistool.types import Frame, FramePrediction, Track, VideoInfo, VideoPrediction

Mode = Literal["online", "offline"]
SIZE = (24, 36)
BOTH_MODES = pytest.mark.parametrize("mode", ["online", "offline"])


def model_for(mode: Mode, tracks: Sequence[Track]) -> FakeOnlineModel | FakeOfflineModel:
    return FakeOnlineModel(tracks) if mode == "online" else FakeOfflineModel(tracks, seed=2)


def drive(mode: Mode, source: FakeSource, tracks: Sequence[Track], *writers: RecordingWriter) -> VideoPrediction:
    return run(source, model_for(mode, tracks), writers, mode=mode, window=4, overlap=2, ranking=Ranking())


@BOTH_MODES
def test_every_frame_is_written_once_and_in_order_by_every_writer(mode: Mode) -> None:
    tracks = moving_rectangles(3, 13, SIZE, stride=5)
    writers = RecordingWriter(), RecordingWriter()

    result = drive(mode, FakeSource.of(tracks), tracks, *writers)

    assert writers[0].frames == writers[1].frames == list(range(0, 65, 5)) == list(result.times_s)
    assert result.times_s[35] == pytest.approx(35 / 25)


@BOTH_MODES
def test_streamed_masks_are_those_of_the_result(mode: Mode) -> None:
    tracks = moving_rectangles(3, 13, SIZE)
    writer = RecordingWriter()

    result = drive(mode, FakeSource.of(tracks), tracks, writer)

    assert writer.masks == {(track.id, index): mask for track in result.tracks for index, mask in track.masks.items()}
    assert len(writer.masks) == 3 * 13


@BOTH_MODES
def test_all_writers_are_given_the_result_and_are_closed(mode: Mode) -> None:
    tracks = moving_rectangles(2, 5, SIZE)
    writers = RecordingWriter(), RecordingWriter()

    result = drive(mode, FakeSource.of(tracks), tracks, *writers)

    assert all(writer.published is result and writer.closed for writer in writers)


@BOTH_MODES
def test_a_second_run_gives_what_the_first_gave(mode: Mode) -> None:
    tracks = moving_rectangles(3, 17, SIZE)

    first, second = (drive(mode, FakeSource.of(tracks), tracks) for _ in range(2))

    assert first == second


def test_the_result_carries_the_video_the_categories_and_the_facts() -> None:
    tracks = moving_rectangles(1, 3, SIZE)
    source, model = FakeSource.of(tracks), FakeOnlineModel(tracks)

    result = run(source, model, mode="online", window=0, overlap=0, ranking=Ranking(), facts={"method": "fake"})

    assert (result.video, result.categories, result.facts) == (source.info, model.categories, {"method": "fake"})


def test_each_frame_is_reported_after_the_writers_have_it() -> None:
    tracks = moving_rectangles(1, 6, SIZE)
    writer = RecordingWriter()
    reported: list[tuple[int, int]] = []

    run(
        FakeSource.of(tracks),
        FakeOfflineModel(tracks),
        [writer],
        mode="offline",
        window=3,
        overlap=1,
        ranking=Ranking(),
        on_frame=lambda frame: reported.append((frame.index, writer.frames[-1])),
    )

    assert reported == [(index, index) for index in range(6)]


@pytest.mark.parametrize(
    ("mode", "window", "overlap", "most"),
    [("online", 0, 0, 2), ("offline", 1, 0, 2), ("offline", 2, 1, 3), ("offline", 5, 0, 6), ("offline", 5, 4, 6)],
)
def test_no_more_pictures_are_held_than_a_window_and_the_one_that_follows(
    mode: Mode, window: int, overlap: int, most: int
) -> None:
    tracks = moving_rectangles(2, 40, SIZE)
    pictures: list[weakref.ref[object]] = []
    held: list[int] = []

    def counted() -> Iterator[Frame]:
        for frame in draw(tracks, range(40), SIZE):
            pictures.append(weakref.ref(frame.image))
            held.append(sum(picture() is not None for picture in pictures))
            yield frame

    run(
        FakeSource(counted(), SIZE),
        model_for(mode, tracks),
        [RecordingWriter()],
        mode=mode,
        window=window,
        overlap=overlap,
        ranking=Ranking(),
    )

    assert len(held) == 40
    assert max(held) == most


class Interrupted(FakeSource):
    """Ctrl-C on the ninth frame."""

    def __iter__(self) -> Iterator[Frame]:
        for position, frame in enumerate(super().__iter__()):
            if position == 8:
                raise KeyboardInterrupt
            yield frame


@BOTH_MODES
def test_ctrl_c_closes_the_writers_and_publishes_nothing(mode: Mode) -> None:
    tracks = moving_rectangles(2, 20, SIZE)
    writer = RecordingWriter()

    with pytest.raises(KeyboardInterrupt):
        drive(mode, Interrupted(draw(tracks, range(20), SIZE), SIZE), tracks, writer)

    assert writer.frames == list(range(len(writer.frames)))
    assert writer.closed
    assert writer.published is None


class FailingWriter(RecordingWriter):
    """Cannot do one of its two jobs."""

    def __init__(self, job: str) -> None:
        super().__init__()
        self._job = job

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        if self._job == "write":
            raise OSError(28, "No space left on device")
        super().write_frame(frame, prediction)

    def finish(self, result: VideoPrediction) -> None:
        if self._job == "finish":
            raise OutputExistsError("output exists: `out.json`")
        super().finish(result)


@BOTH_MODES
def test_a_writer_that_cannot_write_ends_the_run_and_nothing_is_published(mode: Mode) -> None:
    tracks = moving_rectangles(2, 9, SIZE)
    failing, other = FailingWriter("write"), RecordingWriter()

    with pytest.raises(OSError, match="No space left"):
        drive(mode, FakeSource.of(tracks), tracks, other, failing)

    assert other.published is None
    assert other.closed and failing.closed


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_writer_that_cannot_publish_is_reported_after_the_others_have_published(place: int) -> None:
    tracks = moving_rectangles(2, 9, SIZE)
    others = [RecordingWriter(), RecordingWriter()]
    writers = [*others[:place], FailingWriter("finish"), *others[place:]]

    with pytest.raises(OutputExistsError, match=r"out\.json"):
        drive("online", FakeSource.of(tracks), tracks, *writers)

    assert all(other.published is not None for other in others)
    assert all(writer.closed for writer in writers)


@BOTH_MODES
def test_a_video_without_frames_is_an_input_error_that_publishes_nothing(mode: Mode) -> None:
    writer = RecordingWriter()

    with pytest.raises(InputError, match=r"no frames in video: `empty\.mp4`"):
        drive(mode, FakeSource([], SIZE, name="empty.mp4"), moving_rectangles(1, 1, SIZE), writer)

    assert writer.closed
    assert writer.published is None


@BOTH_MODES
def test_a_model_of_the_other_mode_is_refused(mode: Mode) -> None:
    tracks = moving_rectangles(1, 3, SIZE)
    model = model_for("offline" if mode == "online" else "online", tracks)

    with pytest.raises(UsageError, match=f"cannot run {mode}"):
        run(FakeSource.of(tracks), model, mode=mode, window=3, overlap=1, ranking=Ranking())


def test_a_bad_window_is_refused_before_a_frame_is_read() -> None:
    tracks = moving_rectangles(1, 3, SIZE)
    source = Interrupted([], SIZE)

    with pytest.raises(UsageError, match="overlap must be smaller"):
        run(source, FakeOfflineModel(tracks), mode="offline", window=3, overlap=3, ranking=Ranking())


class WaveringModel(FakeOnlineModel):
    """Sure of its only object on even frames, unsure on odd ones; sees nothing of it on frame 2."""

    def begin(self, video: VideoInfo) -> WaveringTracker:  # type: ignore[override]
        return WaveringTracker()


class WaveringTracker:
    def step(self, frame: Frame) -> FramePrediction:
        scores = [0.8, 0.1, 0.1] if frame.index % 2 == 0 else [0.1, 0.2, 0.1]
        mask = np.zeros(SIZE, np.bool_)
        mask[:4, :4] = frame.index != 2
        return FramePrediction(
            frame.index,
            track_ids=np.array([5]),
            labels=np.array([int(np.argmax(scores))]),
            scores=np.array([max(scores)], np.float32),
            masks=(masks.encode(mask),),
            class_scores=np.array([scores], np.float32),
        )


def test_online_scores_are_running_means_and_frames_show_the_standing_at_their_time() -> None:
    writer = RecordingWriter()
    source = FakeSource(draw([], range(5), SIZE), SIZE)

    result = run(source, WaveringModel([]), [writer], mode="online", window=0, overlap=0, ranking=Ranking(conf=0.5))

    streamed = [prediction.scores.tolist() for prediction in writer.predictions]
    assert streamed[0] == pytest.approx([0.8])
    assert streamed[1] == []  # 0.45 is below the threshold at this moment
    assert streamed[2] == []  # not visible
    assert streamed[4] == pytest.approx([0.52])
    (track,) = result.tracks
    assert track.score == pytest.approx(0.52)
    assert sorted(track.masks) == [0, 1, 3, 4]


class Hidden(FakeTracker):
    """Counts what it says on even frames alone; on odd ones it says nonsense."""

    def step(self, frame: Frame) -> FramePrediction:
        found = super().step(frame)
        counts = np.full(len(found.track_ids), frame.index % 2 == 0)
        return replace(found, scores=np.where(counts, found.scores, 0).astype(np.float32), judged=counts)


def test_rows_that_do_not_count_have_a_mask_and_no_opinion() -> None:
    tracks = moving_rectangles(2, 6, SIZE)
    model = FakeOnlineModel(tracks)
    model.begin = lambda video: Hidden(tracks)  # type: ignore[method-assign]

    result = run(FakeSource.of(tracks), model, mode="online", window=0, overlap=0, ranking=Ranking())

    assert [track.score for track in result.tracks] == pytest.approx([0.9, 0.9])
    assert [sorted(track.masks) for track in result.tracks] == [list(range(6))] * 2


def test_what_the_ranking_leaves_out_is_neither_streamed_nor_told() -> None:
    tracks = moving_rectangles(3, 6, SIZE)
    writer = RecordingWriter()
    ranking = Ranking(labels=frozenset({tracks[0].label}))

    result = run(
        FakeSource.of(tracks), FakeOnlineModel(tracks), [writer], mode="online", window=0, overlap=0, ranking=ranking
    )

    assert [track.id for track in result.tracks] == [1]
    assert {track_id for track_id, _ in writer.masks} == {1}


class FakeClipTracker:
    """Knows the tracks beforehand. `clips` records the frames of each call."""

    def __init__(self, tracks: Sequence[Track], withdrawn: frozenset[int]) -> None:
        self._tracker = FakeTracker(tracks)
        self._withdrawn = withdrawn
        self.clips: list[list[int]] = []

    def segment(self, frames: Sequence[Frame]) -> list[FramePrediction]:
        self.clips.append([frame.index for frame in frames])
        return [self._tracker.step(frame) for frame in frames]

    def withdrawn(self) -> frozenset[int]:
        return self._withdrawn


class FakeClipModel:
    """Follows objects from clip to clip itself."""

    categories = CATEGORIES

    def __init__(self, tracks: Sequence[Track], withdrawn: frozenset[int] = frozenset()) -> None:
        self.tracker = FakeClipTracker(tracks, withdrawn)
        self.window: int | None = None

    def begin_clips(self, video: VideoInfo, window: int) -> FakeClipTracker:
        self.window = window
        return self.tracker


def run_clips(model: FakeClipModel, source: FakeSource, window: int, *writers: RecordingWriter) -> VideoPrediction:
    return run(source, model, writers, mode="offline", window=window, overlap=0, ranking=Ranking())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("window", "clips"),
    [(4, [[0, 1, 2, 3], [4, 5, 6, 7], [8]]), (1, [[t] for t in range(9)]), (0, [[*range(9)]]), (20, [[*range(9)]])],
)
def test_a_model_that_follows_objects_itself_sees_every_frame_in_one_clip(window: int, clips: list[list[int]]) -> None:
    tracks = moving_rectangles(2, 9, SIZE)
    model, writer = FakeClipModel(tracks), RecordingWriter()

    result = run_clips(model, FakeSource.of(tracks), window, writer)

    assert (model.window, model.tracker.clips) == (window, clips)
    assert writer.frames == list(range(9))
    assert writer.masks == {(track.id, index): mask for track in tracks for index, mask in track.masks.items()}
    assert [(track.id, dict(track.masks)) for track in result.tracks] == [(t.id, dict(t.masks)) for t in tracks]


@pytest.mark.parametrize("window", [1, 5])
def test_no_more_pictures_are_held_than_a_clip(window: int) -> None:
    pictures: list[weakref.ref[object]] = []
    held: list[int] = []

    def counted() -> Iterator[Frame]:
        for frame in draw(moving_rectangles(2, 40, SIZE), range(40), SIZE):
            pictures.append(weakref.ref(frame.image))
            held.append(sum(picture() is not None for picture in pictures))
            yield frame

    run_clips(FakeClipModel(moving_rectangles(2, 40, SIZE)), FakeSource(counted(), SIZE), window, RecordingWriter())

    assert len(held) == 40
    assert max(held) == window


def test_what_a_clip_says_of_a_track_is_known_from_its_first_frame_on() -> None:
    writer = RecordingWriter()
    model = FakeClipModel([])
    model.tracker._tracker = WaveringTracker()  # type: ignore[assignment]

    run_clips(model, FakeSource(draw([], range(2), SIZE), SIZE), 2, writer)

    assert [prediction.scores.tolist() for prediction in writer.predictions] == [pytest.approx([0.45])] * 2


def test_clips_that_share_frames_are_refused() -> None:
    tracks = moving_rectangles(1, 3, SIZE)

    with pytest.raises(UsageError, match="share no frames: `1`"):
        run(FakeSource.of(tracks), FakeClipModel(tracks), mode="offline", window=3, overlap=1, ranking=Ranking())  # type: ignore[arg-type]


class SecondThoughts(FakeOnlineModel):
    """Withdraws its last track at the end."""

    def begin(self, video: VideoInfo) -> FakeTracker:
        tracker = super().begin(video)
        tracker.withdrawn = lambda: {3}  # type: ignore[attr-defined]
        return tracker


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_withdrawn_track_was_streamed_but_is_not_told(mode: Mode) -> None:
    tracks = moving_rectangles(3, 6, SIZE)
    writer = RecordingWriter()
    model = SecondThoughts(tracks) if mode == "online" else FakeClipModel(tracks, withdrawn=frozenset({3}))

    result = run(FakeSource.of(tracks), model, [writer], mode=mode, window=4, overlap=0, ranking=Ranking())  # type: ignore[arg-type]

    assert {track_id for track_id, _ in writer.masks} == {1, 2, 3}
    assert [track.id for track in result.tracks] == [1, 2]


class Undecided(FakeTracker):
    """Gives every track a score for every class, and withdraws the last."""

    def step(self, frame: Frame) -> FramePrediction:
        found = super().step(frame)
        scores = np.tile(np.array([0.9, 0.5, 0.4], np.float32), (len(found.track_ids), 1))
        return replace(found, labels=scores.argmax(1), scores=scores.max(1), class_scores=scores)

    def withdrawn(self) -> set[int]:
        return {2}


def test_no_number_of_a_withdrawn_track_is_used_again() -> None:
    tracks = moving_rectangles(2, 6, SIZE)
    online = FakeOnlineModel(tracks)
    online.begin = lambda video: Undecided(tracks)  # type: ignore[method-assign]

    result = run(FakeSource.of(tracks), online, mode="online", window=0, overlap=0, ranking=Ranking(protocol="ytvis"))

    assert [track.id for track in result.tracks] == [1, 3, 4]
