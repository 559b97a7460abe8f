"""From documents to identities, HOTA and the price of errors: against plain loops over dense masks, and laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slow_variants import Case, Track, moving_case, random_case, slow_figures, slow_hotas, slow_identities, ties

from vistool.evaluation.documents import score_documents
from vistool.evaluation.scoring import Options, Scores

SEEDS = range(30)
EVERYTHING = ("ap", "identity", "hota")


def scores_of(case: Case, *metrics: str, **options: Any) -> Scores:
    return score_documents(case.document(), case.results(), Options(metrics=metrics or EVERYTHING, **options))[0]


def flat(scores: Scores, weights: Any = None) -> dict[str, float]:
    figures = scores.figures(weights)
    return {f"{metric} {name}": value for metric, values in figures.items() for name, value in values.items()}


def close(figures: Any) -> Any:
    return {metric: pytest.approx(values, abs=1e-12) for metric, values in figures.items()}


@pytest.mark.parametrize("on", ["box", "mask"])
@pytest.mark.parametrize("seed", SEEDS)
def test_identities_agree_with_plain_loops(seed: int, on: Any) -> None:
    case = moving_case(np.random.default_rng(seed))

    scores = scores_of(case, "identity", identity_on=on)

    assert scores.figures()["identity"] == pytest.approx(slow_identities(case, on=on), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_hota_agrees_with_plain_loops(seed: int) -> None:
    case = moving_case(np.random.default_rng(100 + seed))

    scores = scores_of(case, "hota")

    assert scores.figures()["hota"] == pytest.approx(slow_hotas(case), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_predictions_under_the_least_score_do_not_take_part(seed: int) -> None:
    case = moving_case(np.random.default_rng(200 + seed))
    score_min = float(np.median([track.score for track in case.found]))  # of a prediction that is kept, as it may be

    figures = scores_of(case, score_min=score_min).figures()

    assert figures["identity"] == pytest.approx(slow_identities(case, on="box", score_min=score_min), abs=1e-12)
    assert figures["hota"] == pytest.approx(slow_hotas(case, score_min=score_min), abs=1e-12)
    assert figures["ap"] == scores_of(case, "ap").figures()["ap"]


@pytest.mark.parametrize("seed", SEEDS)
def test_each_category_alone_agrees_with_plain_loops(seed: int) -> None:
    case = moving_case(np.random.default_rng(300 + seed))

    each = scores_of(case, "identity", "hota").per_category()

    wanted = {
        name: {
            "identity": pytest.approx(slow_identities(case, on="box", category=key), abs=1e-12),
            "hota": pytest.approx(slow_hotas(case, categories=[key]), abs=1e-12),
        }
        for key, name in case.categories.items()
    }
    assert each == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_categories_as_one_agree_with_plain_loops(seed: int) -> None:
    case = moving_case(np.random.default_rng(400 + seed))
    one = case.of_one_category()

    scores = scores_of(case, class_agnostic=True, identity_on="mask")  # boxes tie, and ties depend on the order

    figures = scores.figures()
    assert figures["ap"] == pytest.approx(slow_figures(case, class_agnostic=True), abs=1e-12)
    assert figures["identity"] == pytest.approx(slow_identities(one, on="mask"), abs=1e-12)
    assert figures["hota"] == pytest.approx(slow_hotas(one), abs=1e-12)
    assert list(scores.per_category()) == ["object"]


@pytest.mark.parametrize("class_agnostic", [False, True], ids=["by category", "as one"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_ap50_of_the_error_analysis_is_the_benchmarks(seed: int, class_agnostic: bool) -> None:
    case = random_case(np.random.default_rng(500 + seed), cell=8)
    case = replace(case, truth=[replace(track, id=track.id + 1) for track in case.truth])  # 0 is never found

    scores = scores_of(case, "ap", "errors", class_agnostic=class_agnostic)

    assert scores.errors is not None
    assert scores.errors.ap50 == pytest.approx(scores.figures()["ap"]["AP50"], abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_metrics_that_are_asked_for_do_not_change_each_other(seed: int) -> None:
    case = moving_case(np.random.default_rng(600 + seed))

    together = scores_of(case, "ap", "identity", "hota", "attributes", "errors").figures()

    assert together == {metric: scores_of(case, metric).figures()[metric] for metric in EVERYTHING}


@pytest.mark.parametrize("class_agnostic", [False, True], ids=["by category", "as one"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_perfect_prediction_scores_one_everywhere(seed: int, class_agnostic: bool) -> None:
    case = moving_case(np.random.default_rng(700 + seed), exact=True)

    scores = scores_of(case, *EVERYTHING, "errors", class_agnostic=class_agnostic)

    figures = scores.figures()
    whole = [value for name, value in figures["ap"].items() if name not in ("AR1", "AR10") and value != -1]
    identity = figures["identity"]
    ratios = [identity[name] for name in ("IDF1", "IDP", "IDR", "MOTA", "precision", "recall")]
    ones = [*whole, *ratios, *figures["hota"].values()]
    assert ones == pytest.approx([1] * len(ones), abs=1e-12)
    assert [identity[name] for name in ("MOTP", "IDs", "FP", "FN", "PT", "ML", "Frag")] == [0] * 7
    assert scores.errors is not None
    assert {cost.count for cost in scores.errors.errors.values()} == {0}


@pytest.mark.parametrize("seed", SEEDS)
def test_new_ids_and_another_order_change_nothing_where_nothing_ties(seed: int) -> None:
    rng = np.random.default_rng(800 + seed)
    case = moving_case(rng)

    before, after = scores_of(case, "ap", "hota"), scores_of(renamed(case, rng, shuffle=True), "ap", "hota")

    assert flat(after) == pytest.approx(flat(before), abs=1e-12)
    expected = {name: close(figures) for name, figures in before.per_category().items()}
    assert after.per_category() == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_new_ids_and_another_order_of_predictions_change_no_identity(seed: int) -> None:
    """Of annotations the order does matter: of two that remember one prediction the first has it."""
    rng = np.random.default_rng(1100 + seed)
    case = next(case for case in iter(lambda: moving_case(rng), None) if not ties(case))
    other = renamed(case, rng, shuffle=False)

    before, after = (scores_of(each, "identity", identity_on="mask") for each in (case, other))  # boxes may tie

    assert flat(after) == pytest.approx(flat(before), abs=1e-12)


def renamed(case: Case, rng: np.random.Generator, *, shuffle: bool) -> Case:
    """Every id is new, and all records are in another order; the annotations only if `shuffle`."""
    videos = dict(zip(case.sizes, (rng.permutation(50)[: len(case.sizes)] + 1).tolist(), strict=True))
    kinds = dict(zip(case.categories, (rng.permutation(50)[: len(case.categories)] + 1).tolist(), strict=True))
    ids = (rng.permutation(90)[: len(case.truth)] + 1).tolist()
    truth = [
        replace(track, id=key, video=videos[track.video], category=kinds[track.category])
        for key, track in zip(ids, case.truth, strict=True)
    ]
    found = [replace(track, video=videos[track.video], category=kinds[track.category]) for track in case.found]
    return Case(
        {videos[key]: case.sizes[key] for key in reversed(list(case.sizes))},
        {kinds[key]: case.categories[key] for key in reversed(list(case.categories))},
        [truth[n] for n in rng.permutation(len(truth))] if shuffle else truth,
        [found[n] for n in rng.permutation(len(found))],
        {videos[key]: length for key, length in case.lengths.items()},
    )


@pytest.mark.parametrize("exact", [True, False], ids=["perfect", "shifted"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_track_in_two_parts_lowers_idf1_and_hota_and_leaves_mota_within_one_switch(seed: int, exact: bool) -> None:
    rng = np.random.default_rng(900 + seed)
    case = moving_case(rng, exact=True)
    if not exact:  # a row is lost everywhere
        case = replace(case, found=[replace(track, tube=tuple(map(without_top, track.tube))) for track in case.found])
    n = int(rng.integers(len(case.found)))
    whole = case.found[n]
    cut = int(rng.integers(1, len(whole.tube)))
    first = replace(whole, tube=tuple(p if t < cut else None for t, p in enumerate(whole.tube)))
    second = replace(whole, tube=tuple(p if t >= cut else None for t, p in enumerate(whole.tube)))

    before = scores_of(case).figures()
    after = scores_of(replace(case, found=[*case.found[:n], first, second, *case.found[n + 1 :]])).figures()

    assert after["identity"]["IDF1"] < before["identity"]["IDF1"]
    assert after["hota"]["HOTA"] < before["hota"]["HOTA"]
    assert before["identity"]["MOTA"] - after["identity"]["MOTA"] == pytest.approx(1 / before["identity"]["GT"])
    assert after["identity"]["IDs"] == 1
    assert after["hota"]["DetA"] == pytest.approx(before["hota"]["DetA"], abs=1e-12)


def without_top(picture: Any) -> Any:
    if picture is None:
        return None
    smaller = picture.copy()
    smaller[np.flatnonzero(picture.any(axis=1))[0]] = False
    return smaller


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_number_weights_are_as_a_file_in_which_videos_are_repeated(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    case = moving_case(rng)
    times = {key: int(rng.integers(0, 4)) for key in case.sizes} | {1: 2}
    scores = scores_of(case)

    ours = flat(scores, np.array([times[video.id] for video in scores.videos], np.float64))

    assert ours == pytest.approx(flat(scores_of(case.repeated(times))), abs=1e-12)


def test_crowds_are_ordinary_objects_to_identities_and_hota() -> None:
    case = moving_case(np.random.default_rng(5))
    crowded = replace(case, truth=[replace(track, crowd=True) for track in case.truth])

    assert scores_of(crowded, "identity", "hota").figures() == scores_of(case, "identity", "hota").figures()
    assert scores_of(crowded, "ap").figures()["ap"]["AP"] == -1


def test_a_mask_without_a_pixel_is_no_object_and_no_hypothesis() -> None:
    square, nothing = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    truth = [Track(1, 1, 3, (square, nothing, square))]
    found = [Track(0, 1, 3, (square, square, nothing))]
    case = Case({1: (4, 4)}, {3: "cat"}, truth, found, {1: 3})

    identity = scores_of(case, "identity").figures()["identity"]

    assert [identity[name] for name in ("GT", "FN", "FP", "IDs", "IDF1")] == [2, 1, 1, 0, 0.5]
    assert scores_of(case, "hota").figures()["hota"] == pytest.approx(slow_hotas(case), abs=1e-12)


def test_boxes_and_masks_differ_where_a_mask_does_not_fill_its_box() -> None:
    one = np.eye(8, dtype=bool)
    case = Case({1: (8, 8)}, {3: "cat"}, [Track(1, 1, 3, (one,))], [Track(0, 1, 3, (np.fliplr(one),))], {1: 1})

    on_boxes, on_masks = (scores_of(case, "identity", identity_on=on).figures()["identity"] for on in ("box", "mask"))

    assert (on_boxes["IDF1"], on_masks["IDF1"]) == (1, 0)


def test_counts_of_tracks_and_frames_a_video() -> None:
    case = moving_case(np.random.default_rng(2), videos=4)

    scores = scores_of(case, "ap")

    ids = [video.id for video in scores.videos]
    assert scores.lengths.tolist() == [case.lengths[key] for key in ids]
    assert scores.gt_tracks.tolist() == [sum(track.video == key for track in case.truth) for key in ids]
    assert scores.pred_tracks.tolist() == [sum(track.video == key for track in case.found) for key in ids]


def test_what_was_not_asked_for_is_not_there() -> None:
    case = moving_case(np.random.default_rng(3))

    scores = scores_of(case, "identity")

    assert scores.identity is not None
    assert [*scores.identity] == [None, "cat", "dog"]
    assert (scores.ap, scores.hota, scores.attributes, scores.errors) == (None, None, None, None)
    assert list(scores.figures()) == ["identity"]
