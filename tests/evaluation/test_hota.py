"""HOTA and its parts, against cases worked out by hand and a plain second implementation."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import slow_hota
from slow_hota import slow_combination, slow_numbers, slow_rows

from vistool.evaluation.hota import ALPHAS, HotaCounts, class_average, count_hota, hota_numbers

Video = tuple[Any, Any, Any]


def video(*frames: list[list[float]]) -> Video:
    """Frames as similarity matrices; every track is on every frame."""
    similarity = np.array(frames, np.float64)
    T, G, D = similarity.shape
    return similarity, np.ones((T, G), np.bool_), np.ones((T, D), np.bool_)


def numbers(*videos: Video) -> dict[str, float]:
    return asdict(hota_numbers(sum((count_hota(*each) for each in videos), HotaCounts.zero())))


def test_thresholds_are_the_doubles_of_the_definition() -> None:
    assert ALPHAS.tolist() == slow_hota.ALPHAS


def test_one_object_followed_by_two_halves() -> None:
    similarity, objects, hypotheses = video(*([[[1.0, 1.0]]] * 4))
    hypotheses[:] = [[True, False], [True, False], [False, True], [False, True]]

    hota = numbers((similarity, objects, hypotheses))

    assert (hota["DetA"], hota["AssA"], hota["AssRe"], hota["AssPr"], hota["LocA"]) == pytest.approx(
        (1, 0.5, 0.5, 1, 1)
    )
    assert hota["HOTA"] == hota["OWTA"] == hota["HOTA0"] == pytest.approx(math.sqrt(0.5))


def test_a_pair_is_found_up_to_its_similarity() -> None:
    counts = count_hota(*video([[0.5]], [[0.5]]))

    assert counts.tp.tolist() == [2] * 10 + [0] * 9
    assert counts.fn.tolist() == counts.fp.tolist() == [0] * 10 + [2] * 9
    hota = asdict(hota_numbers(counts))
    assert (hota["HOTA"], hota["DetA"], hota["AssA"]) == pytest.approx((10 / 19, 10 / 19, 10 / 19))
    assert (hota["LocA"], hota["LocA0"]) == pytest.approx(((10 * 0.5 + 9) / 19, 0.5))


def test_the_alignment_over_the_video_outweighs_a_better_overlap_on_a_frame() -> None:
    steady = [[[0.9, 0.0], [0.0, 0.9]]] * 9
    crossed = [[0.5, 0.6], [0.6, 0.5]]

    counts = count_hota(*video(*steady, crossed))

    assert counts.tp.tolist() == [20] * 10 + [18] * 8 + [0]
    assert counts.loc_a[0] == pytest.approx(18 * 0.9 + 2 * 0.5)
    assert counts.ass_a[0] == pytest.approx(20)


def test_a_prediction_beside_the_object_costs_detection_alone() -> None:
    hota = numbers(video([[1.0, 0.0]], [[1.0, 0.0]]))

    assert (hota["DetA"], hota["DetRe"], hota["DetPr"], hota["AssA"]) == pytest.approx((0.5, 1, 0.5, 1))
    assert (hota["HOTA"], hota["OWTA"]) == pytest.approx((math.sqrt(0.5), 1))


EMPTY = {
    "nothing at all": ((0, 0), (0, 0)),
    "no predictions": ((2, 0), (6, 0)),
    "no annotations": ((0, 2), (0, 6)),
}


@pytest.mark.parametrize(("tracks", "errors"), EMPTY.values(), ids=EMPTY)
def test_where_one_side_is_empty_the_other_is_all_errors(tracks: tuple[int, int], errors: tuple[int, int]) -> None:
    counts = count_hota(np.zeros((3, *tracks)), np.ones((3, tracks[0]), bool), np.ones((3, tracks[1]), bool))

    assert (set(counts.fn), set(counts.fp)) == ({errors[0]}, {errors[1]})
    hota = asdict(hota_numbers(counts))
    assert (hota.pop("LocA"), hota.pop("LocA0")) == (1, 1)
    assert set(hota.values()) == {0}


def presence(rng: np.random.Generator, T: int, G: int, D: int) -> tuple[Any, Any]:
    return rng.random((T, G)) < 0.8, rng.random((T, D)) < 0.8


def scattered(rng: np.random.Generator) -> Video:
    """Similarities without any pattern, many of them 0; also videos without frames or tracks."""
    T, G, D = (int(rng.integers(0, high)) for high in (10, 5, 5))
    similarity = rng.random((T, G, D)) * (rng.random((T, G, D)) > rng.random())
    return similarity, *presence(rng, T, G, D)


def followed(rng: np.random.Generator) -> Video:
    """Predicted tracks that stay with one object and change over to another now and then."""
    T, G, D = 14, int(rng.integers(1, 5)), int(rng.integers(1, 6))
    similarity = rng.random((T, G, D)) * 0.6 * (rng.random((T, G, D)) < 0.5)
    target = rng.integers(0, G, D)
    for t in range(T):
        target = np.where(rng.random(D) < 0.15, rng.integers(0, G, D), target)
        similarity[t, target, np.arange(D)] = 0.5 + rng.random(D) / 2
    return similarity, *presence(rng, T, G, D)


def on_thresholds(rng: np.random.Generator) -> Video:
    """One pair of each object overlaps by a multiple of a twentieth, the others hardly at all."""
    T, G, D = 10, int(rng.integers(1, 5)), 4
    similarity = rng.random((T, G, D)) / 50
    target = rng.permutation(D)[:G]
    similarity[:, np.arange(G), target] = rng.integers(1, 21, (T, G)) / 20
    return similarity, *presence(rng, T, G, D)


KINDS: list[Callable[[np.random.Generator], Video]] = [scattered, followed, on_thresholds]


@pytest.mark.parametrize("make", KINDS, ids=["scattered", "followed", "on thresholds"])
@pytest.mark.parametrize("seed", range(30))
def test_random_videos_agree_with_the_slow_implementation(
    make: Callable[[np.random.Generator], Video], seed: int
) -> None:
    case = make(np.random.default_rng(seed))

    counts = count_hota(*case)

    rows = slow_rows(*case)
    assert counts.tp.tolist() == [row["TP"] for row in rows]
    assert counts.fn.tolist() == [row["FN"] for row in rows]
    assert counts.fp.tolist() == [row["FP"] for row in rows]
    assert asdict(hota_numbers(counts)) == pytest.approx(slow_numbers(rows), abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_videos_are_combined_as_the_definition_combines_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    videos = [make(rng) for make in KINDS]

    expected = slow_numbers(slow_combination([slow_rows(*each) for each in videos]))

    assert numbers(*videos) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_pairs_of_similarity_0_across_classes_make_one_call_the_sum_over_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity, objects, hypotheses = followed(rng)
    of_object, of_hypothesis = rng.integers(0, 2, objects.shape[1]), rng.integers(0, 2, hypotheses.shape[1])
    like = of_object[:, None] == of_hypothesis

    together = count_hota(similarity * like, objects, hypotheses)

    classes = [
        count_hota(similarity[:, of_object == k][:, :, of_hypothesis == k], objects[:, of_object == k],
                   hypotheses[:, of_hypothesis == k])
        for k in range(2)
    ]  # fmt: skip
    np.testing.assert_allclose(together.as_array(), (classes[0] + classes[1]).as_array(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_two_videos_are_as_one_video_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (s1, g1, h1), (s2, g2, h2) = followed(rng), followed(rng)
    similarity = np.zeros((len(s1) + len(s2), s1.shape[1] + s2.shape[1], s1.shape[2] + s2.shape[2]))
    similarity[: len(s1), : s1.shape[1], : s1.shape[2]] = s1
    similarity[len(s1) :, s1.shape[1] :, s1.shape[2] :] = s2
    objects = np.block([[g1, np.zeros((len(g1), g2.shape[1]), bool)], [np.zeros((len(g2), g1.shape[1]), bool), g2]])
    hypotheses = np.block([[h1, np.zeros((len(h1), h2.shape[1]), bool)], [np.zeros((len(h2), h1.shape[1]), bool), h2]])

    joined = asdict(hota_numbers(count_hota(similarity, objects, hypotheses)))

    assert joined == pytest.approx(numbers((s1, g1, h1), (s2, g2, h2)), abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_order_of_tracks_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity, objects, hypotheses = followed(rng)
    some, others = rng.permutation(objects.shape[1]), rng.permutation(hypotheses.shape[1])

    shuffled = numbers((similarity[:, some][:, :, others], objects[:, some], hypotheses[:, others]))

    assert shuffled == pytest.approx(numbers((similarity, objects, hypotheses)), abs=1e-12)


def perfect(rng: np.random.Generator, tracks: int = 3) -> Video:
    """Every object predicted exactly, in another order, where objects also overlap each other."""
    order = rng.permutation(tracks)
    similarity = rng.random((8, tracks, tracks)) * 0.6
    similarity[:, order, np.arange(tracks)] = 1
    objects = rng.random((8, tracks)) < 0.8
    objects[[0, -1]] = True
    return similarity, objects, objects[:, order]


@pytest.mark.parametrize("seed", range(30))
def test_a_perfect_prediction_scores_one(seed: int) -> None:
    hota = numbers(perfect(np.random.default_rng(seed)))

    assert list(hota.values()) == pytest.approx([1] * 11, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_a_track_split_in_two_lowers_hota_and_leaves_detection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity, objects, hypotheses = perfect(rng)
    cut, track = int(rng.integers(1, 8)), int(rng.integers(0, 3))
    before = numbers((similarity, objects, hypotheses))

    halves = np.concatenate([hypotheses, hypotheses[:, [track]]], axis=1)
    halves[cut:, track] = halves[:cut, -1] = False
    after = numbers((similarity[:, :, [0, 1, 2, track]], objects, halves))

    assert after["HOTA"] < before["HOTA"]
    assert after["AssA"] < before["AssA"]


@pytest.mark.parametrize("seed", range(30))
def test_a_prediction_of_nothing_costs_precision_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarity, objects, hypotheses = followed(rng)
    before = numbers((similarity, objects, hypotheses))

    wider = np.concatenate([hypotheses, np.ones((len(objects), 1), bool)], axis=1)
    nowhere = np.zeros((*objects.shape, 1))
    after = numbers((np.concatenate([similarity, nowhere], axis=2), objects, wider))

    kept = ["AssA", "AssRe", "AssPr", "LocA", "DetRe", "OWTA", "LocA0"]
    assert [after[key] for key in kept] == pytest.approx([before[key] for key in kept], abs=1e-12)
    assert (after["HOTA"] < before["HOTA"], after["DetPr"] < before["DetPr"]) == (True, True)


@pytest.mark.parametrize("seed", range(30))
def test_a_stricter_threshold_never_finds_more(seed: int) -> None:
    counts = count_hota(*scattered(np.random.default_rng(seed)))

    assert (np.diff(counts.tp) <= 0).all()
    assert ((counts.ass_a <= counts.tp + 1e-12) & (counts.loc_a <= counts.tp + 1e-12)).all()


def test_weighted_sums_of_arrays_are_counts_again() -> None:
    videos = [followed(np.random.default_rng(seed)) for seed in range(3)]
    arrays = np.stack([count_hota(*each).as_array() for each in videos])

    drawn = HotaCounts.from_array(np.array([2.0, 0.0, 1.0]) @ arrays)

    assert asdict(hota_numbers(drawn)) == pytest.approx(numbers(videos[0], videos[0], videos[2]), abs=1e-12)


def test_a_class_without_tracks_enters_the_average_over_classes() -> None:
    found = hota_numbers(count_hota(*video([[1.0]])))

    average = class_average([found, hota_numbers(HotaCounts.zero())])

    assert (average.HOTA, average.DetA, average.LocA) == pytest.approx((0.5, 0.5, 1))


def test_what_is_written_for_absent_tracks_is_not_read() -> None:
    similarity, objects, hypotheses = followed(np.random.default_rng(1))
    absent = ~(objects[:, :, None] & hypotheses[:, None])

    assert numbers((np.where(absent, np.nan, similarity), objects, hypotheses)) == numbers(
        (np.where(absent, 1.0, similarity), objects, hypotheses)
    )


def test_tracks_without_rivals_need_no_solver() -> None:
    code = (
        "import sys, numpy as np\n"
        "from vistool.evaluation.hota import count_hota\n"
        "seen = np.ones((3, 2), bool)\n"
        "count_hota(np.eye(2) + np.zeros((3, 1, 1)), seen, seen)\n"
        "print(*({'torch', 'cv2', 'av', 'scipy'} & sys.modules.keys()))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []
