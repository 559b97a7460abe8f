"""A video frame by frame, under an image model that reads from a script what is there."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iai_fakes import INFO, PRESET, SIZE, Script, Shot, letterbox, numbered, picture, place, scripted
from torch import Tensor

from vistool import masks
from vistool.methods.iai.network import Iai
from vistool.methods.iai.online import OnlineTracker, VideoPass, rules_of_run
from vistool.methods.iai.presets import PRESETS
from vistool.methods.telling import MeanOverVideo
from vistool.ranking import Ranking, Standings
from vistool.runner import run
from vistool.testing import FakeSource
from vistool.types import FramePrediction, RunOptions, VideoPrediction

BENCHMARK, PEOPLE = RunOptions(score_floor=0.0), RunOptions()


def known(number: int, at: int, **shot: Any) -> Shot:
    """An object that the head knows by identity `number`."""
    return Shot(place(at), {number: 0.9}, **shot)


def new(at: int, **shot: Any) -> Shot:
    return Shot(place(at), **shot)


WALK: Script = [
    [new(0, label=1), new(7)],
    [known(0, 1, label=1), known(1, 7), new(12)],
    [known(2, 12), known(0, 2, label=1)],
    [known(1, 8), known(0, 3, label=1)],
]


def told(script: Script, options: RunOptions = BENCHMARK, **rules: Any) -> list[FramePrediction]:
    tracker = OnlineTracker(scripted(script, **rules), INFO, options)
    return [tracker.step(numbered(number)) for number in range(len(script))]


def as_rows(prediction: FramePrediction) -> list[tuple[object, ...]]:
    return list(zip(prediction.track_ids.tolist(), prediction.scores.tolist(), prediction.masks, strict=True))


def places(prediction: FramePrediction) -> dict[int, int]:
    """Track id → which of the boxes of `place` its mask fills."""
    found = {}
    for track_id, mask in zip(prediction.track_ids.tolist(), prediction.masks, strict=True):
        if (box := masks.box_xywh(mask)) is not None:
            found[track_id] = box[1] // 16 * 6 + box[0] // 16
    return found


class Painted:
    """Remembers every stack of masks that a network paints into its memory."""

    def __init__(self, network: Iai) -> None:
        self.stacks: list[Tensor] = []
        remember = network.remember
        network.remember = lambda seen, stack: (self.stacks.append(stack[0]), remember(seen, stack))[1]  # type: ignore[method-assign]


def test_objects_keep_their_track_wherever_they_are_and_in_whatever_order_they_are_found() -> None:
    predictions = told(WALK, PEOPLE)

    assert [prediction.track_ids.tolist() for prediction in predictions] == [[1, 2], [1, 2, 3], [3, 1], [2, 1]]
    assert predictions[2].labels.tolist() == [0, 1]
    assert places(predictions[3]) == {2: 8, 1: 3}


@pytest.mark.parametrize("options", [BENCHMARK, PEOPLE], ids=["benchmark", "people"])
def test_what_is_told_of_a_frame_does_not_depend_on_later_ones(options: RunOptions) -> None:
    other_end = [*WALK[:3], [new(20, score=0.9), known(0, 9)]]

    one, other = told(WALK, options), told(other_end, options)

    assert [as_rows(p) for p in one[:3]] == [as_rows(p) for p in other[:3]]
    assert as_rows(one[3]) != as_rows(other[3])


def test_videos_that_share_a_network_do_not_meet() -> None:
    network = scripted(WALK)
    before = copy.deepcopy(network.state_dict())
    first, second = (OnlineTracker(network, INFO, BENCHMARK) for _ in range(2))

    pairs = [(first.step(numbered(number)), second.step(numbered(number))) for number in range(4)]
    third = OnlineTracker(network, INFO, BENCHMARK)

    assert [as_rows(a) for a, _ in pairs] == [as_rows(b) for _, b in pairs]
    assert [as_rows(third.step(numbered(number))) for number in range(4)] == [as_rows(a) for a, _ in pairs]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("options", "rules", "count"),
    [(BENCHMARK, {}, 18), (BENCHMARK, {"overflow": "drop"}, 19), (PEOPLE, {}, 19)],
    ids=["release", "paper", "people"],
)
def test_of_22_objects_some_are_left_out_and_it_is_said_once(
    options: RunOptions, rules: dict[str, str], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The head knows those it has a number for; on the second frame they have moved."""
    first, second = [new(at) for at in range(22)], [known(at, at + 1) if at < 18 else new(at + 1) for at in range(22)]

    predictions = told([first, second], options, max_per_frame=50, **rules)

    assert predictions[0].track_ids.tolist() == [*range(1, count + 1)]
    assert places(predictions[1]) == {key: key for key in range(1, 19)}
    assert [message.partition(":")[0] for message in caplog.messages] == ["note"]


def test_nothing_is_said_where_there_are_enough(caplog: pytest.LogCaptureFixture) -> None:
    told(WALK, PEOPLE)

    assert caplog.messages == []


def rounds(count: int) -> Script:
    """Three at a time come and go, for ever others, on a frame each; the head knows nobody."""
    return [[new(3 * (number % 8) + k) for k in range(3)] for number in range(count)]


def test_identities_come_back_into_use_under_track_ids_that_never_do() -> None:
    script = rounds(12)

    predictions = told(script, PEOPLE, max_ids=10, recycle_after=1)

    ids = [track_id for prediction in predictions for track_id in prediction.track_ids.tolist()]
    assert ids == [*range(1, 37)]


def test_an_identity_that_goes_to_another_is_painted_over_in_memory() -> None:
    """As if the object that had it had never been there."""
    stays = [[known(0, 0), known(1, 1)] for _ in range(4)]
    left = [[new(0), new(1), new(2)], *stays, [known(0, 0), known(1, 1), new(8)]]
    never = [[new(0), new(1)], *stays, [known(0, 0), known(1, 1), new(8)]]
    rules = replace(PRESET, max_ids=4, overflow="drop", recycle_after=2, memory_frames=10, long_interval=1)
    passes = []
    for script in (left, never):
        video = VideoPass(scripted(script, max_ids=4), rules)
        with torch.inference_mode():
            assigned = [video.step(picture(number), letterbox()).assigned for number in range(6)]
        passes.append((video, assigned))

    (forgetful, names), (innocent, others) = passes

    assert names[-1].slots.tolist() == others[-1].slots.tolist() == [0, 1, 2]
    assert (names[-1].reused, others[-1].reused) == ((2,), ())
    assert names[-1].track_ids.tolist() == [1, 2, 4]
    torch.testing.assert_close(forgetful._memory.long, innocent._memory.long)


def test_memory_holds_what_is_seen_of_each_object_under_its_identity_and_the_rest_as_background() -> None:
    network = scripted(WALK, dim=8)
    painted = Painted(network)
    video = VideoPass(network, network.preset)
    with torch.inference_mode():
        seen = [video.step(picture(number), letterbox()) for number in range(3)]

    for stack, one in zip(painted.stacks, seen, strict=True):
        assert bool((stack.sum(0) == 1).all())
        for mask, slot in zip(one.objects.masks, one.assigned.slots.tolist(), strict=True):
            assert torch.equal(stack[slot], mask)
        assert torch.equal(stack[-1], ~one.objects.masks.any(0))


def test_frames_of_any_size_are_padded_on_the_right_and_below_with_background() -> None:
    size_hw = (50, 70)
    network = scripted([[new(0)]] * 2)
    painted = Painted(network)
    video = VideoPass(network, network.preset)

    with torch.inference_mode():
        seen = video.step(picture(0, size_hw), letterbox(size_hw))

    assert seen.objects.shapes[0].size_hw == size_hw
    assert painted.stacks[0].shape == (21, 64, 96)
    assert bool(painted.stacks[0][-1, 50:].all()) and bool(painted.stacks[0][-1, :, 70:].all())


def test_for_people_memory_is_bounded_and_keeps_the_first_frame() -> None:
    script = [[new(0)], *[[known(0, 1)]] * 40]
    bounded = VideoPass(scripted(script), rules_of_run(PRESET, PEOPLE))
    endless = VideoPass(scripted(script), rules_of_run(PRESET, BENCHMARK))

    with torch.inference_mode():
        for number in range(41):
            bounded.step(picture(number), letterbox())
            endless.step(picture(number), letterbox())

    assert bounded.remembered_frames == (0, *range(14, 41, 3))
    assert endless.remembered_frames == (0, *range(2, 41, 3))


def test_objects_are_followed_by_their_overlap_where_there_is_no_head() -> None:
    script = [[Shot((0, 0, 24, 24)), Shot((48, 0, 72, 24))], [Shot((52, 0, 76, 24)), Shot((4, 0, 28, 24))], []]

    predictions = told([*script, script[0]], PEOPLE, identities="overlap")

    assert [prediction.track_ids.tolist() for prediction in predictions] == [[1, 2], [2, 1], [], [1, 2]]


@pytest.mark.parametrize("floor", [0.0, 0.1], ids=["benchmark", "people"])
def test_a_memory_that_is_asked_for_counts_before_that_of_the_weights(floor: float) -> None:
    rules = rules_of_run(replace(PRESET, memory_frames=7), RunOptions(score_floor=floor, memory_frames=3))

    assert rules.memory_frames == 3


def test_objects_without_an_identity_of_their_own_are_not_followed_by_overlap() -> None:
    script = [[new(at) for at in range(4)]] * 3

    predictions = told(script, BENCHMARK, identities="overlap", max_ids=4)

    assert [prediction.track_ids.tolist() for prediction in predictions] == [[1, 2]] * 3


LATECOMER: Script = [  # the second of two objects is there from the third frame on, but for the fourth
    [new(0, score=0.8)],
    [known(0, 0, score=0.6)],
    [known(0, 0, score=0.4), new(8, score=0.9, quality=0.5)],
    [known(0, 0, score=0.4)],
    [known(0, 0, score=0.4), known(1, 9, score=0.9)],
]


def result_of(options: RunOptions, **rules: Any) -> VideoPrediction:
    network = scripted(LATECOMER, **rules)

    class Model:
        categories = INFO.categories

        def begin(self, video: object) -> OnlineTracker:
            return OnlineTracker(network, INFO, options)

    source = FakeSource([numbered(number) for number in range(5)], SIZE)
    ranking = Ranking("ytvis") if options is BENCHMARK else Ranking(conf=0.0)
    return run(source, Model(), mode="online", window=0, overlap=0, ranking=ranking)


def scores_of(result: VideoPrediction) -> dict[int, float]:
    return {track.id: track.score for track in result.tracks if track.label == 0}


def test_scores_for_the_benchmark_are_means_over_the_whole_video() -> None:
    scores = scores_of(result_of(BENCHMARK))

    assert scores == pytest.approx({1: 2.6 / 5, 2: (0.45 + 0.9) / 5}, abs=1e-6)


def test_scores_for_people_are_means_over_the_frames_that_show_the_object() -> None:
    scores = scores_of(result_of(PEOPLE))

    assert scores == pytest.approx({1: 2.6 / 5, 2: (0.45 + 0.9) / 2}, abs=1e-6)


def test_a_preset_may_ask_for_the_latter_in_the_benchmark_too() -> None:
    scores = scores_of(result_of(BENCHMARK, score_average="detected"))

    assert scores == pytest.approx({1: 2.6 / 5, 2: (0.45 + 0.9) / 2}, abs=1e-6)


def test_tracks_are_shown_where_they_are_seen() -> None:
    tracks = result_of(BENCHMARK).tracks

    assert [sorted(track.masks) for track in tracks if track.id == 2] == [[2, 4]]


@given(st.lists(st.dictionaries(st.integers(1, 4), st.floats(0, 1, width=32), max_size=4), min_size=1, max_size=12))
def test_what_is_said_of_a_track_has_the_mean_over_all_frames(frames: Sequence[dict[int, float]]) -> None:
    means, standings = MeanOverVideo(1), Standings(1)
    begun: list[int] = []

    for seen in frames:
        fresh = [key for key in seen if key not in begun]
        begun += fresh
        ids, said = means.said(np.array(list(seen), np.int64), np.array(list(seen.values()), np.float32)[:, None])
        assert ids.tolist()[: len(seen)] == list(seen)
        assert set(ids.tolist()) == set(begun)
        for key, score in zip(ids.tolist(), said, strict=True):
            assert 0 <= score[0] <= 1
            standings.judge(key, score)

    wanted = {key: sum(seen.get(key, 0) for seen in frames) / len(frames) for key in begun}
    assert {track.id: track.score for track in standings.tracks()} == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("tiny", {}),
        ("tiny", {"association": "none"}),
        ("tiny", {"id_head": False, "identities": "overlap"}),
        ("maskrcnn-tiny", {}),
        ("maskrcnn-tiny", {"id_head": False, "identities": "overlap", "class_projector": False}),
    ],
    ids=["CondInst", "without memory", "without identities", "Mask R-CNN", "Mask R-CNN without identities"],
)
def test_every_variant_follows_something(name: str, rules: dict[str, Any]) -> None:
    preset = replace(PRESETS[name], class_threshold=0.0, id_threshold=0.0, max_per_frame=5, **rules)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Iai(preset).eval()
    frames = torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    video = VideoPass(network, preset)

    with torch.inference_mode():
        seen = [video.step(frame, letterbox()) for frame in frames.split(1)]

    assert all(bool((one.objects.masks.sum(0) <= 1).all()) for one in seen)
    assert all(len(set(one.assigned.slots.tolist())) == len(one.objects.masks) for one in seen)
    assert sum(len(one.objects.masks) for one in seen)
