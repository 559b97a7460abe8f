"""What every model keeps to: the fakes, and each row of METHODS with its tiny preset and fresh weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest

from vistool import masks
from vistool.methods import METHODS
from vistool.protocols import OfflineModel, OnlineModel, VideoModel
from vistool.testing import CATEGORIES, FakeOfflineModel, FakeOnlineModel, FakeSource, moving_rectangles
from vistool.types import Frame, FramePrediction, RunOptions, Track, VideoInfo

SIZE = (48, 64)
TRACKS = moving_rectangles(3, 6, SIZE, stride=2)
OTHER_TRACKS = moving_rectangles(2, 6, SIZE, stride=2, seed=9)
FAKES = {"fake online": FakeOnlineModel, "fake offline": FakeOfflineModel}

ONLINE = ["fake online", *(name for name, row in METHODS.items() if "online" in row.modes)]
OFFLINE = ["fake offline", *(name for name, row in METHODS.items() if "offline" in row.modes)]


def model(name: str) -> VideoModel:
    """The model called `name`; the same weights each time."""
    if name in FAKES:
        return FAKES[name](TRACKS)
    import torch

    from vistool.weights.checkpoint import Checkpoint, CheckpointInfo

    row = METHODS[name]
    preset = replace(row.recipe().presets["tiny"], num_classes=len(CATEGORIES))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = row.recipe().build(preset).state_dict()
    info = CheckpointInfo(
        method=name,
        preset="tiny",
        sizes=asdict(preset),
        categories=CATEGORIES,
        pixel_mean=(123.675, 116.28, 103.53),
        pixel_std=(58.395, 57.12, 57.375),
        short_side=SIZE[0],
        conf=0.3,
        training_data="none",
        licence="none",
    )
    return row.load(Checkpoint(info, tensors), RunOptions(score_floor=0.0, max_instances=5))


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
