"""What every model keeps to: the fakes, and each row of METHODS with its tiny preset and fresh weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from vistool import masks
from vistool.methods import METHODS, Mode
from vistool.protocols import ClipModel, OfflineModel, OnlineModel, VideoModel
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import CATEGORIES, FakeOfflineModel, FakeOnlineModel, FakeSource, moving_rectangles
from vistool.types import Frame, FramePrediction, RunOptions, Track, VideoInfo

SIZE = (48, 64)
TRACKS = moving_rectangles(3, 6, SIZE, stride=2)
OTHER_TRACKS = moving_rectangles(2, 6, SIZE, stride=2, seed=9)
FAKES = {"fake online": FakeOnlineModel, "fake offline": FakeOfflineModel}

CLIPS = ["refinevis"]
"""Methods that follow objects from clip to clip themselves: offline they give frames under lasting ids, not windows."""

ONLINE = ["fake online", *(name for name, row in METHODS.items() if "online" in row.modes)]
OFFLINE = ["fake offline", *(name for name, row in METHODS.items() if "offline" in row.modes and name not in CLIPS)]
EVERY_MODE = [*((name, "online") for name in ONLINE), *((name, "offline") for name in [*OFFLINE, *CLIPS])]


def tiny_videomt() -> tuple[Any, Mapping[str, Any]]:
    from vistool.methods.videomt.network import empty_network
    from vistool.methods.videomt.presets import PRESETS

    preset = replace(PRESETS["tiny"], num_classes=len(CATEGORIES))
    network = empty_network(preset)
    network.init_weights()
    return preset, network.state_dict()


UNTRAINED = {"videomt": tiny_videomt}
"""Of methods without a recipe: sizes and fresh weights."""


def tiny(name: str) -> tuple[Any, Mapping[str, Any]]:
    """Sizes and fresh weights of a row, the same each time."""
    import torch

    from vistool.nn.training_only import kept

    recipe = METHODS[name].recipe
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if recipe is None:
            return UNTRAINED[name]()
        preset = replace(recipe().presets["tiny"], num_classes=len(CATEGORIES))
        return preset, kept(recipe().build(preset))


def model(name: str, **options: Any) -> VideoModel:
    """The model called `name`; the same weights each time."""
    if name in FAKES:
        return FAKES[name](TRACKS)
    from vistool.weights.checkpoint import Checkpoint, CheckpointInfo

    preset, tensors = tiny(name)
    info = CheckpointInfo(
        method=name,
        preset="tiny",
        sizes=asdict(preset),
        categories=CATEGORIES,
        pixel_mean=(123.675, 116.28, 103.53),
        pixel_std=(58.395, 57.12, 57.375),
        short_side=getattr(preset, "image_size", SIZE[0]),  # of a network for pictures of one size
        conf=0.3,
        training_data="none",
        licence="none",
    )
    return METHODS[name].load(
        Checkpoint(info, tensors), RunOptions(**{"score_floor": 0.0, "max_instances": 5} | options)
    )


def video(tracks: Sequence[Track] = TRACKS) -> tuple[VideoInfo, list[Frame]]:
    source = FakeSource.of(tracks)
    return source.info, list(source)


def online_pass(one: OnlineModel, frames: Sequence[Frame]) -> list[FramePrediction]:
    tracker = one.begin(video()[0])
    return [tracker.step(frame) for frame in frames]


def as_rows(prediction: FramePrediction) -> list[tuple[object, ...]]:
    return list(
        zip(
            prediction.track_ids.tolist(),
            prediction.labels.tolist(),
            prediction.scores.tolist(),
            prediction.masks,
            strict=True,
        )
    )


@pytest.mark.parametrize("name", ONLINE)
def test_an_online_prediction_is_of_its_frame_and_at_its_size(name: str) -> None:
    one = model(name)
    frames = video()[1]

    predictions = online_pass(one, frames)  # type: ignore[arg-type]

    assert [prediction.frame_index for prediction in predictions] == [frame.index for frame in frames]
    assert all(mask.size_hw == SIZE for prediction in predictions for mask in prediction.masks)
    labels = np.concatenate([prediction.labels for prediction in predictions])
    scores = np.concatenate([prediction.scores for prediction in predictions])
    assert np.isin(labels, range(len(one.categories))).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("name", ONLINE)
def test_an_online_prediction_ignores_the_future(name: str) -> None:
    frames = video()[1]
    other_end = frames[:3] + video(OTHER_TRACKS)[1][3:]

    one, other = online_pass(model(name), frames), online_pass(model(name), other_end)  # type: ignore[arg-type]

    assert [as_rows(p) for p in one[:3]] == [as_rows(p) for p in other[:3]]


@pytest.mark.parametrize("name", ONLINE)
def test_two_videos_at_once_do_not_meet(name: str) -> None:
    one = model(name)
    info, frames = video()
    first, second = one.begin(info), one.begin(info)  # type: ignore[union-attr]

    pairs = [(first.step(frame), second.step(frame)) for frame in frames]

    assert [as_rows(a) for a, _ in pairs] == [as_rows(b) for _, b in pairs]


@pytest.mark.parametrize("name", OFFLINE)
def test_offline_candidates_are_told_apart_and_seen_on_the_frames_given(name: str) -> None:
    one: OfflineModel = model(name)  # type: ignore[assignment]
    info, frames = video()

    tracks = one.segment(info, frames)

    assert len({track.id for track in tracks}) == len(tracks)
    assert all(0 <= track.label < len(one.categories) and 0 <= track.score <= 1 for track in tracks)
    assert all(track.class_scores is None or len(track.class_scores) == len(one.categories) for track in tracks)
    seen = [(index, mask) for track in tracks for index, mask in track.masks.items()]
    assert {index for index, _ in seen} <= {frame.index for frame in frames}
    assert all(mask.size_hw == SIZE and masks.area(mask) > 0 for _, mask in seen)


@pytest.mark.parametrize("name", OFFLINE)
def test_the_same_frames_give_the_same_candidates(name: str) -> None:
    one: OfflineModel = model(name)  # type: ignore[assignment]
    info, frames = video()

    first = one.segment(info, frames)
    one.segment(info, frames[:2])

    assert one.segment(info, frames) == first


@pytest.mark.parametrize("name", CLIPS)
def test_predictions_of_clips_are_of_their_frames_and_ignore_later_clips(name: str) -> None:
    one: ClipModel = model(name)  # type: ignore[assignment]
    info, frames = video()
    other = [*frames[:2], *video(OTHER_TRACKS)[1][2:]]

    first, second = one.begin_clips(info, 2), one.begin_clips(info, 2)
    told = [prediction for t in (0, 2, 4) for prediction in first.segment(frames[t : t + 2])]
    told_otherwise = [prediction for t in (0, 2, 4) for prediction in second.segment(other[t : t + 2])]

    assert [prediction.frame_index for prediction in told] == [frame.index for frame in frames]
    assert all(mask.size_hw == SIZE for prediction in told for mask in prediction.masks)
    assert [as_rows(p) for p in told[:2]] == [as_rows(p) for p in told_otherwise[:2]]


@pytest.mark.parametrize("name", ONLINE)
def test_a_track_has_an_opinion_on_every_class_or_on_one(name: str) -> None:
    predictions = online_pass(model(name), video()[1])  # type: ignore[arg-type]

    scored = [prediction for prediction in predictions if prediction.class_scores is not None]
    assert len(scored) in (0, len(predictions))
    for prediction in scored:
        assert prediction.class_scores.shape == (len(prediction.labels), len(CATEGORIES))  # type: ignore[union-attr]
        np.testing.assert_array_equal(prediction.class_scores.argmax(1), prediction.labels)  # type: ignore[union-attr]
        np.testing.assert_array_equal(prediction.class_scores.max(1), prediction.scores)  # type: ignore[union-attr]


@pytest.mark.parametrize("floor", [None, 0.0], ids=["its own floor", "no floor"])
@pytest.mark.parametrize(("name", "mode"), EVERY_MODE, ids=[f"{name}, {mode}" for name, mode in EVERY_MODE])
def test_every_mode_of_every_row_runs(name: str, mode: Mode, floor: float | None) -> None:
    one = model(name, score_floor=floor)

    overlap = 0 if name in CLIPS else 2
    result = run(FakeSource.of(TRACKS), one, mode=mode, window=4, overlap=overlap, ranking=Ranking(conf=0.0))

    assert result.categories == one.categories
    assert list(result.times_s) == [0, 2, 4, 6, 8, 10]
    assert all(track.id >= 1 and set(track.masks) <= set(result.times_s) for track in result.tracks)
    assert all(mask.size_hw == SIZE for track in result.tracks for mask in track.masks.values())
