"""IDF1, MOTA and their relatives, against cases worked out by hand and a plain second implementation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from slow_identity import slow_counts, slow_ratios, solve, try_all

from vistool.evaluation.identity import IdentityCounts, IdentityNumbers, count_identity, identity_numbers

NAN = np.nan
Video = tuple[Any, Any, Any]


def video(*frames: list[list[float]]) -> Video:
    """Frames as distance matrices; every track is on every frame."""
    distances = np.array(frames, np.float64)
    T, G, D = distances.shape
    return distances, np.ones((T, G), np.bool_), np.ones((T, D), np.bool_)


def test_one_object_followed_by_two_halves() -> None:
    distances, objects, hypotheses = video(*([[[0.0, 0.0]]] * 4))
    hypotheses[:] = [[True, False], [True, False], [False, True], [False, True]]

    counts = count_identity(distances, objects, hypotheses)

    assert (counts.switches, counts.idtp, counts.idfp, counts.idfn) == (1, 2, 2, 2)
    numbers = identity_numbers(counts)
    assert (numbers.MOTA, numbers.IDF1, numbers.MOTP, numbers.IDs) == (0.75, 0.5, 0, 1)


def test_an_object_keeps_its_hypothesis_although_another_is_nearer() -> None:
    counts = count_identity(*video([[0.1, NAN]], [[0.4, 0.0]]))

    assert (counts.matches, counts.switches, counts.distance_sum) == (2, 0, 0.5)


def test_an_object_remembers_its_hypothesis_over_a_gap_in_both() -> None:
    distances, objects, hypotheses = video(*([[[0.1, NAN]]] * 4), [[0.4, 0.0]])
    objects[1:3], hypotheses[2:4, 0] = False, False

    counts = count_identity(distances, objects, hypotheses)

    assert (counts.matches, counts.switches, counts.misses) == (2, 0, 1)


def test_of_two_objects_that_remember_one_hypothesis_the_first_has_it() -> None:
    distances, objects, hypotheses = video([[0.1, NAN], [NAN, NAN]], [[NAN, NAN], [0.1, NAN]], [[0.5, NAN], [0.0, 0.2]])
    objects[1, 0] = objects[0, 1] = False

    counts = count_identity(distances, objects, hypotheses)

    assert (counts.matches, counts.switches) == (3, 1)
    assert counts.distance_sum == pytest.approx(0.1 + 0.1 + 0.5 + 0.2)


def test_four_far_pairs_are_better_than_three_near_pairs() -> None:
    distances = np.full((4, 4), NAN)
    distances[np.arange(4), np.arange(4)] = 0.5
    distances[np.arange(3), np.arange(1, 4)] = 0.0

    counts = count_identity(*video(distances.tolist()))

    assert (counts.matches, counts.distance_sum) == (4, 2.0)


def test_a_return_to_the_first_hypothesis_is_a_second_switch() -> None:
    counts = count_identity(*video([[0.1, NAN]], [[NAN, 0.1]], [[0.1, NAN]]))

    assert (counts.matches, counts.switches) == (1, 2)


def test_only_a_miss_between_two_matches_is_a_fragmentation() -> None:
    frames = [NAN, 0.1, NAN, NAN, 0.1, 0.1, NAN]

    counts = count_identity(*video(*([[distance]] for distance in frames)))

    assert (counts.fragmentations, counts.misses, counts.false_positives) == (1, 4, 4)


def test_an_object_that_leaves_between_two_matches_is_not_fragmented() -> None:
    distances, objects, hypotheses = video([[0.1]], [[NAN]], [[0.1]])
    objects[1] = False

    assert count_identity(distances, objects, hypotheses).fragmentations == 0


SHARES = {"four of five": (4, (1, 0, 0)), "three": (3, (0, 1, 0)), "one": (1, (0, 1, 0)), "none": (0, (0, 0, 1))}


@pytest.mark.parametrize(("found", "expected"), SHARES.values(), ids=SHARES)
def test_objects_are_told_apart_by_the_share_of_frames_found(found: int, expected: tuple[int, int, int]) -> None:
    counts = count_identity(*video(*([[0.1 if t < found else NAN]] for t in range(5))))

    assert (counts.mostly_tracked, counts.partially_tracked, counts.mostly_lost) == expected


def test_an_object_that_is_never_there_is_no_object() -> None:
    distances, objects, hypotheses = video([[0.1], [0.1]])
    objects[:, 1] = False

    assert asdict(count_identity(distances, objects, hypotheses)) == asdict(count_identity(*video([[0.1]])))


def test_identities_are_chosen_for_the_whole_video() -> None:
    frames = [[[0.0, NAN], [NAN, 0.0]]] * 2 + [[[NAN, 0.0], [0.0, NAN]]] * 3

    counts = count_identity(*video(*frames))

    assert (counts.switches, counts.idtp, counts.idfn) == (2, 6, 4)


def test_nothing_annotated_and_nothing_predicted_leaves_every_fraction_undefined() -> None:
    numbers = identity_numbers(IdentityCounts.zero())

    assert numbers == IdentityNumbers(-1, -1, -1, -1, -1, 0, 0, 0, 0, -1, -1, 0, 0, 0, 0)


def test_without_predictions_only_what_is_about_them_is_undefined() -> None:
    numbers = identity_numbers(count_identity(*video(*([np.zeros((2, 0)).tolist()] * 3))))

    assert (numbers.IDF1, numbers.IDR, numbers.MOTA, numbers.recall, numbers.FN, numbers.ML) == (0, 0, 0, 0, 6, 2)
    assert (numbers.IDP, numbers.precision, numbers.MOTP) == (-1, -1, -1)


def test_without_annotations_only_what_is_about_predictions_is_defined() -> None:
    numbers = identity_numbers(count_identity(np.zeros((3, 0, 2)), np.ones((3, 0), bool), np.ones((3, 2), bool)))

    assert (numbers.IDF1, numbers.IDP, numbers.precision, numbers.FP) == (0, 0, 0, 6)
    assert (numbers.IDR, numbers.recall, numbers.MOTA, numbers.MOTP) == (-1, -1, -1, -1)


def presence(rng: np.random.Generator, T: int, G: int, D: int) -> tuple[Any, Any]:
    return rng.random((T, G)) < 0.8, rng.random((T, D)) < 0.8


def scattered(rng: np.random.Generator) -> Video:
    """Distances without any pattern, some of them too great; also videos without frames or tracks."""
    T, G, D = (int(rng.integers(0, high)) for high in (10, 5, 5))
    distances = rng.random((T, G, D)) / 2
    distances[rng.random((T, G, D)) < rng.random()] = NAN
    return distances, *presence(rng, T, G, D)


def followed(rng: np.random.Generator) -> Video:
    """Predicted tracks that stay near one object and change over to another now and then."""
    T, G, D = 14, int(rng.integers(1, 5)), int(rng.integers(1, 6))
    distances = rng.random((T, G, D)) / 4 + 0.3
    target = rng.integers(0, G, D)
    for t in range(T):
        target = np.where(rng.random(D) < 0.15, rng.integers(0, G, D), target)
        distances[t, target, np.arange(D)] = rng.random(D) / 4
    distances[distances > 0.5] = NAN
    return distances, *presence(rng, T, G, D)


def classed(rng: np.random.Generator) -> Video:
    """Tracks of two classes, of which only like ones may be paired."""
    distances, objects, hypotheses = followed(rng)
    unlike = rng.integers(0, 2, distances.shape[1])[:, None] != rng.integers(0, 2, distances.shape[2])
    distances[:, unlike] = NAN
    return distances, objects, hypotheses


def tied(rng: np.random.Generator) -> Video:
    """Few different distances."""
    distances, objects, hypotheses = followed(rng)
    return np.round(distances * 4) / 4, objects, hypotheses


@pytest.mark.parametrize(
    ("make", "assign"),
    [(scattered, try_all), (followed, try_all), (classed, try_all), (tied, solve)],
    ids=["scattered", "followed", "classed", "tied"],
)
@pytest.mark.parametrize("seed", range(30))
def test_random_videos_agree_with_the_slow_implementation(
    make: Callable[[np.random.Generator], Video], assign: Any, seed: int
) -> None:
    distances, objects, hypotheses = make(np.random.default_rng(seed))

    ours = count_identity(distances, objects, hypotheses)

    theirs = slow_counts(distances, objects, hypotheses, assign)
    assert asdict(ours) == pytest.approx(theirs, abs=1e-12)
    numbers = asdict(identity_numbers(ours))
    ratios = slow_ratios(theirs)
    assert {key: numbers[key] for key in ratios} == pytest.approx(ratios, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_parts_add_up_to_their_wholes(seed: int) -> None:
    counts = count_identity(*followed(np.random.default_rng(seed)))

    assert counts.matches + counts.switches + counts.misses == counts.objects == counts.idtp + counts.idfn
    assert counts.matches + counts.switches + counts.false_positives == counts.predictions
    assert counts.idtp + counts.idfp == counts.predictions


@pytest.mark.parametrize("seed", range(30))
def test_the_order_of_tracks_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances, objects, hypotheses = followed(rng)
    some, others = rng.permutation(objects.shape[1]), rng.permutation(hypotheses.shape[1])
    # Objects that remember the same hypothesis are served in file order, so here none may be paired with two objects.
    owner = np.arange(hypotheses.shape[1]) % objects.shape[1]
    distances[:, np.arange(objects.shape[1])[:, None] != owner] = NAN

    shuffled = count_identity(distances[:, some][:, :, others], objects[:, some], hypotheses[:, others])

    expected = asdict(count_identity(distances, objects, hypotheses))
    assert asdict(shuffled) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_order_of_hypotheses_never_matters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances, objects, hypotheses = followed(rng)
    order = rng.permutation(hypotheses.shape[1])

    shuffled = count_identity(distances[:, :, order], objects, hypotheses[:, order])

    assert asdict(shuffled) == pytest.approx(asdict(count_identity(distances, objects, hypotheses)), abs=1e-12)


def perfect(rng: np.random.Generator, tracks: int = 3) -> Video:
    """Every object predicted exactly, in another order, where objects also overlap each other."""
    order = rng.permutation(tracks)
    distances = rng.random((8, tracks, tracks)) * 0.6 + 0.1
    distances[:, order, np.arange(tracks)] = 0
    distances[distances > 0.5] = NAN
    objects = rng.random((8, tracks)) < 0.8
    objects[0] = True
    return distances, objects, objects[:, order]


@pytest.mark.parametrize("seed", range(30))
def test_a_perfect_prediction_scores_one(seed: int) -> None:
    numbers = identity_numbers(count_identity(*perfect(np.random.default_rng(seed))))

    fractions = (numbers.IDF1, numbers.IDP, numbers.IDR, numbers.MOTA, numbers.precision, numbers.recall)
    assert fractions == (1, 1, 1, 1, 1, 1)
    assert (numbers.MOTP, numbers.IDs, numbers.FP, numbers.FN, numbers.Frag, numbers.MT) == (0, 0, 0, 0, 0, 3)


@pytest.mark.parametrize("seed", range(30))
def test_a_track_split_in_two_lowers_idf1_and_costs_at_most_one_switch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances, objects, hypotheses = perfect(rng)
    cut, track = int(rng.integers(1, 8)), int(rng.integers(0, 3))
    hypotheses[[0, -1]] = objects[[0, -1]] = True  # both parts have a frame
    before = identity_numbers(count_identity(distances, objects, hypotheses))

    halves = np.concatenate([hypotheses, hypotheses[:, [track]]], axis=1)
    halves[cut:, track] = halves[:cut, -1] = False
    after = identity_numbers(count_identity(distances[:, :, [0, 1, 2, track]], objects, halves))

    assert after.IDF1 < before.IDF1
    assert before.MOTA - 1 / before.GT - 1e-12 <= after.MOTA <= before.MOTA


@pytest.mark.parametrize("seed", range(30))
def test_a_prediction_of_nothing_adds_false_positives_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    distances, objects, hypotheses = followed(rng)
    before = count_identity(distances, objects, hypotheses)

    nowhere = np.full((*objects.shape, 1), NAN)
    seen = rng.random((len(objects), 1)) < 0.5
    wider = np.concatenate([hypotheses, seen], axis=1)
    after = count_identity(np.concatenate([distances, nowhere], axis=2), objects, wider)

    times = int(seen.sum())
    surplus = {"predictions": times, "false_positives": times, "idfp": times}
    expected = {key: value + surplus.get(key, 0) for key, value in asdict(before).items()}
    assert asdict(after) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_two_videos_are_as_one_video_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (d1, g1, h1), (d2, g2, h2) = followed(rng), followed(rng)
    distances = np.full((len(d1) + len(d2), d1.shape[1] + d2.shape[1], d1.shape[2] + d2.shape[2]), NAN)
    distances[: len(d1), : d1.shape[1], : d1.shape[2]] = d1
    distances[len(d1) :, d1.shape[1] :, d1.shape[2] :] = d2
    objects = np.block([[g1, np.zeros((len(g1), g2.shape[1]), bool)], [np.zeros((len(g2), g1.shape[1]), bool), g2]])
    hypotheses = np.block([[h1, np.zeros((len(h1), h2.shape[1]), bool)], [np.zeros((len(h2), h1.shape[1]), bool), h2]])

    joined = count_identity(distances, objects, hypotheses)

    assert asdict(joined) == pytest.approx(asdict(count_identity(d1, g1, h1) + count_identity(d2, g2, h2)), abs=1e-12)


def test_weighted_sums_of_arrays_are_counts_again() -> None:
    counts = [count_identity(*followed(np.random.default_rng(seed))) for seed in range(3)]

    drawn = IdentityCounts.from_array(np.array([2.0, 0.0, 1.0]) @ np.stack([each.as_array() for each in counts]))

    assert asdict(drawn) == pytest.approx(asdict(sum([counts[0], counts[0], counts[2]], IdentityCounts.zero())))
    assert isinstance(drawn.switches, int)


def test_what_is_written_for_absent_tracks_is_not_read() -> None:
    distances, objects, hypotheses = followed(np.random.default_rng(1))
    absent = ~(objects[:, :, None] & hypotheses[:, None])

    assert count_identity(np.where(absent, 0.0, distances), objects, hypotheses) == count_identity(
        np.where(absent, NAN, distances), objects, hypotheses
    )


def test_tracks_without_rivals_need_no_solver() -> None:
    code = (
        "import sys, numpy as np\n"
        "from vistool.evaluation.identity import count_identity\n"
        "seen = np.ones((3, 2), bool)\n"
        "count_identity(np.where(np.eye(2), 0.1, np.nan) + np.zeros((3, 1, 1)), seen, seen)\n"
        "print(*({'torch', 'cv2', 'av', 'scipy'} & sys.modules.keys()))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []
