"""Parts of a data set: each has the numbers that a file of this part alone would have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slow_variants import Case, Track, moving_case, random_case

from vistool.evaluation.attributes import ATTRIBUTES
from vistool.evaluation.documents import score_documents
from vistool.evaluation.groups import grouped
from vistool.evaluation.scoring import Options, Scores

METRICS = ("ap", "identity", "hota", "attributes")
SEEDS = range(10)


def scores_of(case: Case, *metrics: str) -> Scores:
    return score_documents(case.document(), case.results(), Options(metrics=metrics or METRICS))[0]


def close(figures: Any) -> Any:
    return {metric: pytest.approx(values, abs=1e-12) for metric, values in figures.items()}


def mixed(rng: np.random.Generator) -> Case:
    """Videos that move, with an annotation in each category."""
    case = moving_case(rng, videos=4)
    kinds = list(case.categories)
    return replace(case, truth=[replace(track, category=kinds[n % 2]) for n, track in enumerate(case.truth)])


def of_lengths(*lengths: int) -> Case:
    """A video of each length, with one track that is found at a quarter of its frames."""
    square = np.ones((4, 4), bool)
    numbered = dict(enumerate(lengths, start=1))
    truth = [Track(key, key, 3, (square,) * length) for key, length in numbered.items()]
    found = [
        Track(0, key, 3, tuple(square if t % 4 == 0 else None for t in range(length)))
        for key, length in numbered.items()
    ]
    return Case(dict.fromkeys(numbered, (4, 4)), {3: "cat"}, truth, found, numbered)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_category_is_as_a_file_of_this_category_alone(seed: int) -> None:
    case = mixed(np.random.default_rng(seed))

    groups = grouped(scores_of(case), "category")

    alone = {name: scores_of(case.of_category(key)).figures() for key, name in case.categories.items()}
    for figures in alone.values():
        figures["ap"] = {name: figures["ap"][name] for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")}
    assert groups == {name: close(figures) for name, figures in alone.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_video_is_as_a_file_of_this_video_alone(seed: int) -> None:
    case = mixed(np.random.default_rng(100 + seed))

    groups = grouped(scores_of(case), "video")

    alone = {
        f"clip{key}": close({"counts": {"videos": 1}, **scores_of(case.restricted([key])).figures()})
        for key in case.sizes
    }
    assert groups == alone


@pytest.mark.parametrize("seed", SEEDS)
def test_an_attribute_is_as_a_file_of_the_videos_that_have_it(seed: int) -> None:
    case = mixed(np.random.default_rng(200 + seed))
    scores = scores_of(case)
    assert scores.attributes is not None
    chosen = {
        name: [video.id for video, has in zip(scores.videos, rows, strict=True) if has]
        for name, rows in scores.attributes.items()
    }

    groups = grouped(scores, "attribute")

    expected = {
        name: close({"counts": {"videos": len(ids)}, **scores_of(case.restricted(ids)).figures()})
        for name, ids in chosen.items()
        if ids
    }
    assert groups == expected
    assert expected


def test_attributes_are_those_of_the_annotated_tracks_that_are_no_crowds() -> None:
    small, large = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    small[1:5, 1:5], large[:6, :6] = True, True
    grows = Track(1, 1, 3, (small, large))
    case = Case(
        {1: (20, 20), 2: (20, 20)},
        {3: "cat"},
        [grows, replace(grows, id=2, video=2, crowd=True), Track(3, 2, 3, (small, small))],
        [],
        {1: 2, 2: 2},
    )

    attributes = scores_of(case).attributes

    assert attributes is not None
    assert tuple(attributes) == ATTRIBUTES
    assert {name: rows.tolist() for name, rows in attributes.items() if rows.any()} == {"size change": [True, False]}


HIDDEN: dict[str, tuple[dict[str, Any], bool]] = {
    "shares": ({"occlusions": [0.2, 0.6]}, True),
    "shares up to a half": ({"occlusions": [0.5, None]}, False),
    "whole objects": ({"full_segmentations": [{"size": [4, 4], "counts": [0, 16]}, None]}, True),
    "whole objects, half of it seen": ({"full_segmentations": [{"size": [4, 4], "counts": [0, 8, 8]}, None]}, False),
    "unknown": ({}, False),
}


@pytest.mark.parametrize(("more", "occluded"), HIDDEN.values(), ids=HIDDEN)
def test_occlusion_is_read_from_shares_or_from_whole_objects(more: dict[str, Any], occluded: bool) -> None:
    corner = np.zeros((4, 4), bool)
    corner[:2, :2] = True  # 4 pixels
    case = Case({1: (4, 4)}, {3: "cat"}, [Track(1, 1, 3, (corner, corner))], [], {1: 2})
    document = case.document()
    document["annotations"][0] |= more

    scores, _ = score_documents(document, [], Options(metrics=("attributes",)))

    assert scores.attributes is not None
    assert scores.attributes["occlusion"].tolist() == [occluded]


def test_lengths_part_the_videos_after_16_32_64_128_and_256_frames() -> None:
    lengths = [1, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257]

    groups = grouped(scores_of(of_lengths(*lengths), "ap"), "length")

    assert {name: group["counts"]["videos"] for name, group in groups.items()} == {
        "1 to 16 frames": 2,
        "17 to 32 frames": 2,
        "33 to 64 frames": 2,
        "65 to 128 frames": 2,
        "129 to 256 frames": 2,
        "over 256 frames": 1,
    }


def test_a_group_of_lengths_is_as_a_file_of_its_videos_and_empty_ones_are_left_out() -> None:
    case = of_lengths(4, 40, 8, 50)

    groups = grouped(scores_of(case, "ap", "identity"), "length")

    assert groups == {
        "1 to 16 frames": close(
            {"counts": {"videos": 2}, **scores_of(case.restricted([1, 3]), "ap", "identity").figures()}
        ),
        "33 to 64 frames": close(
            {"counts": {"videos": 2}, **scores_of(case.restricted([2, 4]), "ap", "identity").figures()}
        ),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_sizes_are_the_benchmarks_small_medium_and_large(seed: int) -> None:
    scores = scores_of(random_case(np.random.default_rng(seed)), "ap")
    ap = scores.figures()["ap"]

    groups = grouped(scores, "size")

    assert [group["ap"] for group in groups.values()] == [
        {"AP": ap["APs"], "AR100": ap["ARs"]},
        {"AP": ap["APm"], "AR100": ap["ARm"]},
        {"AP": ap["APl"], "AR100": ap["ARl"]},
    ]
    assert [name.split()[0] for name in groups] == ["small", "medium", "large"]


@pytest.mark.parametrize("by", ["size", "attribute"])
def test_what_was_not_counted_makes_no_groups(by: Any) -> None:
    assert grouped(scores_of(of_lengths(3), "identity"), by) == {}
