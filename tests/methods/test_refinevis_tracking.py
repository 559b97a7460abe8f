"""`refinevis` over a film: what online and offline have in common, what neither may know, and odd films."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from refinevis_films import (
    BANDS,
    DIM,
    VIDEO,
    Film,
    FilmedImage,
    Sighting,
    Tar,
    bands_of,
    filmed,
    model,
    offline,
    online,
    pictures,
    rows_of,
)
from torch import Tensor

from vistool.methods.refinevis.network import RefineVis
from vistool.methods.refinevis.tar import TemporalRefinement
from vistool.nn.image_model import FrameObjects
from vistool.types import Frame, FramePrediction

A, B, C = Sighting(0), Sighting(1, 0.8, label=1), Sighting(2, 0.7, label=2)
FILM: Film = [[A, B], [A, B], [B], [A, C], [A, B, C], [], [B, C], [A], [A, B], [A, B, C], [C], [A, B], [B, C], [A]]
"""Fourteen frames; everybody is missing now and then."""

Way = Callable[[RefineVis], list[FramePrediction]]
Rows = list[dict[int, tuple[bytes, bytes]]]


def matched_only(predictions: Sequence[FramePrediction], film: Film = FILM) -> Rows:
    """What is said of the tracks that were detected, which come first."""
    rows = [list(rows_of(prediction).items()) for prediction in predictions]
    return [dict(some[: len(seen)]) for some, seen in zip(rows, film, strict=True)]


def rows(predictions: Sequence[FramePrediction]) -> Rows:
    return [rows_of(prediction) for prediction in predictions]


@pytest.mark.parametrize("missing", ["null", "hold", "refine"])
def test_at_the_identity_matched_frames_are_the_same_to_the_bit_however_they_are_seen(missing: str) -> None:
    plain = matched_only(online(filmed(FILM, window=0)))

    assert [len(some) for some in plain] == [len(seen) for seen in FILM]
    assert matched_only(online(filmed(FILM, missing=missing))) == plain
    assert matched_only(online(filmed(FILM, missing=missing, window=3))) == plain
    assert matched_only(offline(filmed(FILM, missing=missing), window=4)) == plain
    assert matched_only(offline(filmed(FILM, missing=missing), window=50)) == plain


@pytest.mark.parametrize("window", [0, 1])
def test_without_a_window_nothing_is_refined_or_recovered(window: int) -> None:
    plain = rows(online(filmed(FILM, window=0, missing="null")))

    assert rows(online(filmed(FILM, "random", window=window))) == plain
    assert rows(offline(filmed(FILM, "random", window=window), window=5)) == plain


def test_clips_of_one_frame_are_not_refined() -> None:
    plain = rows(online(filmed(FILM, window=0, missing="null")))

    assert rows(offline(filmed(FILM, "random"), window=1)) == plain


def test_a_trained_refinement_changes_what_is_said() -> None:
    plain = matched_only(online(filmed(FILM, window=0)))

    assert matched_only(online(filmed(FILM, "random"))) != plain
    assert matched_only(offline(filmed(FILM, "random"), window=10)) != plain


LOOKS = {0: 1, 1: 2, 2: 3}  # look → id, in the order of first sight
Scores = dict[tuple[int, int], Tensor]  # by frame and id


def token(t: int, track_id: int) -> Tensor:
    """The embedding of a track on a frame of FILM, zeros where it is missing."""
    return next((each.embedding for each in FILM[t] if LOOKS[each.look] == track_id), torch.zeros(DIM))


def scores(predictions: Sequence[FramePrediction]) -> Scores:
    return {
        (prediction.frame_index, track_id): torch.from_numpy(each)
        for prediction in predictions
        if prediction.class_scores is not None
        for track_id, each in zip(prediction.track_ids.tolist(), prediction.class_scores, strict=True)
    }


def refined_alone(network: RefineVis, tokens: Sequence[Tensor], times: Sequence[int]) -> Tensor:
    """One tracklet by itself, every token of which exists; (W, D)."""
    there = torch.ones(1, len(tokens), dtype=torch.bool)
    with torch.no_grad():
        refined: Tensor = network.tar(torch.stack(list(tokens))[None], torch.tensor(times), there, there)[0]
    return refined


def test_online_is_the_loop_over_each_tracklet_with_what_was_refined_before() -> None:
    network = filmed(FILM, "random", window=4, recovered_score=-1.0)
    expected: Scores = {}
    for track_id, first in ((1, 0), (2, 0), (3, 3)):
        past: list[tuple[int, Tensor]] = []
        for t in range(first, len(FILM)):
            tokens, times = [*(each for _, each in past), token(t, track_id)], [*(time for time, _ in past), t]
            refined = refined_alone(network, tokens, times)[-1]
            expected[t, track_id] = network.image.classes(refined).sigmoid()
            past = [*past, (t, refined)][-3:]

    found = scores(online(network))

    assert found.keys() <= expected.keys()
    assert {(t, LOOKS[each.look]) for t, seen in enumerate(FILM) for each in seen} < found.keys()
    torch.testing.assert_close(found, {key: expected[key] for key in found}, rtol=1e-4, atol=1e-5)


def test_offline_is_one_pass_over_the_raw_tokens_of_each_tracklet_in_its_clip() -> None:
    network = filmed(FILM, "random", recovered_score=-1.0)
    expected: Scores = {}
    for begin in range(0, len(FILM), 5):
        times = range(begin, min(begin + 5, len(FILM)))
        for track_id in {LOOKS[each.look] for t in times for each in FILM[t]}:
            refined = refined_alone(network, [token(t, track_id) for t in times], list(times))
            expected |= {(t, track_id): network.image.classes(refined[t - begin]).sigmoid() for t in times}

    found = scores(offline(network, 5))

    assert {(t, LOOKS[each.look]) for t, seen in enumerate(FILM) for each in seen} < found.keys()
    torch.testing.assert_close(found, {key: expected[key] for key in found}, rtol=1e-4, atol=1e-5)


def test_online_and_offline_give_the_same_ids() -> None:
    seen = [prediction.track_ids.tolist() for prediction in online(filmed(FILM, "random", missing="null"))]

    assert [p.track_ids.tolist() for p in offline(filmed(FILM, "random", missing="null"), window=4)] == seen


@pytest.mark.parametrize("missing", ["null", "hold", "refine"])
@pytest.mark.parametrize("tar", ["copying", "random"])
def test_online_does_not_know_the_future(tar: Tar, missing: str) -> None:
    other_end = [*FILM[:7], [C], [A, C], [], [Sighting(5)], [B], [A, B], [A]]

    one, other = online(filmed(FILM, tar, missing=missing)), online(filmed(other_end, tar, missing=missing))

    assert rows(one[:7]) == rows(other[:7])
    assert rows(one) != rows(other)


@pytest.mark.parametrize("missing", ["null", "hold", "refine"])
def test_offline_does_not_know_later_clips(missing: str) -> None:
    other_end = [*FILM[:8], [C], [A, C], [], [Sighting(5)], [B], [A, B]]

    one, other = (offline(filmed(film, "random", missing=missing), window=4) for film in (FILM, other_end))

    assert rows(one[:8]) == rows(other[:8])


def test_offline_knows_earlier_clips_by_the_ids_alone() -> None:
    elsewhere = [[Sighting(s.look, 0.6, 7 - s.look, s.label) for s in seen] for seen in FILM[:8]]

    one, other = (offline(filmed(film, "random"), window=4) for film in (FILM, [*elsewhere, *FILM[8:]]))

    assert rows(one[8:]) == rows(other[8:])


def test_offline_knows_the_rest_of_its_clip() -> None:
    other_end = [*FILM[:6], [Sighting(1, 0.8, 5), C], *FILM[7:]]

    one, other = (offline(filmed(film, "random"), window=7) for film in (FILM, other_end))

    assert rows_of(one[0])[1] == rows_of(other[0])[1]
    assert rows_of(one[0])[2] != rows_of(other[0])[2]


@pytest.mark.parametrize("way", [online, lambda network: offline(network, 7)], ids=["online", "offline"])
def test_a_detection_less_changes_its_own_tracklet_only(way: Way) -> None:
    fewer = [*FILM[:4], [A, C], *FILM[5:]]

    one, other = (rows(way(filmed(film, "copying"))) for film in (FILM, fewer))

    assert [{key: some[key] for key in some if key != 2} for some in one] == [
        {key: some[key] for key in some if key != 2} for some in other
    ]
    assert one[4][2] != other[4].get(2)


def test_the_order_of_the_queries_changes_nothing() -> None:
    backwards = [list(reversed(seen)) for seen in FILM]

    assert rows(online(filmed(backwards, "copying"))) == rows(online(filmed(FILM, "copying")))


def test_two_videos_at_once_do_not_meet() -> None:
    one = model(filmed(FILM, "random"))
    first, second = one.begin(VIDEO), one.begin(VIDEO)

    pairs = [(first.step(frame), second.step(frame)) for frame in pictures(range(14))]

    assert rows([a for a, _ in pairs]) == rows([b for _, b in pairs])


def test_frames_keep_their_numbers_and_these_are_what_the_refinement_reads() -> None:
    frames = pictures(range(14))
    later = [Frame(frame.index * 5, frame.time_s, frame.image) for frame in frames]
    one = model(filmed(FILM, "random"))
    plain, strided = one.begin(VIDEO), one.begin(VIDEO)

    told = [strided.step(frame) for frame in later]

    assert [prediction.frame_index for prediction in told] == [5 * t for t in range(14)]
    assert rows(told) != rows([plain.step(frame) for frame in frames])


# Selection


def test_doubles_of_a_surer_detection_are_dropped() -> None:
    film = [[A, Sighting(3, 0.5, band=0), Sighting(4, 0.6, band=1), Sighting(5, 0.7, band=1, label=1)]]

    (only,) = online(filmed(film))

    assert bands_of(only) == {1: {0}, 2: {1}}
    assert only.labels.tolist() == [0, 1]


def test_boxes_are_compared_within_a_class_and_masks_across() -> None:
    film = [[A, Sighting(3, 0.5, band=0, label=1)]]

    across = online(filmed(film, mask_nms=1.0))
    within = online(filmed([[A, Sighting(3, 0.5, band=0)]], mask_nms=1.0))

    assert [len(across[0].track_ids), len(within[0].track_ids)] == [2, 1]


def test_a_matched_track_below_the_floor_has_a_say_but_no_mask() -> None:
    film = [[A, B], [A, Sighting(1, 0.15)]]

    unsure = online(filmed(film), score_floor=0.2)[1]

    assert unsure.track_ids.tolist() == [1, 2]
    assert bands_of(unsure) == {1: {0}}
    assert unsure.scores[1] == pytest.approx(0.15)


def test_no_more_masks_are_made_than_asked_for() -> None:
    few = online(filmed(FILM), max_instances=1)[0]

    assert few.track_ids.tolist() == [1, 2]
    assert bands_of(few) == {1: {0}}


# Odd films


@pytest.mark.parametrize("way", [online, lambda network: offline(network, 10)], ids=["online", "offline"])
@pytest.mark.parametrize(
    "film",
    [[[]] * 12, [[A, B]], [[]], [[], [A], []], [[A]] + [[]] * 25, [[Sighting(0, 0.01)]] * 3],
    ids=["all empty", "one frame", "one empty frame", "one object once", "lost for ever", "never sure"],
)
def test_odd_films_are_no_failure(film: Film, way: Way) -> None:
    predictions = way(filmed(film, "copying"))

    assert [prediction.frame_index for prediction in predictions] == list(range(len(film)))
    assert {track for p in predictions for track in p.track_ids.tolist()} <= {1, 2}


def test_a_track_that_is_lost_for_ever_is_told_for_less_than_a_window() -> None:
    film = [[A]] * 3 + [[]] * 20

    told = [len(prediction.track_ids) for prediction in online(filmed(film, "copying"))]

    assert told == [1] * 12 + [0] * 11


def test_a_return_that_is_too_late_has_a_new_id_and_the_old_track_stays() -> None:
    film = [[A, B]] * 3 + [[B]] * 10 + [[A, B]] * 3

    told = [prediction.track_ids.tolist() for prediction in online(filmed(film, missing="null"))]

    assert told == [[1, 2]] * 3 + [[2]] * 10 + [[3, 2]] * 3


def test_a_clip_longer_than_the_film_is_the_whole_film() -> None:
    assert rows(offline(filmed(FILM, "random"), 50)) == rows(offline(filmed(FILM, "random"), len(FILM)))


class Crowd(FilmedImage):
    """Two hundred objects side by side, all alike but for their looks; one query each, in another order every frame."""

    def __init__(self) -> None:
        super().__init__([[]] * 3)
        self.looks = 6 * torch.linalg.qr(torch.randn(256, 256, generator=torch.Generator().manual_seed(0)))[0][:200]

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        order = torch.randperm(200, generator=torch.Generator().manual_seed(int(frames[0, 0, 0, 0])))
        boxes = torch.tensor([[(n % 20 + 0.5) / 20, (n // 20 + 0.5) / 10, 0.05, 0.1] for n in range(200)])
        logits = torch.full((200, 3), -6.0)
        logits[:, 0] = 2.0
        places = torch.nn.functional.one_hot(order, 256).float() * 8
        self.order = order
        cells = torch.eye(256)[:, :200].reshape(256, 10, 20)
        return FrameObjects(places[None], logits[None], boxes[order][None], cells[None])

    def classes(self, embeddings: Tensor) -> Tensor:
        logits = torch.full((len(embeddings), 3), -6.0)
        logits[:, 0] = 2.0
        return logits

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        return torch.einsum("nd,dhw->nhw", embeddings, pixels) - 4

    def association(self, objects: FrameObjects) -> Tensor:
        return self.looks[self.order][None]


def test_two_hundred_objects_are_followed() -> None:
    network = filmed([[]] * 3)
    network.image = Crowd()
    network.tar = TemporalRefinement(network.preset, 256)
    tracker = model(network, short_side=40).begin(VIDEO)
    frames = [Frame(t, t / 25, np.full((40, 80, 3), t, np.uint8)) for t in range(3)]

    first, *_, last = (tracker.step(frame) for frame in frames)

    assert sorted(first.track_ids.tolist()) == sorted(last.track_ids.tolist()) == list(range(1, 201))
    masks = dict(zip(first.track_ids.tolist(), first.masks, strict=True))
    assert dict(zip(last.track_ids.tolist(), last.masks, strict=True)) == masks
    assert len(set(masks.values())) == 200


# Memory and second thoughts


class Watched(FilmedImage):
    """Counts how much of the pixel features that it gave is still there when the next frame comes."""

    def __init__(self, film: Film) -> None:
        super().__init__(film)
        self.given: list[weakref.ref[np.ndarray[Any, Any]]] = []
        self.held: list[int] = []

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        self.held.append(sum(each() is not None for each in self.given))
        objects = super().forward(frames, padding)
        pixels = objects.pixels.numpy().copy()  # which lives as long as any tensor that looks at it
        self.given.append(weakref.ref(pixels))
        return FrameObjects(objects.embeddings, objects.class_logits, objects.boxes, torch.from_numpy(pixels))


@pytest.mark.parametrize(
    ("way", "held"),
    [(online, [0] * 14), (lambda network: offline(network, 4), [0, 1, 2, 3] * 3 + [0, 1])],
    ids=["online", "offline"],
)
def test_pixels_are_held_for_one_clip_at_most(way: Way, held: list[int]) -> None:
    network = filmed(FILM, "copying")
    watched = network.image = Watched(FILM)

    way(network)

    assert watched.held == held


def test_the_state_of_a_long_film_stays_small() -> None:
    film = [[Sighting((t + n) % 8, 0.9, n) for n in range(3)] for t in range(200)]
    tracker = model(filmed(film, "copying")).begin(VIDEO)
    sizes = []

    for frame in pictures(range(200)):
        tracker.step(frame)
        sizes.append(len(tracker._memory.known))

    assert max(sizes) <= BANDS + 5
    assert tracker._history._past is not None
    assert tracker._history._past.tokens.shape[:2] == (len(tracker._centres), 9)


@pytest.mark.parametrize("way", ["online", "offline"])
def test_tracks_of_few_detections_are_withdrawn_at_the_end(way: str) -> None:
    film = [[A]] * 8 + [[A, B]] * 2 + [[A]] * 4
    one = model(filmed(film))

    if way == "online":
        tracker = one.begin(VIDEO)
        told = [tracker.step(frame) for frame in pictures(range(14))]
        withdrawn = tracker.withdrawn()
    else:
        clips = one.begin_clips(VIDEO, 14)
        told = clips.segment(pictures(range(14)))
        withdrawn = clips.withdrawn()

    assert 2 in np.concatenate([prediction.track_ids for prediction in told])
    assert withdrawn == {2}
