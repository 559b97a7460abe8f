"""Reads back what our `.json` and `.jsonl` writers write. What is wrong is an InputError that names the record."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from ..types import Category, Rle, Track, VideoInfo, VideoPrediction
from .records import Record, parse_mask, shorten

_LARGEST_DENOMINATOR = 1_000_000  # of frame rates, which are stored as decimal fractions


def read_result(path: str | Path) -> VideoPrediction:
    """The prediction in a `.json`, `.jsonl` or `.jsonl.gz` result.

    Of a `.jsonl`, the end line says which tracks remain and their class and score. InputError when the file is
    missing, is the trace of an interrupted run, or holds something else.
    """
    path = Path(path)
    name = path.name.lower()
    try:
        if name.endswith(".json"):
            return _read_ytvis(path.read_bytes())
        if name.endswith((".jsonl", ".jsonl.gz")):
            return _read_lines(path)
    except OSError as error:
        raise InputError(f"cannot read result: `{path}` ({error.strerror or error})", hint="check the path") from error
    except _InterruptedError as error:
        raise InputError(
            f"result of an interrupted run: `{path}` ({error})", hint="run it again; up to there its lines are whole"
        ) from error
    except ValueError as error:
        raise InputError(
            f"not a vistool result: `{path}` ({error})", hint="use a .json or .jsonl that `vistool segment` wrote"
        ) from error
    raise InputError(f"not a result: `{path}` (its suffix is unknown)", hint="use .json, .jsonl or .jsonl.gz")


class _InterruptedError(Exception):
    """The file ends before its end line."""


def _read_ytvis(content: bytes) -> VideoPrediction:
    if content.lstrip()[:1] == b"[":
        raise ValueError("a bare results list has no video and no track ids")
    root = Record.parse(content, "file")
    video_records = list(root.records("videos"))
    if len(video_records) != 1:
        raise ValueError(f"it has {len(video_records)} videos, expected 1")
    length = video_records[0].integer("length", least=0)
    video = _video(video_records[0], length)
    categories = _categories(root)
    times_s = {
        index: _time(value, f"videos[0], times[{index}]")
        for index, value in enumerate(video_records[0].items("times", length))
        if value is not None
    }
    rows = _rows_of_ids(categories)
    tracks = tuple(_annotation_track(record, video, length, rows) for record in root.records("annotations"))
    _refuse_twice([track.id for track in tracks], "track")
    return VideoPrediction(video, categories, tracks, times_s, root.record("info").fields)


def _annotation_track(record: Record, video: VideoInfo, length: int, rows: dict[int, int]) -> Track:
    masks_by_frame = {
        index: parse_mask(value, video.size_hw, f"{record.where}, segmentations[{index}]")
        for index, value in enumerate(record.items("segmentations", length))
        if value is not None
    }
    return Track(record.integer("id"), _label(record, rows), record.number("score"), masks_by_frame)


def _read_lines(path: Path) -> VideoPrediction:
    lines = _lines(path)
    header = next(lines, None)
    if header is None:
        raise _InterruptedError("it has no line")
    _expect_type(header, "header")
    video, categories = _video(header.record("video"), None), _categories(header)
    facts = {name: value for name, value in header.fields.items() if name not in ("type", "video", "categories")}

    times_s: dict[int, float] = {}
    masks_by_track: dict[int, dict[int, Rle]] = {}
    next_index = 0
    for line in lines:
        if line.fields.get("type") == "end":
            if (later := next(lines, None)) is not None:
                raise ValueError(f"{later.where}: it comes after the end line")
            tracks = _end_tracks(line, masks_by_track, _rows_of_ids(categories), len(times_s))
            return VideoPrediction(video, categories, tracks, times_s, facts)
        _expect_type(line, "frame")
        index = line.integer("index", least=next_index)
        next_index = index + 1
        times_s[index] = line.number("time")
        for instance in line.records("instances"):
            track_masks = masks_by_track.setdefault(instance.integer("track_id"), {})
            if index in track_masks:
                raise ValueError(f"{instance.where}: the track is on this frame twice")
            track_masks[index] = parse_mask(instance.fields.get("segmentation"), video.size_hw, instance.where)
    raise _InterruptedError(f"no end line after {len(times_s)} frames")


def _end_tracks(
    end: Record, masks_by_track: dict[int, dict[int, Rle]], rows: dict[int, int], frames: int
) -> tuple[Track, ...]:
    if end.integer("frames") != frames:
        raise ValueError(f"{end.where}: `frames` is {end.integer('frames')}, but the file has {frames}")
    records = list(end.records("tracks"))
    ids = [record.integer("track_id") for record in records]
    _refuse_twice(ids, "track")
    return tuple(
        Track(track_id, _label(record, rows), record.number("score"), masks_by_track.get(track_id, {}))
        for track_id, record in zip(ids, records, strict=True)
    )


def _lines(path: Path) -> Iterator[Record]:
    """The records of a JSON Lines file; one that was cut off within a line is the trace of an interrupted run."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        number = 0
        try:
            for number, text in enumerate(file, start=1):
                if not text.endswith(b"\n"):
                    raise _InterruptedError(f"line {number} is cut off")
                yield Record.parse(text, f"line {number}")
        except EOFError as error:  # a compressed file that was cut off
            raise _InterruptedError(f"it is cut off after line {number}") from error
        except zlib.error as error:
            raise ValueError(f"its compression is damaged after line {number}: {error}") from error


def _expect_type(line: Record, expected: str) -> None:
    if line.fields.get("type") != expected:
        line.fail("type", line.fields.get("type"), f'"{expected}"')


def _video(record: Record, frame_count: int | None) -> VideoInfo:
    size_hw = (record.integer("height", least=1), record.integer("width", least=1))
    rate = record.number("fps")
    if rate <= 0:
        record.fail("fps", rate, "a number above 0")
    if frame_count is None and record.fields.get("length") is not None:
        frame_count = record.integer("length", least=0)
    rotation = record.integer("rotation") if "rotation" in record.fields else 0
    exact_rate = Fraction(rate).limit_denominator(_LARGEST_DENOMINATOR)
    return VideoInfo(record.text("file_name"), size_hw, exact_rate, frame_count, rotation)


def _categories(record: Record) -> tuple[Category, ...]:
    categories = tuple(Category(row.integer("id"), row.text("name")) for row in record.records("categories"))
    _refuse_twice([category.id for category in categories], "category")
    return categories


def _rows_of_ids(categories: tuple[Category, ...]) -> dict[int, int]:
    return {category.id: row for row, category in enumerate(categories)}


def _label(record: Record, rows: dict[int, int]) -> int:
    category_id = record.integer("category_id")
    if category_id not in rows:
        record.fail("category_id", category_id, f"one of {shorten(sorted(rows))}")
    return rows[category_id]


def _time(value: object, where: str) -> float:
    return Record(where, {"time": value}).number("time")


def _refuse_twice(ids: list[int], what: str) -> None:
    if len(set(ids)) != len(ids):
        twice = next(number for number in ids if ids.count(number) > 1)
        raise ValueError(f"{what} {twice} is there twice")
