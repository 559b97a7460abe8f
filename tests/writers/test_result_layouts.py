"""The layouts that other programs rely on, field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco
from writer_samples import CAT, RING, prediction, write


def _written(path: Path, **options: Any) -> Any:
    write(path, prediction(CAT, RING, stride=2, method="ifr"), **options)
    return json.loads(path.read_text())


def test_a_json_result_has_the_fields_of_the_contract(tmp_path: Path) -> None:
    file = _written(tmp_path / "tracks.json")

    assert list(file) == ["info", "videos", "categories", "annotations"]
    assert file["info"]["method"] == "ifr"
    assert file["videos"] == [
        {
            "id": 1,
            "file_name": "clip.mp4",
            "width": 5,
            "height": 4,
            "length": 3,
            "fps": 6.0,
            "rotation": 0,
            "times": [0.0, None, 2 / 6],
        }
    ]
    assert file["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "ring"}]
    cat = file["annotations"][0]
    assert {name: cat[name] for name in cat if name != "segmentations"} == {
        "id": 7,
        "video_id": 1,
        "category_id": 3,
        "score": 0.9,
        "bboxes": [[1, 1, 2, 2], None, [2, 1, 2, 2]],
        "areas": [4, None, 4],
        "iscrowd": 0,
        "width": 5,
        "height": 4,
        "length": 3,
    }


@pytest.mark.parametrize("format", ["ytvis", "ytvis-results"])
def test_the_masks_are_what_coco_tools_read(tmp_path: Path, format: str) -> None:
    file = _written(tmp_path / "tracks.json", format=format)

    annotations = file["annotations"] if format == "ytvis" else file
    segmentations = annotations[0]["segmentations"]
    assert segmentations[1] is None
    assert coco.toBbox([segmentations[0], segmentations[2]]).tolist() == [[1, 1, 2, 2], [2, 1, 2, 2]]
    assert coco.area([segmentations[0], segmentations[2]]).tolist() == [4, 4]


def test_a_results_list_has_one_entry_a_ranked_track(tmp_path: Path) -> None:
    entries = _written(tmp_path / "results.json", format="ytvis-results")

    assert [list(entry) for entry in entries] == [["video_id", "category_id", "score", "segmentations"]] * 2
    values = [(entry["video_id"], entry["category_id"], entry["score"]) for entry in entries]
    assert values == [(1, 3, 0.9), (1, 7, 0.5)]


def test_a_jsonl_result_has_the_lines_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "tracks.jsonl"
    write(path, prediction(CAT, RING, stride=2, method="ifr"))

    header, first, third, end = (json.loads(line) for line in path.read_text().splitlines())

    assert header["type"] == "header"
    assert header["method"] == "ifr"
    assert (header["video"]["file_name"], header["video"]["width"], header["video"]["height"]) == ("clip.mp4", 5, 4)
    assert header["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "ring"}]
    assert (first["type"], first["index"], first["time"]) == ("frame", 0, 0.0)
    assert {name: first["instances"][0][name] for name in ("track_id", "category_id", "score", "bbox")} == {
        "track_id": 7,
        "category_id": 3,
        "score": 0.9,
        "bbox": [1, 1, 2, 2],
    }
    assert [instance["track_id"] for instance in third["instances"]] == [7]
    assert end == {
        "type": "end",
        "frames": 2,
        "tracks": [
            {"track_id": 7, "category_id": 3, "score": 0.9},
            {"track_id": 2, "category_id": 7, "score": 0.5},
        ],
    }
