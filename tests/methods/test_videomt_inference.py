"""From VidEoMT's outputs to tracks: masks, identities, floor, and what belongs to one video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vistool import masks
from vistool.errors import InputError, UsageError
from vistool.methods import METHODS, find_recipe
from vistool.methods.videomt import inference
from vistool.methods.videomt.checkpoint import convert
from vistool.methods.videomt.inference import Videomt, load, probe
from vistool.methods.videomt.network import FrameOutput, empty_network
from vistool.methods.videomt.presets import PRESETS
from vistool.protocols import OnlineTracker
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import FakeSource, moving_rectangles
from vistool.types import CANDIDATE_SHARE, Frame, FramePrediction, RunOptions, VideoInfo
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.foreign import Foreign

Saying = Callable[..., FramePrediction]
DEFAULTS = RunOptions()
PRESET = PRESETS["tiny"]
SIZES_HW = [(48, 80), (90, 37), (7, 211), (16, 16)]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The tiny preset with random weights, the same each time."""
    network = empty_network(PRESET)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network.init_weights()
    return convert(Foreign(network.state_dict(), network.config.to_dict()), "transformers-videomt")


def video(size_hw: tuple[int, int] = (48, 80), frames: int = 5, seed: int = 0) -> tuple[VideoInfo, list[Frame]]:
    """Noise on which every frame differs from the one before."""
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (*size_hw, 3), np.uint8) for _ in range(frames)]
    listed = [Frame(index, index / 25, picture) for index, picture in enumerate(pictures)]
    return VideoInfo("film", size_hw, Fraction(25), frames), listed


def rows(prediction: FramePrediction) -> list[tuple[object, ...]]:
    ids, labels, scores = prediction.track_ids, prediction.labels, prediction.scores
    return list(zip(ids.tolist(), labels.tolist(), scores.tolist(), prediction.masks, strict=True))


def passed(tracker: OnlineTracker, frames: Sequence[Frame]) -> list[list[tuple[object, ...]]]:
    return [rows(tracker.step(frame)) for frame in frames]


def test_a_prediction_does_not_change_when_later_frames_do(checkpoint: Checkpoint) -> None:
    model = load(checkpoint, RunOptions(score_floor=0.0))
    info, frames = video()
    other_end = frames[:3] + video(seed=1)[1][3:]

    one, other = passed(model.begin(info), frames), passed(model.begin(info), other_end)

    assert one[:3] == other[:3]
    assert one[3:] != other[3:]


def test_what_was_seen_before_has_a_say(checkpoint: Checkpoint) -> None:
    model = load(checkpoint, RunOptions(score_floor=0.0))
    info, frames = video()

    assert passed(model.begin(info), frames)[-1:] != passed(model.begin(info), frames[-1:])


def test_each_video_starts_anew(checkpoint: Checkpoint) -> None:
    model = load(checkpoint, RunOptions(score_floor=0.0))
    info, frames = video()
    first = passed(model.begin(info), frames)
    passed(model.begin(info), video(seed=1)[1])

    assert passed(model.begin(info), frames) == first


def test_the_tracker_says_what_a_probe_says(checkpoint: Checkpoint) -> None:
    size = (PRESET.image_size, PRESET.image_size)
    info, frames = video(size)
    normalised = np.stack([frame.image for frame in frames]) - np.array(checkpoint.info.pixel_mean)
    normalised /= np.array(checkpoint.info.pixel_std)

    last = passed(load(checkpoint, RunOptions(score_floor=0.0)).begin(info), frames)[-1]
    probed = probe(checkpoint, {"frames": normalised.transpose(0, 3, 1, 2)})

    scores = torch.from_numpy(probed["class_logits"][-1]).softmax(-1)[:, :-1].amax(1)
    assert [score for _, _, score, _ in last] == pytest.approx(scores.tolist(), abs=1e-5)
    full = F.interpolate(torch.from_numpy(probed["mask_logits"][-1:]), size, mode="bilinear")[0] > 0
    assert (np.stack([masks.decode(rle) for *_, rle in last]) == full.numpy()).mean() > 0.999


def test_mixed_precision_says_nearly_the_same_and_keeps_the_queries_whole(checkpoint: Checkpoint) -> None:
    info, frames = video()
    mixed = load(checkpoint, RunOptions(score_floor=0.0, precision="bf16")).begin(info)

    exact, near = (
        {slot: score for frame in passed(each, frames) for slot, _, score, _ in frame}
        for each in (load(checkpoint, RunOptions(score_floor=0.0)).begin(info), mixed)
    )

    assert near != exact
    assert near == pytest.approx(exact, abs=0.03)
    assert mixed._queries is not None
    assert mixed._queries.dtype == torch.float32


def test_tracks_of_a_whole_run_are_slots(checkpoint: Checkpoint) -> None:
    source = FakeSource.of(moving_rectangles(3, 6, (48, 64)))
    model = load(checkpoint, RunOptions(score_floor=0.0))

    result = run(source, model, mode="online", window=0, overlap=0, ranking=Ranking(conf=0.0))

    assert result.tracks
    assert {track.id for track in result.tracks} <= set(range(1, PRESET.num_queries + 1))
    assert max(len(track.masks) for track in result.tracks) == 6


@pytest.fixture
def saying(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> Saying:
    """The prediction for one frame of a size, were the network to say this of it.

    Slot q is `probs[q]` sure to be of class q modulo K; the rest of it is no object.
    """

    def prediction(
        probs: Sequence[float],
        mask_logits: Tensor,
        options: RunOptions = DEFAULTS,
        size_hw: tuple[int, int] = (48, 80),
    ) -> FramePrediction:
        class_probs = torch.full((len(probs), PRESET.num_classes + 1), 1e-9)
        for slot, prob in enumerate(probs):
            class_probs[slot, slot % PRESET.num_classes] = prob
            class_probs[slot, -1] = 1 - prob
        said = FrameOutput(class_probs.log(), mask_logits, torch.zeros(len(probs), 4))
        monkeypatch.setattr(inference, "step", lambda *_: said)
        info, frames = video(size_hw, frames=1)
        return load(checkpoint, options).begin(info).step(frames[0])

    return prediction


def test_slots_are_kept_from_the_floor_on_best_first(saying: Saying) -> None:
    found = saying([0.3, 0.9, 0.19, 0.6], torch.ones(4, 16, 16), RunOptions(score_floor=0.2))

    assert found.track_ids.tolist() == [2, 4, 1]
    assert found.labels.tolist() == [1, 3, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.3])
    assert found.class_scores is not None
    assert found.class_scores.shape == (3, PRESET.num_classes)


def test_without_a_floor_it_is_a_share_of_the_threshold_of_the_weights(saying: Saying, checkpoint: Checkpoint) -> None:
    at = CANDIDATE_SHARE * checkpoint.info.conf

    found = saying([at - 0.01, at + 0.01], torch.ones(2, 16, 16))

    assert found.track_ids.tolist() == [2]


@pytest.mark.parametrize(("most", "kept"), [(2, 2), (None, 50)])
def test_no_more_are_kept_than_asked_for(saying: Saying, most: int | None, kept: int) -> None:
    probs = np.linspace(0.5, 0.9, 60).tolist()

    found = saying(probs, torch.ones(60, 16, 16), RunOptions(max_instances=most))

    assert found.track_ids.tolist() == list(range(60, 60 - kept, -1))


def test_with_a_floor_of_nothing_every_slot_is_judged_on_every_frame(saying: Saying) -> None:
    """So that a track's score under the benchmark's ranking is the mean over the whole video, as published."""
    logits = torch.ones(4, 16, 16)
    logits[2] = -1

    found = saying([0.001, 0.9, 0.8, 0.5], logits, RunOptions(score_floor=0.0, max_instances=3))

    assert found.track_ids.tolist() == [1, 2, 3, 4]
    assert found.scores.tolist() == pytest.approx([0.001, 0.9, 0.8, 0.5])
    assert [masks.area(rle) > 0 for rle in found.masks] == [False, True, False, True]


def test_a_slot_without_a_pixel_is_not_on_the_frame(saying: Saying) -> None:
    logits = torch.ones(3, 16, 16)
    logits[1] = -1

    found = saying([0.5, 0.9, 0.6], logits)

    assert found.track_ids.tolist() == [3, 1]


@pytest.mark.parametrize("probs", [[0.001, 0.002], [0.9, 0.9]], ids=["none is likely", "none has a pixel"])
def test_a_frame_on_which_nothing_is_seen_is_no_failure(saying: Saying, probs: list[float]) -> None:
    found = saying(probs, torch.full((2, 16, 16), -1.0))

    assert rows(found) == []
    assert found.class_scores is not None
    assert found.class_scores.shape == (0, PRESET.num_classes)


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=lambda size: "x".join(map(str, size)))
def test_masks_are_stretched_back_over_the_whole_picture(saying: Saying, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    logits = torch.full((3, 16, 16), -1.0)
    logits[0, :, :8] = 1  # left half
    logits[1, 8:] = 1  # lower half
    logits[2] = 1

    found = saying([0.9, 0.8, 0.7], logits, size_hw=size_hw)

    left, lower, whole = (masks.decode(rle) for rle in found.masks)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    assert np.array_equal(left[:, x != width / 2], np.tile(x < width / 2, (height, 1))[:, x != width / 2])
    assert np.array_equal(lower[y != height / 2], np.tile(y[:, None] > height / 2, (1, width))[y != height / 2])
    assert whole.all()


def test_a_size_that_the_weights_have_no_positions_for_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match="--size"):
        load(checkpoint, RunOptions(short_side=PRESET.image_size // 2))


def test_the_size_of_the_weights_is_accepted(checkpoint: Checkpoint) -> None:
    assert isinstance(load(checkpoint, RunOptions(short_side=PRESET.image_size)), Videomt)


@pytest.mark.parametrize("shape", [(2, 3, 64, 32), (2, 3, 128, 128)])
def test_a_probe_with_frames_of_another_size_is_refused(checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="do not fit"):
        probe(checkpoint, {"frames": np.zeros(shape, np.float32)})


def test_a_method_without_a_recipe_says_which_can_be_trained() -> None:
    with pytest.raises(UsageError, match="cannot be trained: `videomt`") as caught:
        find_recipe("videomt")

    assert caught.value.hint is not None
    able = {name for name, row in METHODS.items() if row.recipe is not None}
    assert set(caught.value.hint.removeprefix("these can: ").split(", ")) == able


def test_the_file_says_what_the_network_sees(checkpoint: Checkpoint) -> None:
    """Whatever prints the size of the input finds the side of the square there."""
    larger = replace(PRESET, image_size=96)

    converted = convert(Foreign(empty_network(larger).state_dict()), "transformers-videomt")

    assert checkpoint.info.short_side == PRESET.image_size
    assert converted.info.short_side == converted.info.sizes["image_size"] == 96
