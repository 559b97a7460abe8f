"""How sure a number is: laws of the bootstrap over videos."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slow_variants import Case, moving_case

from vistool.evaluation.documents import score_documents
from vistool.evaluation.intervals import differences, intervals
from vistool.evaluation.scoring import Options, Scores

METRICS = ("ap", "identity", "hota")
SEEDS = range(5)


def scores_of(case: Case, *metrics: str) -> Scores:
    return score_documents(case.document(), case.results(), Options(metrics=metrics or METRICS))[0]


def flat(table: Any) -> dict[str, Any]:
    return {f"{metric} {name}": value for metric, values in table.items() for name, value in values.items()}


def worsened(case: Case, rng: np.random.Generator) -> Case:
    """Some predictions are lost and the others have other scores."""
    kept = [track for track in case.found if rng.random() < 0.7]
    return replace(case, found=[replace(track, score=float(rng.random())) for track in kept])


@pytest.fixture(scope="module")
def several() -> Scores:
    return scores_of(moving_case(np.random.default_rng(1), videos=12))


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others(several: Scores) -> None:
    first, again, other = (intervals(several, 40, seed) for seed in (7, 7, 8))

    assert first == again
    assert first["ap"]["AP"] != other["ap"]["AP"]


def test_every_number_has_an_interval(several: Scores) -> None:
    figures = several.figures()

    found = intervals(several, 20, 0)

    assert {metric: list(values) for metric, values in found.items()} == {m: list(v) for m, v in figures.items()}
    assert all(low <= high for low, high in flat(found).values())


@pytest.mark.parametrize("seed", SEEDS)
def test_an_interval_contains_the_number_itself_where_there_are_many_videos(seed: int) -> None:
    scores = scores_of(moving_case(np.random.default_rng(seed), videos=20))
    figures = flat(scores.figures())

    found = flat(intervals(scores, 100, seed))

    assert [name for name, (low, high) in found.items() if not low <= figures[name] <= high] == []


def test_an_interval_is_of_videos_drawn_with_replacement(several: Scores) -> None:
    rng = np.random.default_rng(5)
    draws = [rng.integers(0, len(several.videos), len(several.videos)).tolist() for _ in range(60)]
    values = [
        several.figures(np.array([float(draw.count(row)) for row in range(len(several.videos))])) for draw in draws
    ]
    idf1 = sorted(each["identity"]["IDF1"] for each in values)

    low, high = intervals(several, 60, 5)["identity"]["IDF1"]

    assert idf1[1] <= low <= idf1[2]  # of 60 a fortieth is one and a half
    assert idf1[-3] <= high <= idf1[-2]


def test_videos_that_are_all_alike_leave_no_doubt() -> None:
    alike = scores_of(moving_case(np.random.default_rng(3), videos=1).repeated({1: 8}))

    found = intervals(alike, 50, 0)

    assert [high - low for low, high in flat(found).values()] == pytest.approx([0] * len(flat(found)), abs=1e-12)
    assert {name: low for name, (low, _) in flat(found).items()} == pytest.approx(flat(alike.figures()), abs=1e-12)


def test_more_videos_of_the_same_kind_make_the_interval_narrower() -> None:
    case = moving_case(np.random.default_rng(4), videos=6)
    few, many = (scores_of(case.repeated(dict.fromkeys(case.sizes, times)), "identity") for times in (1, 4))

    widths = [high - low for low, high in (intervals(each, 150, 0)["identity"]["IDF1"] for each in (few, many))]

    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.3)


def test_what_no_draw_defines_has_no_interval(several: Scores) -> None:
    assert several.figures()["ap"]["APl"] == -1
    assert intervals(several, 10, 0)["ap"]["APl"] == (-1, -1)


def test_draws_that_leave_a_number_undefined_are_left_out_of_its_interval() -> None:
    case = moving_case(np.random.default_rng(6), videos=2, exact=True)
    half = replace(case, truth=[track for track in case.truth if track.video == 1])
    half = replace(half, found=[track for track in half.found if track.video == 1])
    scores = scores_of(half)

    found = intervals(scores, 40, 0)

    assert found["ap"]["AP"] == pytest.approx((1, 1), abs=1e-12)
    assert found["identity"]["IDF1"] == (1, 1)
    assert found["identity"]["GT"][0] == 0


def test_a_set_does_not_differ_from_itself(several: Scores) -> None:
    figures, found = differences(several, several, 30, 0)

    undefined = {name for name, value in flat(several.figures()).items() if value == -1}
    values = {name: value for name, value in flat(figures).items() if name not in undefined}
    assert set(values.values()) == {0}
    assert {flat(found)[name] for name in values} == {(0, 0)}
    assert all(math.isnan(flat(figures)[name]) for name in undefined)
    assert {flat(found)[name] for name in undefined} == {(-1, -1)}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_other_way_round_a_difference_changes_its_sign(seed: int) -> None:
    rng = np.random.default_rng(10 + seed)
    case = moving_case(rng, videos=8)
    a, b = scores_of(case), scores_of(worsened(case, rng))

    figures, found = (flat(table) for table in differences(a, b, 20, seed))
    turned, turned_found = (flat(table) for table in differences(b, a, 20, seed))

    assert turned == pytest.approx({name: -value for name, value in figures.items()}, abs=1e-12, nan_ok=True)
    defined = [name for name, value in figures.items() if not math.isnan(value)]
    assert defined
    mirrored = [(-high, -low) for low, high in (found[name] for name in defined)]
    assert np.array([turned_found[name] for name in defined]) == pytest.approx(np.array(mirrored), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_difference_is_of_the_numbers_and_sure_where_every_video_is_better(seed: int) -> None:
    rng = np.random.default_rng(20 + seed)
    perfect = moving_case(rng, videos=8, exact=True)
    worse = replace(perfect, found=[track for n, track in enumerate(perfect.found) if n % 3])
    a, b = scores_of(worse), scores_of(perfect)

    figures, found = differences(a, b, 40, seed)

    ours, theirs = a.figures(), b.figures()
    assert figures["ap"]["AP"] == pytest.approx(theirs["ap"]["AP"] - ours["ap"]["AP"], abs=1e-12)
    assert figures["hota"]["HOTA"] == pytest.approx(theirs["hota"]["HOTA"] - ours["hota"]["HOTA"], abs=1e-12)
    assert found["identity"]["IDF1"][0] > 0
    assert found["identity"]["FN"][1] < 0


def test_what_two_sets_share_cancels(several: Scores) -> None:
    case = moving_case(np.random.default_rng(1), videos=12)
    a, b = several, scores_of(replace(case, found=case.found[1:]))

    figures, found = differences(a, b, 60, 0)

    low, high = found["identity"]["IDF1"]
    alone_low, alone_high = intervals(a, 60, 0)["identity"]["IDF1"]
    assert figures["identity"]["IDF1"] != 0
    assert high - low < (alone_high - alone_low) / 2
