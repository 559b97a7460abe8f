"""`refinevis` where an object was not detected: what is told, when, and of whom it depends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from refinevis_films import (
    BIAS,
    Film,
    FilmedImage,
    Sighting,
    Tar,
    bands_of,
    filmed,
    offline,
    online,
    rows_of,
)

from vistool.methods.refinevis.offline import ClipTracks
from vistool.methods.refinevis.tokens import TokenHistory, extended, held
from vistool.types import FramePrediction

A, B = Sighting(0), Sighting(1, 0.8, label=1)
GAP: Film = [[A, B], [A, B], [A], [A], [A, B], [A]]
"""B is missing on frames 2, 3 and 5."""
LATE: Film = [[A], [A], [A, B], [A, B], [A], [A, B]]
"""B is first seen on frame 2, and missing on frame 4."""


def score(prediction: FramePrediction, track_id: int) -> float:
    return float(prediction.scores[prediction.track_ids.tolist().index(track_id)])


def seen_on(predictions: Sequence[FramePrediction], track_id: int) -> list[int]:
    return [prediction.frame_index for prediction in predictions if track_id in bands_of(prediction)]


@pytest.mark.parametrize(("missing", "frames"), [("null", [0, 1, 4]), ("hold", list(range(6))), ("refine", [0, 1, 4])])
def test_before_any_training_only_held_embeddings_say_something(missing: str, frames: list[int]) -> None:
    assert seen_on(online(filmed(GAP, missing=missing)), 2) == frames
    assert seen_on(offline(filmed(GAP, missing=missing), 6), 2) == frames


@pytest.mark.parametrize(
    ("missing", "frames"), [("null", [0, 1, 4]), ("hold", list(range(6))), ("refine", list(range(6)))]
)
def test_a_trained_refinement_recovers_what_was_missed(missing: str, frames: list[int]) -> None:
    assert seen_on(online(filmed(GAP, "copying", missing=missing)), 2) == frames
    assert seen_on(offline(filmed(GAP, "copying", missing=missing), 6), 2) == frames


def test_a_recovered_mask_is_drawn_on_its_own_frame_in_the_place_of_the_object() -> None:
    assert [bands_of(prediction) for prediction in online(filmed(GAP, "copying"))] == [{1: {0}, 2: {1}}] * 6


def test_recovered_tracks_come_after_the_matched_ones() -> None:
    film = [[A, B], [A, B], [B]]

    assert online(filmed(film, "copying"))[2].track_ids.tolist() == [2, 1]


def test_what_is_told_of_a_missing_frame_depends_on_the_object_alone() -> None:
    others = [[Sighting(5, 0.95), *seen] for seen in GAP]

    alone, crowded = online(filmed(GAP, "copying")), online(filmed(others, "copying"))

    assert [rows_of(one)[2] for one in alone] == [rows_of(other)[3] for other in crowded]


def test_what_is_told_of_a_missing_frame_depends_on_its_neighbours() -> None:
    brighter = [[A, Sighting(1, 0.5, label=1)], *GAP[1:]]

    one, other = (online(filmed(film, "copying")) for film in (GAP, brighter))

    assert score(one[3], 2) > score(other[3], 2)


def test_a_held_score_falls_with_every_frame() -> None:
    told = online(filmed(GAP, missing="hold", hold_decay=0.5))

    assert [score(prediction, 2) for prediction in told] == pytest.approx([0.8, 0.8, 0.4, 0.2, 0.8, 0.4])


def test_offline_a_held_score_falls_with_the_distance_from_the_detection_it_is_of() -> None:
    told = offline(filmed(LATE, missing="hold", hold_decay=0.5), 6)

    assert [score(prediction, 2) for prediction in told] == pytest.approx([0.2, 0.4, 0.8, 0.8, 0.4, 0.8])


def test_nothing_is_held_for_as_long_as_a_window() -> None:
    film = [[A, B]] * 3 + [[A]] * 8

    told = online(filmed(film, missing="hold", window=5, hold_decay=1.0))

    assert seen_on(told, 2) == list(range(7))


@pytest.mark.parametrize(("least", "frames"), [(0.35, [0, 1, 2, 4, 5]), (0.1, list(range(6)))])
def test_a_doubtful_recovery_is_not_told(least: float, frames: list[int]) -> None:
    assert seen_on(online(filmed(GAP, missing="hold", hold_decay=0.5, recovered_score=least)), 2) == frames


def test_a_recovery_without_a_pixel_is_not_told() -> None:
    network = filmed(GAP, missing="hold")
    blind = FilmedImage(GAP)
    blind.masks = lambda embeddings, pixels, references=None: -torch.ones(len(embeddings), 8, 16)  # type: ignore
    network.image = blind

    told = online(network)

    assert [prediction.track_ids.tolist() for prediction in told] == [[1, 2], [1, 2], [1], [1], [1, 2], [1]]


def test_a_mask_of_doubtful_pixels_lowers_the_score() -> None:
    sure, weighed = (
        online(filmed(GAP, missing="hold", hold_decay=1.0, recovered_quality=quality)) for quality in (False, True)
    )

    quality = 1 / (1 + np.exp(-4))  # mask logits are 4 in the band
    assert score(weighed[2], 2) == pytest.approx(score(sure[2], 2) * quality)
    assert score(weighed[0], 2) == score(sure[0], 2)


@pytest.mark.parametrize(("most", "frames"), [(1.0, [0, 1, 2, 3, 4, 5]), (0.5, [0, 1, 4])])
def test_a_recovery_in_the_place_of_a_detection_may_be_dropped(most: float, frames: list[int]) -> None:
    film = [[A, B], [A, B], [Sighting(0, band=1)], [Sighting(0, band=1)], [A, B], [Sighting(0, band=1)]]

    assert seen_on(online(filmed(film, missing="hold", recovered_overlap=most)), 2) == frames


@pytest.mark.parametrize(("before_birth", "frames"), [(True, list(range(6))), (False, [2, 3, 4, 5])])
def test_frames_before_the_first_detection_are_told_offline_unless_unwanted(
    before_birth: bool, frames: list[int]
) -> None:
    assert seen_on(offline(filmed(LATE, "copying", before_birth=before_birth), 6), 2) == frames


def test_a_track_of_an_earlier_clip_is_not_before_its_birth() -> None:
    network = filmed([[A, B], [A], [A], [A, B]], "copying", before_birth=False)

    assert seen_on(offline(network, 2), 2) == [0, 1, 2, 3]


def test_offline_nothing_is_told_in_clips_without_a_detection() -> None:
    film = [[A, B], [A, B], [A], [A], [A], [A], [A, B], [A, B]]

    assert seen_on(offline(filmed(film, "copying"), 2), 2) == [0, 1, 6, 7]


def test_online_a_frame_before_the_first_detection_is_never_told() -> None:
    assert seen_on(online(filmed(LATE, "copying")), 2) == [2, 3, 4, 5]


def test_without_write_back_missing_frames_leave_zeros() -> None:
    film = [[A, B], [A], [A, B]]
    last = {}
    for write_back in (True, False):
        last[write_back] = rows_of(online(filmed(film, "copying", write_back=write_back))[2])

    assert last[True][1] == last[False][1]
    assert last[True][2] != last[False][2]


TARS: list[tuple[Tar, str]] = [("identity", "all"), ("copying", "all"), ("copying", "sure")]


@pytest.mark.parametrize("way", [online, lambda network: offline(network, 4)], ids=["online", "offline"])
def test_unsure_tracklets_may_be_left_as_they_are(way: Any) -> None:
    film = [[A, B], [A, B], [A, Sighting(1, 0.25, label=1)], [A]]

    plain, every, sure = (way(filmed(film, tar, new_score=0.3, refined=refined)) for tar, refined in TARS)

    assert rows_of(sure[2])[2] == rows_of(plain[2])[2] != rows_of(every[2])[2]
    assert rows_of(sure[2])[1] == rows_of(every[2])[1]
    assert 2 not in bands_of(sure[3])


@pytest.mark.parametrize(("score_of", "judged"), [("matched", [True, False]), ("shown", None)])
def test_what_was_recovered_does_not_count_for_the_score_of_its_track(score_of: str, judged: list[bool] | None) -> None:
    told = online(filmed(GAP, "copying", score_of=score_of))[2]

    assert told.track_ids.tolist() == [1, 2]
    assert (None if told.judged is None else told.judged.tolist()) == judged


# Points that masks are drawn relative to


def references(network: Any) -> list[list[float]]:
    """Of the recovered tracks, the last that each frame asked for: (frames, recovered)."""
    return [round_all(asked) for asked in network.image.asked[2::3]]  # after those of all and of matched detections


def round_all(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def test_online_a_recovered_mask_is_drawn_relative_to_the_last_box() -> None:
    film = [[Sighting(0, band=0)], [Sighting(0, band=4)], [], []]
    network = filmed(film, missing="hold")

    online(network)

    assert references(network) == [[], [], [4.5 / 8], [4.5 / 8]]


def test_offline_it_is_drawn_relative_to_a_point_between_the_boxes() -> None:
    film = [[], [Sighting(0, band=0)], [], [], [Sighting(0, band=6)], []]
    network = filmed(film, missing="hold")

    offline(network, 6)

    assert isinstance(network.image, FilmedImage)
    asked = [round_all(each) for each in network.image.asked[6:]][1::2]
    assert asked == [[0.5 / 8], [], [2.5 / 8], [4.5 / 8], [], [6.5 / 8]]


# Tokens


def test_the_nearest_detection_is_the_latest_or_else_the_first() -> None:
    ids = [np.array(each, np.int64) for each in ([-1], [5, 2], [2], [-2, 5], [])]

    tracks = ClipTracks.of(ids)

    assert tracks.ids.tolist() == [2, 5]
    assert tracks.rows.tolist() == [[-1, 1, 0, -1, -1], [-1, 0, -1, 1, -1]]
    assert tracks.first.tolist() == [1, 1]
    assert tracks.nearest.tolist() == [[1, 1, 2, 2, 2], [1, 1, 1, 3, 3]]


def test_the_history_of_a_tracklet_is_its_own_whatever_its_row() -> None:
    history, like = TokenHistory(3), torch.zeros(0, 2)
    for time, tokens in enumerate([{7: 1.0}, {3: 2.0, 7: 3.0}, {7: 4.0, 3: 5.0}]):
        values = torch.tensor([[value, value] for value in tokens.values()])
        window = extended(history.past(list(tokens), like), values, time, torch.ones(len(tokens), dtype=torch.bool))
        history.keep(list(tokens), window)

    past = history.past([3, 9, 7], like)

    assert past.tokens[..., 0].tolist() == [[2, 5], [0, 0], [3, 4]]
    assert past.exists.tolist() == [[True, True], [False, False], [True, True]]
    assert past.times.tolist() == [1, 2]
    assert held(past)[:, 0].tolist() == [5, 0, 4]


def test_an_embedding_of_zeros_is_no_object_in_these_films() -> None:
    assert FilmedImage([]).classes(torch.zeros(1, 24)).sigmoid().max() == pytest.approx(1 / (1 + np.exp(-BIAS)))
