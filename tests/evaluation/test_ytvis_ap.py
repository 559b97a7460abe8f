"""The benchmark's numbers, against cases worked out by hand and a plain second implementation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from slow_ytvis import slow_numbers

from vistool import masks
from vistool.errors import InputError
from vistool.evaluation.ap_numbers import RECALL_POINTS
from vistool.evaluation.documents import score_documents
from vistool.evaluation.ytvis_ap import AREA_RANGES, IOU_THRESHOLDS

Json = dict[str, Any]


def strip(left: int, right: int, size_hw: tuple[int, int] = (1, 12)) -> Json:
    """Columns left … right - 1, as uncompressed run lengths."""
    picture = np.zeros(size_hw, np.bool_)
    picture[:, left:right] = True
    return {"size": list(size_hw), "counts": list(masks.to_counts(masks.encode(picture)))}


def annotated(
    key: int, segmentations: Sequence[Json | None], *, video: int = 1, category: int = 3, **more: Any
) -> Json:
    areas = [sum(obj["counts"][1::2]) if obj else None for obj in segmentations]
    return {"id": key, "video_id": video, "category_id": category, "iscrowd": 0, "areas": areas,
            "segmentations": list(segmentations), **more}  # fmt: skip


def found(score: float, segmentations: Sequence[Json | None], *, video: int = 1, category: int = 3) -> Json:
    return {"video_id": video, "category_id": category, "score": score, "segmentations": list(segmentations)}


def truth_of(*annotations: Json, videos: int = 1, size_hw: tuple[int, int] = (1, 12)) -> Json:
    return {
        "videos": [{"id": n + 1, "height": size_hw[0], "width": size_hw[1], "length": 2} for n in range(videos)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": list(annotations),
    }


@dataclass(frozen=True)
class Summary:
    figures: dict[str, float]
    ap_per_category: dict[str, float]
    notes: tuple[str, ...]


def evaluate(truth: Json, predictions: Sequence[Json]) -> Summary:
    scores, notes = score_documents(truth, predictions)
    per_category = {name: figures["ap"]["AP"] for name, figures in scores.per_category().items()}
    return Summary(scores.figures()["ap"], per_category, notes)


def score(truth: Json, predictions: list[Json]) -> dict[str, float]:
    """All numbers by name."""
    return numbers(evaluate(truth, predictions))


def numbers(summary: Summary) -> dict[str, float]:
    return {**summary.figures, **{f"AP of {name}": value for name, value in summary.ap_per_category.items()}}


def test_thresholds_and_recall_points_are_the_benchmarks_doubles() -> None:
    assert IOU_THRESHOLDS.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95]
    assert RECALL_POINTS.tolist() == [*(i * 0.01 for i in range(100)), 1.0]


def test_one_object_found_at_three_quarters() -> None:
    ap = score(truth_of(annotated(1, [strip(0, 4)])), [found(0.9, [strip(0, 3)])])

    assert ap["AP"] == pytest.approx(0.6, abs=1e-12)
    assert (ap["AP50"], ap["AP75"], ap["AR1"]) == pytest.approx((1, 1, 0.6))
    assert ap["APm"] == -1


def test_a_miss_between_two_hits_costs_the_second_half() -> None:
    truth = truth_of(annotated(1, [strip(0, 3)]), annotated(2, [strip(6, 9)]))
    predictions = [found(0.9, [strip(0, 3)]), found(0.8, [strip(10, 12)]), found(0.7, [strip(6, 9)])]

    ap = score(truth, predictions)

    assert ap["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert (ap["AR1"], ap["AR10"]) == pytest.approx((0.5, 1.0))


def test_overlap_is_counted_over_the_whole_tube() -> None:
    truth = truth_of(annotated(1, [strip(0, 4), strip(0, 4), None]))
    predictions = [found(0.9, [strip(0, 4), None, strip(0, 2)])]

    assert score(truth, predictions)["AP50"] == 0  # 4 shared of 10: 0.4
    assert score(truth, [found(0.9, [strip(0, 4), strip(0, 4), strip(0, 2)])])["AP75"] == pytest.approx(1)  # 8 of 10


def test_a_perfect_prediction_scores_one_whatever_its_order() -> None:
    rng = np.random.default_rng(5)
    truth, _ = random_case(rng)
    visible = [a for a in truth["annotations"] if not a["iscrowd"] and any(a["areas"])]
    truth["annotations"] = [{**a, "id": n} for n, a in enumerate(visible, start=1)]
    perfect = [
        found(0.1 + 0.01 * n, a["segmentations"], video=a["video_id"], category=a["category_id"])
        for n, a in enumerate(visible)
    ]
    rng.shuffle(perfect)  # type: ignore[arg-type]

    ap = score(truth, perfect)

    assert ap["AP"] == pytest.approx(1)
    assert ap["AR100"] == pytest.approx(1)


def test_predictions_of_a_category_without_annotations_are_free_of_charge() -> None:
    truth = truth_of(annotated(1, [strip(0, 4)]))
    right = found(0.5, [strip(0, 4)])

    alone, beside = evaluate(truth, [right]), evaluate(truth, [right, found(0.9, [strip(0, 9)], category=8)])

    assert alone == beside
    assert alone.ap_per_category == {"cat": pytest.approx(1), "dog": -1}


def test_a_crowd_absorbs_any_number_of_predictions() -> None:
    truth = truth_of(annotated(1, [strip(0, 4)]), annotated(2, [strip(6, 12)], iscrowd=1))
    crowd = [found(0.9, [strip(6, 12)]) for _ in range(3)]

    assert score(truth, [*crowd, found(0.1, [strip(0, 4)])])["AP"] == pytest.approx(1)


def test_annotation_id_0_is_never_found_and_said() -> None:
    summary = evaluate(truth_of(annotated(0, [strip(0, 4)])), [found(0.9, [strip(0, 4)])])

    assert numbers(summary)["AP"] == 0
    assert any("id 0" in note for note in summary.notes)


def test_no_predictions_score_zero_where_something_is_annotated() -> None:
    ap = score(truth_of(annotated(1, [strip(0, 4)])), [])

    assert (ap["AP"], ap["APs"], ap["AR100"], ap["APl"]) == (0, 0, 0, -1)


def test_a_mean_area_on_the_border_is_small_and_medium() -> None:
    square = strip(0, 128, (128, 160))
    ap = score(truth_of(annotated(1, [square]), size_hw=(128, 160)), [found(0.9, [square])])

    assert (ap["APs"], ap["APm"], ap["APl"]) == (pytest.approx(1), pytest.approx(1), -1)


def test_frames_beyond_the_shorter_tube_are_not_compared_and_the_tracks_are_counted() -> None:
    truth = truth_of(annotated(1, [strip(0, 4), strip(0, 4)]))

    summary = evaluate(truth, [found(0.9, [strip(0, 4)])])

    assert numbers(summary)["AP"] == pytest.approx(1)
    assert summary.notes == ("predictions with more or fewer masks than the annotation: 1",)


def test_masks_of_another_size_are_not_compared_and_counted() -> None:
    truth = truth_of(annotated(1, [strip(0, 4), strip(0, 4)]))

    summary = evaluate(truth, [found(0.9, [strip(0, 4), strip(0, 4, (1, 24))])])

    assert numbers(summary)["AP"] == pytest.approx(1)
    assert summary.notes == ("frames where a predicted mask and an annotated one differ in size, not compared: 1",)


def test_what_an_annotation_leaves_out_is_filled_in_and_said() -> None:
    annotation = annotated(1, [strip(0, 4)])
    del annotation["areas"], annotation["iscrowd"]

    summary = evaluate(truth_of(annotation), [found(0.9, [strip(0, 4)])])

    assert numbers(summary)["AP"] == pytest.approx(1)
    assert summary.notes == (
        "annotations without `areas`, taken from the masks: 1",
        "annotations without `iscrowd`, taken as 0: 1",
    )


def test_every_spelling_of_a_mask_gives_the_same_numbers() -> None:
    runs = strip(0, 4)
    text = masks.to_json(masks.from_json(runs))
    outline = masks.to_polygons(masks.from_json(runs))

    summaries = [
        evaluate(truth_of({**annotated(1, [runs]), "segmentations": [gt]}), [found(0.9, [det])])  # type: ignore[list-item]
        for gt in (runs, text, outline)
        for det in (runs, text, outline)
    ]

    assert all(summary == summaries[0] for summary in summaries)


BAD_INPUT = {
    "unknown video": ({"video_id": 9}, "prediction 1 is of a video that the ground truth does not have: `9`"),
    "score as text": ({"score": "0.9"}, "prediction 1 is not what is expected: expected `float`, got `str` at `score`"),
    "score that is no number": ({"score": float("nan")}, "prediction 1: score is not a number: `nan`"),
    "mask cut short": ({"segmentations": [{"size": [1, 12], "counts": [4]}]}, "prediction 1, frame 0: bad mask"),
    "box for a polygon": ({"segmentations": [[[0, 0, 4, 1]]]}, "prediction 1, frame 0: bad mask"),
}


@pytest.mark.parametrize(("change", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_a_bad_prediction_is_refused_with_its_place(change: Json, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(truth_of(annotated(1, [strip(0, 4)])), [{**found(0.9, [strip(0, 4)]), **change}])


def test_a_prediction_without_a_score_is_refused() -> None:
    with pytest.raises(InputError, match="prediction 1 lacks `score`"):
        evaluate(truth_of(), [{"video_id": 1, "category_id": 3, "segmentations": []}])


def test_two_annotations_with_one_id_are_refused() -> None:
    with pytest.raises(InputError, match="annotation ids must be unique, used twice: `4`"):
        evaluate(truth_of(annotated(4, [strip(0, 4)]), annotated(4, [strip(5, 9)])), [])


def test_an_annotation_of_an_unlisted_video_is_refused() -> None:
    with pytest.raises(InputError, match="annotation `4` is of a video that is not listed: `2`"):
        evaluate(truth_of(annotated(4, [strip(0, 4)], video=2)), [])


def random_case(rng: np.random.Generator) -> tuple[Json, list[Json]]:
    """Three videos, two categories, tubes that overlap each other in every way, ties of score and of overlap."""

    def tube(size_hw: tuple[int, int]) -> list[Json | None]:
        left, length = int(rng.integers(0, 10)) * 16, int(rng.integers(1, 10)) * 16
        drift = int(rng.integers(-1, 2)) * 16
        starts = [max(0, left + drift * t) for t in range(3)]
        return [strip(at, at + length, size_hw) if rng.random() < 0.8 else None for at in starts]

    def near(segmentations: Sequence[Json | None], size_hw: tuple[int, int]) -> list[Json | None]:
        return [obj if rng.random() < 0.7 else (tube(size_hw)[0]) for obj in segmentations]

    size_hw = (240, 320)
    annotations, predictions = [], []
    for key in range(int(rng.integers(5, 12))):
        video, category = int(rng.integers(1, 4)), int(rng.choice([3, 8]))
        segmentations = tube(size_hw)
        crowd = int(rng.random() < 0.15)
        annotations.append(annotated(key, segmentations, video=video, category=category, iscrowd=crowd))
        for _ in range(int(rng.integers(0, 4))):
            score = float(rng.choice([0.2, 0.5, 0.5, 0.9]))
            shapes = segmentations if rng.random() < 0.4 else near(segmentations, size_hw)
            shapes = shapes[: int(rng.integers(1, 4))] if rng.random() < 0.2 else shapes
            predictions.append(found(score, shapes, video=video, category=category))
    return truth_of(*annotations, videos=3, size_hw=size_hw), predictions


@pytest.mark.parametrize("seed", range(8))
def test_random_cases_agree_with_the_slow_implementation(seed: int) -> None:
    truth, predictions = random_case(np.random.default_rng(seed))

    ours = score(truth, predictions)

    assert ours == pytest.approx(slow_numbers(truth, predictions), abs=1e-12)


def test_the_order_of_predictions_with_different_scores_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    truth, predictions = random_case(rng)
    predictions = [{**entry, "score": 0.001 * n} for n, entry in enumerate(predictions)]
    shuffled = [predictions[n] for n in rng.permutation(len(predictions))]

    assert score(truth, shuffled) == score(truth, predictions)


def test_importing_the_evaluator_loads_neither_torch_nor_cv2() -> None:
    code = "import sys, vistool.evaluation.ytvis_ap; print(*({'torch', 'cv2', 'av', 'scipy'} & sys.modules.keys()))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []


def test_the_numbers_are_plain_json() -> None:
    summary = evaluate(truth_of(annotated(1, [strip(0, 4)])), [found(0.9, [strip(0, 4)])])

    assert json.loads(json.dumps(summary.figures))["AP50"] == pytest.approx(1)


class Annotations:
    """As much of a COCO annotation file as the COCO evaluator asks for."""

    def __init__(self, entries: list[Json], image_ids: list[int]) -> None:
        self.entries, self.image_ids = entries, image_ids

    def getImgIds(self) -> list[int]:
        return self.image_ids

    def getCatIds(self) -> list[int]:
        return [3, 8]

    def getAnnIds(self, imgIds: list[int], catIds: list[int]) -> list[Json]:
        return [entry for entry in self.entries if entry["image_id"] in imgIds and entry["category_id"] in catIds]

    def loadAnns(self, ids: list[Json]) -> list[Json]:
        return ids

    def annToRLE(self, entry: Json) -> Json:
        return dict(masks.to_json(masks.from_json(entry["segmentations"][0])))


def as_coco(entries: list[Json]) -> Annotations:
    rows = []
    for n, entry in enumerate(entries, start=1):
        area = masks.area(masks.from_json(entry["segmentations"][0]))
        rows.append({"id": n, "iscrowd": 0, **entry, "image_id": entry["video_id"], "area": area})
    return Annotations(rows, [1, 2, 3])


@pytest.mark.parametrize("seed", range(4))
def test_videos_of_one_frame_agree_with_the_coco_evaluator(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    truth, predictions = random_case(np.random.default_rng(seed))
    still = [entry for entry in truth["annotations"] if entry["segmentations"][0]]
    truth["annotations"] = [
        {**entry, "iscrowd": 0, "segmentations": entry["segmentations"][:1], "areas": entry["areas"][:1]}
        for entry in still
    ]
    predictions = [{**p, "segmentations": p["segmentations"][:1]} for p in predictions if p["segmentations"][0]]
    theirs = COCOeval(as_coco(truth["annotations"]), as_coco(predictions), "segm")
    theirs.params.areaRng = [list(span) for span in AREA_RANGES]
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()

    ours = list(score(truth, predictions).values())[:12]

    assert ours == theirs.stats.tolist()
