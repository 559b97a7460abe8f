"""A video frame by frame, with a script in place of the network, and with a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hitf_fakes import SMALL, K, L, Said, Script, frame, info, talkative

from vistool import masks
from vistool.errors import InputError
from vistool.methods.hitf.detections import find_objects
from vistool.methods.hitf.identities import Identities
from vistool.methods.hitf.inference import load, probe
from vistool.methods.hitf.online import OnlineTracker, rules_of_run
from vistool.methods.hitf.temporal import Reference
from vistool.nn.letterbox import Letterbox
from vistool.ranking import Ranking, Standings
from vistool.runner import run
from vistool.testing import FakeSource
from vistool.types import Frame, FramePrediction, RunOptions, VideoPrediction
from vistool.weights.checkpoint import Checkpoint

BENCHMARK, PEOPLE = RunOptions(score_floor=0.0), RunOptions()


def told(script: Sequence[Said], options: RunOptions = PEOPLE, **rules: Any) -> list[FramePrediction]:
    preset = replace(SMALL, **rules)
    tracker = OnlineTracker(Script(script), preset, info(preset), options)
    return [tracker.step(frame(number)) for number in range(len(script))]


def ids(predictions: Sequence[FramePrediction]) -> list[list[int]]:
    return [prediction.track_ids.tolist() for prediction in predictions]


def at(column: int, label: int = 0) -> tuple[int, tuple[int, int, int, int]]:
    return label, (16, column, 48, column + 24)


def test_a_frame_is_told_with_masks_classes_and_scores_of_its_own() -> None:
    (prediction,) = told([{1: at(8, label=2), 3: at(60)}])

    assert prediction.labels.tolist() == [2, 0]
    assert [masks.box_xywh(mask) for mask in prediction.masks] == [(7, 15, 23, 31), (59, 15, 23, 31)]
    assert prediction.class_scores is not None
    np.testing.assert_array_equal(prediction.class_scores.max(1), prediction.scores)
    assert (prediction.scores > 0.9).all()


def test_an_object_that_comes_back_in_time_is_the_same_and_one_that_comes_late_is_new() -> None:
    """For people; in the paper a slot is an identity for ever."""
    soon: list[Said] = [{0: at(0)}, *[{}] * 10, {0: at(60)}]
    late: list[Said] = [{0: at(0)}, *[{}] * 11, {0: at(60)}]

    assert (ids(told(soon))[-1], ids(told(late))[-1]) == ([1], [2])
    assert ids(told(late, BENCHMARK))[-1] == [1]


def test_a_slot_that_shows_another_class_elsewhere_is_another_object_for_people() -> None:
    script: list[Said] = [{0: at(0, label=1)}, {0: at(60, label=2)}]

    assert ids(told(script)) == [[1], [2]]
    assert ids(told(script, BENCHMARK)) == [[1], [1]]


def test_a_video_may_have_more_objects_than_there_are_slots() -> None:
    script: list[Said] = [{slot: at(24 * slot, label=turn % K) for slot in range(4)} for turn in range(6)]
    gaps: list[Said] = [said for each in script for said in (each, *[{}] * 12)]

    predictions = told(gaps)

    assert [one for one in ids(predictions) if one] == [[4 * turn + n for n in range(1, 5)] for turn in range(6)]


def test_objects_may_swap_their_slots() -> None:
    script: list[Said] = [{0: at(0), 1: at(60)}, {1: at(4), 0: at(56)}, {2: at(8), 1: at(52)}]

    assert ids(told(script)) == [[1, 2], [2, 1], [2, 1]]  # in the order of the slots


def test_two_slots_that_show_pieces_of_an_object_tell_one() -> None:
    """Where names are given by motion; the scores are those of the surer piece."""
    whole, upper, lower = (0, (16, 16, 64, 40)), (0, (16, 16, 48, 40)), (0, (48, 16, 64, 40))
    script: list[Said] = [{0: whole}, {0: upper, 3: lower}, {3: whole}]

    predictions = told(script, naming="motion", overlap=0.3, slot_gap=24)

    assert ids(predictions) == [[1]] * 3
    for prediction in predictions:
        assert masks.iou_matrix(prediction.masks, predictions[0].masks)[0, 0] > 0.9


def test_frames_without_objects_are_told_without_any() -> None:
    predictions = told([{}, {}, {4: at(0)}])

    assert ids(predictions) == [[], [], [1]]
    assert [one.class_scores.shape for one in predictions] == [(0, K), (0, K), (1, K)]  # type: ignore[union-attr]


def test_rules_for_the_benchmark_are_the_preset_s() -> None:
    assert rules_of_run(SMALL, info(), BENCHMARK) == SMALL


def test_rules_for_people_keep_what_the_weights_say() -> None:
    strict = replace(SMALL, overlap=0.2, slot_gap=3, class_threshold=0.7, min_share=0.1)

    assert rules_of_run(strict, info(), PEOPLE) == replace(strict, same_class=True, score_average="detected")
    assert rules_of_run(SMALL, info(), RunOptions(score_floor=0.25)).class_threshold == 0.25


@pytest.mark.parametrize(("floor", "score"), [(None, 0.5), (0.1, 0.5), (0.05, 0.25), (0.7, 0.5)])
def test_who_asks_for_doubtful_objects_gets_tracks_of_them(floor: float | None, score: float) -> None:
    followed = replace(SMALL, **{**MOTION, "overlap": 0.4, "begin_score": 0.5})

    assert rules_of_run(followed, info(), RunOptions(score_floor=floor)).overlap == 0.4
    assert rules_of_run(followed, info(), RunOptions(score_floor=floor)).begin_score == pytest.approx(score)


def test_only_the_surest_objects_are_told_where_few_are_wanted() -> None:
    said: Said = {0: at(0), 1: at(32), 2: at(64)}

    (prediction,) = told([said], RunOptions(max_instances=2))

    assert len(prediction.track_ids) == 2


@pytest.mark.parametrize(("average", "share"), [("detected", 1.0), ("all", 0.5)])
def test_a_track_is_judged_by_the_frames_that_show_it_or_by_all_of_the_video(average: str, share: float) -> None:
    said = told([{0: at(0)}, {}, {0: at(0)}, {}], BENCHMARK, score_average=average)
    standings = Standings(K)
    for prediction in said:
        for track_id, scores in zip(prediction.track_ids.tolist(), prediction.class_scores, strict=True):  # type: ignore[arg-type]
            standings.judge(track_id, scores)

    (track,) = standings.tracks()

    assert track.score == pytest.approx(share * said[0].scores[0], abs=1e-5)


SIZE = (32, 48)
AS_GIVEN = replace(BENCHMARK, short_side=SIZE[0])


def film(count: int, size_hw: tuple[int, int] = SIZE, *, seed: int = 0) -> list[Frame]:
    rng = np.random.default_rng(seed)
    whole = rng.normal(scale=2, size=(count, *size_hw, 3)).clip(0, 255).astype(np.uint8)
    return [Frame(number, number / 10, picture) for number, picture in enumerate(whole)]


def checkpoint(**changes: Any) -> Checkpoint:
    made = talkative(replace(SMALL, **changes), seed=2)
    return Checkpoint(info(made.preset), made.state_dict())


def rows(prediction: FramePrediction) -> list[tuple[object, ...]]:
    return list(zip(prediction.track_ids.tolist(), prediction.scores.tolist(), prediction.masks, strict=True))


def passed(frames: Sequence[Frame], options: RunOptions = AS_GIVEN, **changes: Any) -> list[FramePrediction]:
    tracker = load(checkpoint(**changes), options).begin(FakeSource([], SIZE).info)
    return [tracker.step(one) for one in frames]


@pytest.mark.parametrize("stride", [1, 2])
def test_every_frame_is_what_a_plain_reading_makes_of_it(stride: int) -> None:
    """Without a cache: each frame goes through the backbone again whenever it is looked back at."""
    frames = film(5)
    made = talkative(replace(SMALL, ref_stride=stride), seed=2)
    identities, letterbox = Identities(made.preset), Letterbox(SIZE, SIZE, SIZE)
    expected = []
    with torch.inference_mode():
        pictures = [torch.from_numpy(one.image).permute(2, 0, 1)[None].float() for one in frames]
        for t in range(len(frames)):
            before = [t - stride * age for age in range(1, made.preset.references + 1) if t - stride * age >= 0]
            references: list[Reference] = [made.encode(pictures[number]).reference for number in before]
            objects = find_objects(made.fuse(made.encode(pictures[t]), references), letterbox, made.preset)
            expected.append((objects, identities.name(objects.slots, objects.shapes, objects.class_scores)))

    predictions = passed(frames, ref_stride=stride)

    assert sum(len(objects.slots) for objects, _ in expected) > 7
    for prediction, (objects, track_ids) in zip(predictions, expected, strict=True):
        assert prediction.track_ids.tolist() == track_ids.tolist()
        np.testing.assert_allclose(prediction.class_scores, objects.class_scores, atol=1e-4)
        for mask, shape in zip(prediction.masks, objects.shapes, strict=True):
            assert (masks.decode(mask) != masks.decode(shape)).sum() <= 2


MOTION = {"naming": "motion", "overlap": 0.3, "slot_gap": 24}


@pytest.mark.parametrize("options", [AS_GIVEN, replace(AS_GIVEN, score_floor=None)], ids=["benchmark", "people"])
@pytest.mark.parametrize("rules", [{}, MOTION], ids=["slots", "motion"])
def test_what_is_told_of_a_frame_does_not_depend_on_later_ones(options: RunOptions, rules: dict[str, Any]) -> None:
    frames = film(5)

    one, other = passed(frames, options, **rules), passed(frames[:3] + film(5, seed=1)[3:], options, **rules)

    assert [rows(p) for p in one[:3]] == [rows(p) for p in other[:3]]
    assert [rows(p) for p in one[3:]] != [rows(p) for p in other[3:]]


@pytest.mark.parametrize("rules", [{}, MOTION], ids=["slots", "motion"])
def test_videos_that_share_a_network_do_not_meet_and_leave_it_as_it_was(rules: dict[str, Any]) -> None:
    made = checkpoint(**rules)
    before = copy.deepcopy(dict(made.tensors))
    model, frames, video = load(made, AS_GIVEN), film(3), FakeSource([], SIZE).info
    first, second = model.begin(video), model.begin(video)

    pairs = [(first.step(one), second.step(one)) for one in frames]
    third = model.begin(video)

    assert [rows(a) for a, _ in pairs] == [rows(b) for _, b in pairs]
    assert [rows(third.step(one)) for one in frames] == [rows(a) for a, _ in pairs]
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.tensors.items())


@pytest.mark.parametrize("size_hw", [(33, 47), (97, 61), (20, 150)], ids=str)
@pytest.mark.parametrize("short_side", [None, 50], ids=["the size of the weights", "another size"])
def test_frames_of_any_size_are_taken(size_hw: tuple[int, int], short_side: int | None) -> None:
    predictions = passed(film(2, size_hw), replace(BENCHMARK, short_side=short_side))

    shapes = [mask for prediction in predictions for mask in prediction.masks]
    assert shapes
    assert {mask.size_hw for mask in shapes} == {size_hw}


def whole(frames: Sequence[Frame]) -> VideoPrediction:
    ranking = Ranking("ytvis", max_instances=50)
    return run(
        FakeSource(frames, SIZE), load(checkpoint(), AS_GIVEN), mode="online", window=0, overlap=0, ranking=ranking
    )


def test_a_video_of_one_frame_is_a_video() -> None:
    result = whole(film(1))

    assert result.tracks
    assert all(set(track.masks) == {0} for track in result.tracks)


def test_a_second_run_says_what_the_first_one_said() -> None:
    assert whole(film(3)) == whole(film(3))


def test_half_precision_is_taken() -> None:
    predictions = passed(film(2), replace(AS_GIVEN, precision="bf16"))

    assert all(prediction.scores.dtype == np.float32 for prediction in predictions)


def test_a_probe_says_what_the_model_says() -> None:
    frames = film(3)
    arrays = np.stack([one.image.transpose(2, 0, 1) for one in frames]).astype(np.float32)

    found = probe(checkpoint(), {"frames": arrays})

    predictions = passed(frames)
    assert found["class_logits"].shape == (3, L, K + 1)
    for t, prediction in enumerate(predictions):
        assert found[f"ids_{t}"].tolist() == prediction.track_ids.tolist()
        np.testing.assert_allclose(found[f"scores_{t}"], prediction.scores, atol=1e-5)
        assert (found[f"masks_{t}"] != np.stack([masks.decode(mask) for mask in prediction.masks])).mean() < 0.001


def test_a_probe_wants_frames_without_padding() -> None:
    frames, padding = np.zeros((1, 3, *SIZE), np.float32), np.ones((1, *SIZE), np.bool_)

    with pytest.raises(InputError, match="padding"):
        probe(checkpoint(), {"frames": frames, "padding": padding})
