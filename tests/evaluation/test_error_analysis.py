"""Kinds of error and their prices: data sets with one kind of error, laws, and a plain second implementation.

Pictures are one row of pixels here, and a mask is an interval of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from slow_error_analysis import Mask, Video, mask_iou, slow_report, tube_iou
from slow_ytvis import one_setting

from vistool.evaluation.error_analysis import KINDS, VideoTubes, analyse, average_precision, judge

WIDTH, FRAMES = 48, 6
CAT, DOG = 3, 8


def tube(left: int, right: int, frames: Sequence[int] = range(FRAMES)) -> list[Mask]:
    """Pixels left … right - 1 on these frames, nothing on the others."""
    return [frozenset(range(left, right)) if t in frames else None for t in range(FRAMES)]


def joined(one: list[Mask], other: list[Mask]) -> list[Mask]:
    return [a if a is not None else b for a, b in zip(one, other, strict=True)]


def video(
    gts: Sequence[tuple[int, list[Mask]]], dets: Sequence[tuple[float, int, list[Mask]]], crowds: Sequence[int] = ()
) -> Video:
    """Annotations (label, tube), of which those in `crowds` are crowds, and predictions (score, label, tube)."""
    return {
        "gts": [{"label": label, "masks": masks, "crowd": n in crowds} for n, (label, masks) in enumerate(gts)],
        "dets": [{"score": score, "label": label, "masks": masks} for score, label, masks in dets],
    }


def tubes_of(video: Video) -> VideoTubes:
    dets, gts = video["dets"], video["gts"]

    def seen(entries: list[dict[str, list[Mask]]]) -> np.ndarray:
        rows = [[entry["masks"][t] is not None for entry in entries] for t in range(FRAMES)]
        return np.array(rows, np.bool_).reshape(FRAMES, len(entries))

    frame_iou = [[[mask_iou(d["masks"][t], g["masks"][t]) for g in gts] for d in dets] for t in range(FRAMES)]
    return VideoTubes(
        scores=np.array([d["score"] for d in dets], np.float64),
        det_classes=np.array([d["label"] for d in dets], np.int64),
        gt_classes=np.array([g["label"] for g in gts], np.int64),
        crowd=np.array([g["crowd"] for g in gts], np.bool_),
        iou=np.array([[tube_iou(d["masks"], g["masks"]) for g in gts] for d in dets]).reshape(len(dets), len(gts)),
        frame_iou=np.array(frame_iou, np.float64).reshape(FRAMES, len(dets), len(gts)),
        det_seen=seen(dets),
        gt_seen=seen(gts),
    )


def counts(videos: list[Video]) -> dict[str, int]:
    """The kinds of error that occur."""
    errors = analyse([tubes_of(video) for video in videos]).errors
    return {kind: cost.count for kind, cost in errors.items() if cost.count}


LEFT, RIGHT = tube(0, 12), tube(24, 36)
PAIR = [(CAT, LEFT), (DOG, RIGHT)]
CATS = [(CAT, LEFT), (CAT, RIGHT)]
FOUND = [(0.3, CAT, LEFT), (0.2, DOG, RIGHT)]
THIRDS = [(0, 1), (2, 3), (4, 5)]

ONE_KIND = {
    "class: the other class": ("class", 2, video(PAIR, [(0.9, DOG, LEFT), (0.8, CAT, RIGHT)])),
    "class: of objects that are found": ("class", 2, video(PAIR, [*FOUND, (0.9, DOG, LEFT), (0.8, CAT, RIGHT)])),
    "localisation: shifted": ("localisation", 2, video(PAIR, [(0.9, CAT, tube(6, 18)), (0.8, DOG, tube(30, 42))])),
    "localisation: stops with none to go on": ("localisation", 1, video(PAIR[:1], [(0.9, CAT, tube(0, 12, (0, 1)))])),
    "localisation: a piece of an object that is found whole": (
        "localisation", 1, video(PAIR, [*FOUND, (0.9, CAT, tube(0, 12, (0, 1)))]),
    ),
    "both: shifted, of the other class": ("both", 1, video(PAIR, [*FOUND, (0.9, DOG, tube(6, 18))])),
    "duplicate": ("duplicate", 2, video(CATS, [(0.9, CAT, LEFT), (0.8, CAT, LEFT), (0.7, CAT, tube(0, 11)),
                                                (0.2, CAT, RIGHT)])),
    "background": ("background", 2, video(PAIR, [*FOUND, (0.9, CAT, tube(14, 22)), (0.8, DOG, tube(40, 48))])),
    "identity: two objects swapped": (
        "identity", 2, video(CATS, [
            (0.9, CAT, joined(tube(0, 12, (0, 1, 2)), RIGHT)), (0.8, CAT, joined(tube(24, 36, (0, 1, 2)), LEFT)),
        ]),
    ),
    "identity: three pieces": ("identity", 3, video(PAIR[:1], [(0.9, CAT, tube(0, 12, part)) for part in THIRDS])),
    "identity: the end of an object found without it": (
        "identity", 1, video(PAIR, [(0.8, CAT, tube(0, 12, range(4))), (0.9, CAT, tube(0, 12, (4, 5))), *FOUND[1:]]),
    ),
    "missed": ("missed", 1, video(PAIR, FOUND[:1])),
    "missed: all": ("missed", 2, video(PAIR, [])),
}  # fmt: skip


@pytest.mark.parametrize("videos", [1, 3])
@pytest.mark.parametrize(("kind", "number", "one"), ONE_KIND.values(), ids=ONE_KIND)
def test_errors_of_one_kind_are_reported_as_that_kind_and_cost_all_that_lacks(
    kind: str, number: int, one: Video, videos: int
) -> None:
    report = analyse([tubes_of(one)] * videos)

    assert {name: cost.count for name, cost in report.errors.items() if cost.count} == {kind: number * videos}
    assert report.ap50 < 1 - 1e-9
    assert report.ap50 + report.errors[kind].dap == pytest.approx(1, abs=1e-12)
    assert [cost.dap for name, cost in report.errors.items() if name != kind] == [0] * (len(KINDS) - 1)


def test_a_perfect_prediction_has_no_errors() -> None:
    perfect = video([*PAIR, (DOG, tube(40, 44, (2, 3)))], [*FOUND, (0.1, DOG, tube(40, 44, (2, 3)))])

    report = analyse([tubes_of(perfect)] * 2)

    costs = [*report.errors.values(), report.false_positives, report.false_negatives]
    assert report.ap50 == pytest.approx(1, abs=1e-12)
    assert {(cost.count, cost.dap) for cost in costs} == {(0, 0.0)}


def test_prices_by_hand() -> None:
    wrong_first = video([(CAT, LEFT), (CAT, RIGHT)], [(0.9, CAT, tube(14, 22)), (0.8, CAT, LEFT)])

    report = analyse([tubes_of(wrong_first)])

    assert report.ap50 == pytest.approx(51 / 101 / 2, abs=1e-12)
    assert report.errors["background"].dap == pytest.approx(51 / 101 / 2, abs=1e-12)
    assert report.errors["missed"].dap == pytest.approx(1 / 2 - 51 / 101 / 2, abs=1e-12)
    assert report.false_positives == report.errors["background"]
    assert report.false_negatives == report.errors["missed"]


def test_an_error_explains_one_annotation_and_its_repair_counts_once() -> None:
    both_shifted = video(PAIR[:1], [(0.9, CAT, tube(6, 18)), (0.8, CAT, tube(5, 17))])

    report = analyse([tubes_of(both_shifted)])

    assert counts([both_shifted]) == {"localisation": 2}
    assert report.errors["localisation"].dap == pytest.approx(1, abs=1e-12)
    assert report.false_negatives.count == 1


def test_an_object_held_for_a_moment_by_a_tube_that_switches_is_missed() -> None:
    switching = joined(tube(0, 12, range(4)), tube(24, 36, (4, 5)))
    widened = [None if mask is None else mask | frozenset(range(12, 18)) for mask in switching]

    assert counts([video(CATS, [(0.9, CAT, widened)])]) == {"identity": 1, "missed": 1}


def test_a_tube_that_is_wrong_on_most_frames_does_not_lose_its_identity() -> None:
    astray = joined(joined(tube(0, 12, (0,)), tube(24, 36, (1,))), tube(13, 20))

    assert counts([video(CATS, [(0.9, CAT, astray)])]) == {"localisation": 1, "missed": 1}


def test_crowds_absorb_tubes_and_are_not_missed() -> None:
    crowded = video([(CAT, LEFT), (CAT, RIGHT)], [(0.9, CAT, RIGHT), (0.8, CAT, RIGHT), (0.3, CAT, LEFT)], crowds=[1])

    assert counts([crowded]) == {}
    assert counts([video([(CAT, LEFT), (CAT, RIGHT)], [], crowds=[1])]) == {"missed": 1}


def test_beyond_a_hundred_tubes_of_a_class_none_counts() -> None:
    many = video(PAIR, [*[(0.9, CAT, tube(14, 22))] * 100, *FOUND])

    assert counts([many]) == {"background": 100, "missed": 1}


def test_nothing_annotated_leaves_nothing_to_gain() -> None:
    nothing = [video([], [(0.9, CAT, LEFT)])]

    report = analyse([tubes_of(nothing[0])])

    assert report.ap50 == -1
    assert counts(nothing) == {"background": 1}
    assert {cost.dap for cost in (*report.errors.values(), report.false_positives, report.false_negatives)} == {0}
    assert analyse([]).ap50 == -1


def test_shapes_that_disagree_are_refused() -> None:
    tubes = tubes_of(video(PAIR, FOUND))

    with pytest.raises(ValueError, match=r"crowd has shape \(3,\), by frame_iou it should be \(2,\)"):
        replace(tubes, crowd=np.zeros(3, np.bool_))


def test_the_report_is_plain_json() -> None:
    report = analyse([tubes_of(video(PAIR, [(0.9, DOG, LEFT), *FOUND]))])

    document = json.loads(json.dumps(report.to_json()))

    assert list(document) == ["AP50", "errors", "false_positives", "false_negatives"]
    assert document["AP50"] == report.ap50
    assert tuple(document["errors"]) == KINDS
    assert document["errors"]["class"] == {"count": 1, "dAP": report.errors["class"].dap}


def test_average_precision_by_hand() -> None:
    scores, right = np.array([0.7, 0.9, 0.8]), np.array([True, True, False])

    assert average_precision(scores, right, wanted=2) == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert average_precision(scores, right, wanted=4) == pytest.approx((26 + 25 * 2 / 3) / 101, abs=1e-12)
    assert average_precision(np.zeros(0), np.zeros(0, np.bool_), wanted=1) == 0


def random_videos(rng: np.random.Generator) -> list[Video]:
    """Three videos full of every kind of error, with ties of score and of overlap, crowds and empty tubes."""

    def random_tube() -> list[Mask]:
        left, length = 4 * int(rng.integers(0, 9)), 4 * int(rng.integers(1, 4))
        first, last = sorted(rng.integers(0, FRAMES + 1, 2)) if rng.random() < 0.3 else (0, FRAMES)
        return tube(left, left + length, range(first, last))

    def shifted(masks: list[Mask]) -> list[Mask]:
        by = int(rng.integers(-3, 4))
        return [None if mask is None else frozenset(x + by for x in mask) for mask in masks]

    def cut(masks: list[Mask]) -> list[Mask]:
        at = int(rng.integers(1, FRAMES))
        keep_start = rng.random() < 0.5
        return [mask if (t < at) == keep_start else None for t, mask in enumerate(masks)]

    videos = []
    for _ in range(3):
        gts = [(int(rng.choice([CAT, DOG, 9])), random_tube()) for _ in range(int(rng.integers(0, 5)))]
        dets = []
        for label, masks in gts:
            for _ in range(int(rng.integers(0, 4))):
                found = masks
                found = cut(found) if rng.random() < 0.35 else found
                found = shifted(found) if rng.random() < 0.35 else found
                if rng.random() < 0.35:
                    found = joined(cut(found), gts[int(rng.integers(len(gts)))][1])
                guess = label if rng.random() < 0.75 else int(rng.choice([CAT, DOG, 9, 11]))
                dets.append((float(rng.choice([0.1, 0.3, 0.5, 0.5, 0.7, 0.9])), guess, found))
        dets += [(float(rng.random()), int(rng.choice([CAT, DOG])), random_tube()) for _ in range(2)]
        crowds = [n for n in range(len(gts)) if rng.random() < 0.1]
        order = rng.permutation(len(dets))
        videos.append(video(gts, [dets[n] for n in order], crowds))
    return videos


@pytest.mark.parametrize("seed", range(80))
def test_random_cases_agree_with_the_slow_implementation(seed: int) -> None:
    videos = random_videos(np.random.default_rng(seed))

    report = analyse([tubes_of(video) for video in videos])

    slow = slow_report(videos)
    ours = {
        **report.errors,
        "false positives": report.false_positives,
        "false negatives": report.false_negatives,
    }
    assert report.ap50 == pytest.approx(slow.pop("AP50"), abs=1e-12)
    assert {kind: cost.count for kind, cost in ours.items()} == {kind: count for kind, (count, _) in slow.items()}
    assert {kind: cost.dap for kind, cost in ours.items()} == pytest.approx(
        {kind: price for kind, (_, price) in slow.items()}, abs=1e-12
    )


def test_the_random_cases_contain_every_kind() -> None:
    videos = [tubes_of(video) for seed in range(80) for video in random_videos(np.random.default_rng(seed))]

    assert min(cost.count for cost in analyse(videos).errors.values()) >= 10


@pytest.mark.parametrize("seed", range(80))
def test_no_repair_costs_anything_and_all_together_bring_it_to_one(seed: int) -> None:
    videos = [tubes_of(video) for video in random_videos(np.random.default_rng(seed))]

    report = analyse(videos)

    costs = [*report.errors.values(), report.false_positives, report.false_negatives]
    assert min(cost.dap for cost in costs) >= 0
    assert judge(videos).ap50(repair=KINDS) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("seed", range(80))
def test_every_wrong_tube_has_one_kind_and_every_unfound_annotation_an_explanation(seed: int) -> None:
    videos = [tubes_of(video) for video in random_videos(np.random.default_rng(seed))]

    report, verdicts = analyse(videos), judge(videos)

    assert report.false_positives.count == sum(report.errors[kind].count for kind in KINDS[:-1])
    explained = np.zeros_like(verdicts.found)
    explained[verdicts.pointers[:, 1]] = True
    assert np.array_equal(verdicts.missed, ~verdicts.found & ~explained)


def arbitrary(rng: np.random.Generator) -> VideoTubes:
    """Overlaps and scores without ties, of no tubes in particular."""
    frames, dets, gts = 5, int(rng.integers(1, 8)), int(rng.integers(1, 5))
    det_seen, gt_seen = rng.random((frames, dets)) < 0.6, rng.random((frames, gts)) < 0.9
    return VideoTubes(
        scores=rng.random(dets),
        det_classes=rng.integers(0, 2, dets),
        gt_classes=rng.integers(0, 2, gts),
        crowd=rng.random(gts) < 0.1,
        iou=rng.random((dets, gts)) ** 1.5,
        frame_iou=rng.random((frames, dets, gts)) * (det_seen[:, :, None] & gt_seen[:, None]),
        det_seen=det_seen,
        gt_seen=gt_seen,
    )


@pytest.mark.parametrize("seed", range(40))
def test_order_and_numbers_of_classes_change_nothing_where_nothing_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    videos = [arbitrary(rng) for _ in range(4)]
    shuffled = []
    for one in videos[::-1]:
        d, g = rng.permutation(len(one.scores)), rng.permutation(len(one.crowd))
        other = VideoTubes(
            scores=one.scores[d],
            det_classes=7 - one.det_classes[d],
            gt_classes=7 - one.gt_classes[g],
            crowd=one.crowd[g],
            iou=one.iou[np.ix_(d, g)],
            frame_iou=one.frame_iou[:, d][:, :, g],
            det_seen=one.det_seen[:, d],
            gt_seen=one.gt_seen[:, g],
        )
        shuffled.append(other)

    ours, theirs = analyse(videos), analyse(shuffled)

    assert {kind: cost.count for kind, cost in ours.errors.items()} == {k: c.count for k, c in theirs.errors.items()}
    assert [cost.dap for cost in ours.errors.values()] == pytest.approx([c.dap for c in theirs.errors.values()])
    assert ours.ap50 == pytest.approx(theirs.ap50, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_base_is_the_benchmarks_ap50(seed: int) -> None:
    videos = random_videos(np.random.default_rng(seed))

    def dense(masks: list[Mask]) -> list[np.ndarray | None]:
        columns = np.arange(-4, WIDTH + 4)  # shifted tubes may reach beyond the picture
        return [None if mask is None else np.isin(columns, list(mask)) for mask in masks]

    def listed(kind: str) -> list[dict[str, Any]]:
        entries = [(n, entry) for n, video in enumerate(videos) for entry in video[kind]]
        return [
            {"id": key, "video_id": n, "category_id": entry["label"], "masks": dense(entry["masks"]), "size": 1.0,
             "iscrowd": entry.get("crowd"), "score": entry.get("score")}
            for key, (n, entry) in enumerate(entries, start=1)
        ]  # fmt: skip

    truth = {"videos": [{"id": n} for n in range(len(videos))]}
    gts, dets = listed("gts"), listed("dets")
    curves = [one_setting(truth, gts, dets, label, (0, 1e10), 100, 0.5) for label in (CAT, DOG, 9, 11)]
    expected = np.mean([points for curve in curves if curve for points in curve[0]])

    assert analyse([tubes_of(video) for video in videos]).ap50 == pytest.approx(expected, abs=1e-12)
