"""Names that come twice, tracks that go on after their video, numbers at the edge of what they may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vistool.errors import InputError
from vistool.evaluation.documents import score_documents
from vistool.evaluation.files import read_ground_truth, read_predictions
from vistool.evaluation.groups import grouped
from vistool.evaluation.intervals import differences, intervals
from vistool.evaluation.scoring import Options, is_defined
from vistool.evaluation.tubes import Notes
from vistool.runs import BadStringError, parse

Json = dict[str, Any]

FULL, LEFT, RIGHT = ({"size": [1, 4], "counts": counts} for counts in ([0, 4], [0, 2, 2], [2, 2]))
EVERYTHING = Options(("ap", "identity", "hota"))


def track(video: int, category: int, *masks: Json | None, **more: Any) -> Json:
    return {"video_id": video, "category_id": category, "segmentations": list(masks), **more}


def truth(*annotations: Json, names: tuple[str, ...] = ("cat",), videos: list[Json] | None = None) -> Json:
    return {
        "videos": videos or [{"id": 1, "height": 1, "width": 4}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [{"id": n, "iscrowd": 0, **annotation} for n, annotation in enumerate(annotations, start=1)],
    }


@pytest.mark.parametrize("names", [("all", "dog"), ("cat", "cat")], ids=["a category called all", "two of one name"])
def test_categories_are_told_apart_whatever_they_are_called(names: tuple[str, str]) -> None:
    document = truth(track(1, 1, LEFT), track(1, 2, RIGHT), names=names)
    found = [track(1, 1, LEFT, score=0.9), track(1, 2, LEFT, score=0.8)]

    scores, _ = score_documents(document, found, EVERYTHING)
    each = scores.per_category()

    assert scores.figures()["identity"]["GT"] == 2
    assert [one["ap"]["AP"] for one in each.values()] == [pytest.approx(1), 0]
    assert [one["identity"]["IDF1"] for one in each.values()] == [1, 0]
    assert [one["hota"]["HOTA"] for one in each.values()] == [pytest.approx(1), 0]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["aaa/00000.jpg", "bbb/00000.jpg"], ["aaa", "bbb"]),
        (["images/aaa/00000.jpg", "images/bbb/00000.jpg"], ["aaa", "bbb"]),
        (["same/00000.jpg", "same/00000.jpg"], ["same (1)", "same (2)"]),
        ([None, None], ["(1)", "(2)"]),
    ],
    ids=["folders", "folders in a folder", "one name", "no names"],
)
def test_every_video_has_a_line_of_its_own(files: list[str | None], names: list[str]) -> None:
    videos = [
        {"id": n, "height": 1, "width": 4, **({"file_names": [file]} if file else {})}
        for n, file in enumerate(files, start=1)
    ]

    scores, _ = score_documents(truth(track(1, 1, LEFT), track(2, 1, LEFT), videos=videos), [], EVERYTHING)

    assert list(grouped(scores, "video")) == names


def test_masks_beyond_the_end_of_the_video_are_no_false_positives() -> None:
    videos = [{"id": 1, "height": 1, "width": 4, "length": 1}]

    scores, _ = score_documents(
        truth(track(1, 1, FULL), videos=videos), [track(1, 1, *[FULL] * 3, score=1)], EVERYTHING
    )
    figures = scores.figures()

    assert (figures["identity"]["FP"], figures["identity"]["IDF1"]) == (0, 1)
    assert figures["hota"]["HOTA"] == pytest.approx(1)


def test_a_mota_of_minus_one_is_a_number() -> None:
    document = truth(track(1, 1, LEFT))
    far = [track(1, 1, RIGHT, score=1)]

    scores, _ = score_documents(document, far, EVERYTHING)
    figures = scores.figures()["identity"]

    assert figures["MOTA"] == -1
    assert is_defined("MOTA", figures)
    assert intervals(scores, 5, 0)["identity"]["MOTA"] == (-1, -1)
    assert differences(scores, scores, 5, 0)[0]["identity"]["MOTA"] == 0


IMPOSSIBLE = {
    "a side": {"size": [2**70, 2], "counts": [0]},
    "both sides": {"size": [2**32, 2**32], "counts": [0]},
    "runs that wrap": {"size": [4, 5], "counts": [2**62, 2**62, 2**62, 2**62, 20]},
    "a run beyond 64 bits": {"size": [4, 5], "counts": [2**70, 20]},
}


@pytest.mark.parametrize("mask", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_mask_of_impossible_size_is_refused(mask: Json) -> None:
    with pytest.raises(InputError, match="prediction 1"):
        score_documents(truth(track(1, 1, LEFT)), [track(1, 1, mask, score=1)])


@pytest.mark.parametrize("height", [2**70, 2**26, 0, -3])
def test_a_video_of_impossible_size_is_refused(height: int) -> None:
    with pytest.raises(InputError, match=r"ground truth|video `1`"):
        score_documents(truth(videos=[{"id": 1, "height": height, "width": 4}]), [])


def test_the_first_of_several_bad_strings_is_named() -> None:
    longer = b"P" * 8 + b"0"

    with pytest.raises(BadStringError) as failure:
        parse([b"06", longer, b"P" * 12 + b"0"])

    assert failure.value.number == 1


def per_video(folder: Path, content: dict[str, Json | list[Json]]) -> Path:
    folder.mkdir()
    for name, one in content.items():
        (folder / name).write_text(json.dumps(one))
    return folder


def test_lists_of_one_video_each_are_found_by_their_file_whatever_their_number(tmp_path: Path) -> None:
    videos = [{"id": key, "height": 1, "width": 4, "file_name": f"{name}.mp4"} for key, name in ((10, "a"), (20, "b"))]
    gt = tmp_path / "gt.json"
    gt.write_text(json.dumps(truth(track(10, 1, LEFT), track(20, 1, RIGHT), videos=videos)))
    entry = track(1, 1, LEFT, score=0.5)
    folder = per_video(tmp_path / "out", {"a.json": [entry], "b.json": [entry, entry]})

    tubes = read_predictions([folder], read_ground_truth(gt, Notes()), Notes())

    assert [tube.video_id for tube in tubes] == [10, 20, 20]
    (folder / "b.json").write_text(json.dumps([entry, {**entry, "video_id": 2}]))
    with pytest.raises(InputError, match="several videos"):
        read_predictions([folder], read_ground_truth(gt, Notes()), Notes())


def test_blanks_before_a_list_do_not_make_it_something_else(tmp_path: Path) -> None:
    gt, pred = tmp_path / "gt.json", tmp_path / "pred.json"
    gt.write_text(json.dumps(truth(track(1, 1, LEFT))))
    pred.write_text(" " * 500 + json.dumps([track(1, 1, LEFT, score=1)]))

    assert len(read_predictions([pred], read_ground_truth(gt, Notes()), Notes())) == 1
