"""What is wrong with a result is said in one line that names the record."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from writer_samples import CAT, RING, prediction, write

from vistool.errors import InputError
from vistool.writers.reading import read_result

Change = Callable[[Any], object]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda file: file.pop("annotations"), r"file: `annotations` is missing"),
        (lambda file: file["videos"].append(file["videos"][0]), r"it has 2 videos, expected 1"),
        (lambda file: file["videos"][0].update(width="5"), r"file, videos\[0\]: `width` is \"5\", expected a whole"),
        (lambda file: file["videos"][0].update(fps=0), r"file, videos\[0\]: `fps` is 0.0, expected a number above 0"),
        (lambda file: file["videos"][0]["times"].pop(), r"file, videos\[0\]: `times` has 2 entries, expected 3"),
        (lambda file: file["categories"].append({"id": 3, "name": "dog"}), r"category 3 is there twice"),
        (lambda file: file["annotations"][1].update(id=7), r"track 7 is there twice"),
        (lambda file: file["annotations"][1].update(id=True), r"annotations\[1\]: `id` is true, expected a whole"),
        (lambda file: file["annotations"][0].update(category_id=9), r"annotations\[0\]: `category_id` is 9, expected"),
        (lambda file: file["annotations"][0].update(score=None), r"annotations\[0\]: `score` is null, expected a num"),
        (lambda file: file["annotations"].append(3), r"file, annotations\[2\]: expected an object, got 3"),
        (
            lambda file: file["annotations"][0]["segmentations"][2].update(size=[5, 4]),
            r"annotations\[0\], segmentations\[2\]: `size` is \[5, 4\], expected \[4, 5\]",
        ),
        (
            lambda file: file["annotations"][0]["segmentations"][0].update(counts="5"),
            r"annotations\[0\], segmentations\[0\]: run lengths cover 5 pixels",
        ),
    ],
)
def test_a_wrong_record_of_a_json_is_named(tmp_path: Path, change: Change, complaint: str) -> None:
    path = tmp_path / "tracks.json"
    write(path, prediction(CAT, RING))
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))

    with pytest.raises(InputError, match=complaint):
        read_result(path)


@pytest.mark.parametrize(
    ("line", "change", "complaint"),
    [
        (0, lambda header: header.update(type="frame"), r'line 1: `type` is "frame", expected "header"'),
        (0, lambda header: header["video"].pop("fps"), r"line 1, video: `fps` is missing"),
        (2, lambda frame: frame.update(index=0), r"line 3: `index` is 0, expected a whole number of at least 1"),
        (1, lambda frame: frame["instances"].append(frame["instances"][0]), r"line 2, instances\[2\]: the track is on"),
        (1, lambda frame: frame["instances"][1].pop("segmentation"), r"line 2, instances\[1\]: expected an object"),
        (4, lambda end: end.update(frames=4), r"line 5: `frames` is 4, but the file has 3"),
        (4, lambda end: end["tracks"][0].update(category_id=0), r"line 5, tracks\[0\]: `category_id` is 0, expected"),
    ],
)
def test_a_wrong_line_of_a_jsonl_is_named(tmp_path: Path, line: int, change: Change, complaint: str) -> None:
    path = tmp_path / "tracks.jsonl"
    write(path, prediction(CAT, RING))
    records = [json.loads(text) for text in path.read_text().splitlines()]
    change(records[line])
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))

    with pytest.raises(InputError, match=complaint):
        read_result(path)


@pytest.mark.parametrize("kept", [0, 1, 40, -30, -1], ids=["nothing", "a byte", "half a header", "half an end", "all"])
def test_a_jsonl_that_was_cut_off_is_an_interrupted_run(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "tracks.jsonl"
    write(path, prediction(CAT))
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(InputError, match="interrupted run") as caught:
        read_result(path)

    assert "run it again" in str(caught.value.hint)


def test_a_jsonl_without_its_end_line_is_an_interrupted_run(tmp_path: Path) -> None:
    path = tmp_path / "tracks.jsonl"
    write(path, prediction(CAT))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    with pytest.raises(InputError, match=r"interrupted run: .*no end line after 3 frames"):
        read_result(path)


def test_a_compressed_jsonl_that_was_cut_off_is_an_interrupted_run(tmp_path: Path) -> None:
    path = tmp_path / "tracks.jsonl.gz"
    write(path, prediction(CAT))
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(InputError, match="interrupted run"):
        read_result(path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.json", b"", "file: not JSON"),
        ("a.json", b'{"videos": NaN}', "NaN is no JSON number"),
        ("a.json", b"[" * 100_000, "bare results list"),
        ("a.json", b'{"a":' * 100_000, "not JSON"),
        ("a.json", b"[]", "bare results list has no video"),
        ("a.json", b"\xff\xfe\x00", "not JSON"),
        ("a.jsonl", b"hello\n", "line 1: not JSON"),
        ("a.jsonl.gz", b"hello\n", "cannot read result"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 99)[:14] + b"\0" * 40, "not a vistool result|cannot read result"),
        ("a.txt", b"{}", "suffix is unknown"),
    ],
)
def test_what_is_no_result_is_an_input_error(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=complaint):
        read_result(tmp_path / name)


def test_a_missing_result_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_result(tmp_path / "tracks.json")
