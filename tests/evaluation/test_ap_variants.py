"""AP of a choice of videos, of all categories as one, by occlusion, of crowded videos: against plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slow_variants import OCCLUSIONS, Case, Track, random_case, slow_figures

from vistool.evaluation.ap_numbers import FIGURES, OCCLUSION_FIGURES
from vistool.evaluation.documents import score_documents
from vistool.evaluation.scoring import Options, Scores

SEEDS = range(30)


def scores_of(case: Case, **options: Any) -> Scores:
    return score_documents(case.document(), case.results(), Options(metrics=("ap",), **options))[0]


def figures_of(case: Case, **options: Any) -> dict[str, float]:
    """The numbers of all categories, and AP of each."""
    scores = scores_of(case, **options)
    each = {} if options.get("class_agnostic") else scores.per_category()
    return scores.figures()["ap"] | {f"AP of {name}": figures["ap"]["AP"] for name, figures in each.items()}


def weights_of(scores: Scores, times: dict[int, int]) -> Any:
    return np.array([times[video.id] for video in scores.videos], np.float64)


@pytest.mark.parametrize("seed", SEEDS)
def test_odd_sizes_lengths_areas_and_crowds_agree_with_plain_loops(seed: int) -> None:
    case = random_case(np.random.default_rng(seed))

    assert figures_of(case) == pytest.approx(slow_figures(case), abs=1e-12)


def test_the_random_cases_contain_what_they_are_for() -> None:
    cases = [random_case(np.random.default_rng(seed), levels=True) for seed in SEEDS]
    tracks = [track for case in cases for track in case.truth]
    uneven = [d for case in cases for d in case.found if len(d.tube) != case.lengths[d.video]]
    resized = [
        d
        for case in cases
        for d in case.found
        if d.tube[0] is not None and d.tube[0].shape[0] != 64 * case.sizes[d.video][0]
    ]
    means = [np.mean([a for a in track.areas if a] or [0]) for track in tracks if track.areas is not None]
    figures = [figures_of(case) for case in cases]
    names = {*FIGURES, *OCCLUSION_FIGURES} - {"ARl"}  # large tubes are few, all found or all missed

    assert min(len(uneven), len(resized)) >= 20
    assert min(sum(track.crowd for track in tracks), sum(track.areas is None for track in tracks)) >= 20
    assert min(means.count(16384), 3 * means.count(65536)) >= 5
    assert min(sum(0 < each[name] < 1 for each in figures) for name in names) >= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_all_categories_as_one_agree_with_plain_loops(seed: int) -> None:
    case = random_case(np.random.default_rng(100 + seed), cell=32, levels=seed % 3 == 0)

    assert figures_of(case, class_agnostic=True) == pytest.approx(slow_figures(case, class_agnostic=True), abs=1e-12)


def test_equals_of_several_categories_are_ranked_by_category_and_then_by_file() -> None:
    square, other = np.eye(4, dtype=bool), np.fliplr(np.eye(4, dtype=bool))
    annotated = Track(1, 1, 3, (square,), areas=[4])
    right, wrong = Track(0, 1, 8, (square,), 0.5), Track(0, 1, 3, (other,), 0.5)
    case = Case({1: (4, 4)}, {8: "dog", 3: "cat"}, [annotated], [right, wrong], {1: 1})
    renamed = replace(case, found=[replace(right, category=3), replace(wrong, category=8)])

    assert figures_of(case, class_agnostic=True)["AP"] == pytest.approx(1 / 2)
    assert figures_of(renamed, class_agnostic=True)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_ovis_agrees_with_plain_loops(seed: int) -> None:
    case = random_case(np.random.default_rng(200 + seed), cell=32, levels=True, annotated=(8, 16))

    ours = figures_of(case)

    assert ours == pytest.approx(slow_figures(case), abs=1e-12)
    assert tuple(ours)[:18] == FIGURES + OCCLUSION_FIGURES


def test_without_levels_of_occlusion_there_are_twelve_numbers() -> None:
    case = random_case(np.random.default_rng(1))

    assert tuple(scores_of(case).figures()["ap"]) == FIGURES


BORDERS = {
    "two of three count: severe, none": (["severe_occlusion", "no_occlusion", "no_occlusion"], {"mo"}),
    "half, on the border of moderate and heavy": (["severe_occlusion", "slight_occlusion"] * 2, {"ho"}),
    "a quarter, light and moderate": (["slight_occlusion"] * 3, {"so", "mo"}),
    "half, moderate and heavy": (["severe_occlusion", "slight_occlusion", "no_occlusion"], {"mo", "ho"}),
    "frames without a level do not count": ([None, "severe_occlusion", None], {"ho"}),
    "no frame has a level": ([None, None], {"so"}),
}


@pytest.mark.parametrize(("levels", "groups"), BORDERS.values(), ids=BORDERS)
def test_the_group_of_an_occluded_track(levels: list[str | None], groups: set[str]) -> None:
    square = np.eye(4, dtype=bool)
    tube = (square,) * len(levels)
    case = Case(
        {1: (4, 4)}, {3: "cat"}, [Track(1, 1, 3, tube, levels=levels)], [Track(0, 1, 3, tube)], {1: len(levels)}
    )

    figures = figures_of(case)

    assert {group for group in OCCLUSIONS if figures[f"AP{group}"] != -1} == groups
    assert {group for group in OCCLUSIONS if figures[f"AR{group}"] == 1} == groups


def test_a_wrong_prediction_counts_in_every_group_of_occlusion_but_only_in_its_own_of_size() -> None:
    small, large = np.zeros((300, 300), bool), np.zeros((300, 300), bool)
    small[:9, :9], large[20:, 20:] = True, True
    light = Track(1, 1, 3, (large,), levels=["no_occlusion"])
    found = [Track(0, 1, 3, (small,), 0.9), Track(0, 1, 3, (large,), 0.8)]

    figures = figures_of(Case({1: (300, 300)}, {3: "cat"}, [light], found, {1: 1}))

    assert (figures["AP"], figures["APso"], figures["APl"]) == pytest.approx((0.5, 0.5, 1))


@pytest.mark.parametrize("class_agnostic", [False, True], ids=["by category", "as one"])
@pytest.mark.parametrize("seed", SEEDS)
def test_beyond_a_hundred_predictions_agree_with_plain_loops(seed: int, class_agnostic: bool) -> None:
    rng = np.random.default_rng(300 + seed)
    case = random_case(rng, cell=2, found_each=6)
    video = case.truth[0].video
    tubes = [track.tube for track in (*case.truth, *case.found) if track.video == video]
    more = [
        Track(0, video, int(rng.choice([3, 8], p=[0.8, 0.2])), tubes[int(rng.integers(len(tubes)))], score)
        for score in rng.choice([0.1, 0.2, 0.3, 0.4], int(rng.integers(130, 170))).tolist()
    ]
    many = replace(case, found=[*case.found, *more])

    ours = figures_of(many, class_agnostic=class_agnostic)

    assert ours == pytest.approx(slow_figures(many, class_agnostic=class_agnostic), abs=1e-12)


def test_the_hundred_and_first_prediction_finds_nothing() -> None:
    right, wrong = np.eye(4, dtype=bool), np.fliplr(np.eye(4, dtype=bool))
    truth, found = [Track(1, 1, 3, (right,))], [Track(0, 1, 3, (wrong,), 0.5)] * 99
    case = Case({1: (4, 4)}, {3: "cat"}, truth, [*found, Track(0, 1, 3, (right,), 0.4)], {1: 1})

    assert figures_of(case)["AR100"] == 1
    assert figures_of(replace(case, found=[*found[:1], *case.found]))["AR100"] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_choice_of_videos_is_as_a_file_of_these_alone(seed: int) -> None:
    rng = np.random.default_rng(400 + seed)
    case = random_case(rng, cell=32, levels=True)
    chosen = {case.truth[0].video, *(key for key in case.sizes if rng.random() < 0.4)}
    part = case.restricted(chosen)
    scores = scores_of(case)
    weights = weights_of(scores, {key: int(key in chosen) for key in case.sizes})

    figures, each = scores.figures(weights)["ap"], scores.per_category(weights)

    ours = figures | {f"AP of {name}": one["ap"]["AP"] for name, one in each.items()}
    assert ours == pytest.approx(figures_of(part), abs=1e-12)
    assert ours == pytest.approx(slow_figures(part), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_number_weights_are_as_a_file_in_which_videos_are_repeated(seed: int) -> None:
    rng = np.random.default_rng(500 + seed)
    case = random_case(rng, cell=32, levels=True, distinct=True)
    times = {key: int(rng.integers(0, 4)) for key in case.sizes} | {case.truth[0].video: int(rng.integers(1, 4))}
    repeated = case.repeated({key: times[key] for key in case.sizes})
    scores = scores_of(replace(case, truth=[replace(track, id=track.id + 1) for track in case.truth]))  # 0 is special

    ours = scores.figures(weights_of(scores, times))["ap"]

    assert ours == pytest.approx(scores_of(repeated).figures()["ap"], abs=1e-12)


def test_categories_without_annotations_in_the_chosen_videos_are_undefined_there() -> None:
    square = np.eye(4, dtype=bool)
    tracks = [Track(1, 1, 3, (square,)), Track(2, 2, 8, (square,))]
    case = Case({1: (4, 4), 2: (4, 4)}, {3: "cat", 8: "dog"}, tracks, tracks[:1], {1: 1, 2: 1})
    scores = scores_of(case)

    first = scores.per_category(np.array([1.0, 0.0]))

    assert (first["cat"]["ap"]["AP"], first["dog"]["ap"]["AP"]) == (pytest.approx(1), -1)
    assert scores.figures(np.array([1.0, 0.0]))["ap"]["AP"] == pytest.approx(1)
    assert scores.figures()["ap"]["AP"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_prediction_never_raises_a_number_and_the_last_leaves_ap_as_it_is(seed: int) -> None:
    rng = np.random.default_rng(600 + seed)
    case = random_case(rng, cell=16)
    video = case.truth[0].video
    height, width = (16 * cells for cells in case.sizes[video])
    beside = np.zeros((height, 4 * width), np.bool_)
    beside[:, -width:] = True  # where no annotation is: the pictures of this video become wider
    widened = {id(t.tube): tuple(wider(p, (height, width)) for p in t.tube) for t in (*case.truth, *case.found)}

    def moved(tracks: Any) -> list[Track]:
        return [replace(t, tube=widened[id(t.tube)]) if t.video == video else t for t in tracks]

    wide = replace(
        case,
        sizes={**case.sizes, video: beside.shape},
        truth=moved(case.truth),
        found=moved(case.found),
    )
    category = case.truth[0].category
    before = figures_of(wide)
    anywhere = Track(0, video, category, (beside,), float(rng.random()))

    after = figures_of(replace(wide, found=[*wide.found, anywhere]))
    last = figures_of(replace(wide, found=[*wide.found, replace(anywhere, score=0.0)]))

    assert [name for name in before if after[name] > before[name] + 1e-12] == []
    assert last == pytest.approx(before, abs=1e-12)


def wider(picture: Any, size_hw: tuple[int, int]) -> Any:
    if picture is None or picture.shape != size_hw:
        return picture
    return np.pad(picture, ((0, 0), (0, 3 * size_hw[1])))
