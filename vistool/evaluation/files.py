"""Files of annotations and predictions → tubes: plain or gzip, one file or a folder of one a video."""

from __future__ import annotations

import gzip
import mmap
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ..errors import InputError
from .layout import CategoryRecord, VideoRecord, decoded, reason
from .records import ground_truth, predictions, video_names
from .tubes import GroundTruth, Notes, Tube

SUFFIXES = (".json", ".json.gz")
LINES = (".jsonl", ".jsonl.gz")


class _Truth(Struct):
    videos: list[VideoRecord]
    categories: list[CategoryRecord]
    annotations: list[msgspec.Raw] | None = None


class _Result(Struct):
    """A `.json` result, or predictions in the layout of annotations."""

    annotations: list[msgspec.Raw]
    videos: list[VideoRecord] | None = None
    categories: list[CategoryRecord] | None = None


class _Document(Struct):
    """The same, when it is in memory."""

    annotations: list[Any]
    videos: list[VideoRecord] | None = None
    categories: list[CategoryRecord] | None = None


R = TypeVar("R")


def read_ground_truth(path: Path, notes: Notes) -> GroundTruth:
    """InputError when the file is missing, is not JSON, or holds something that is wrong."""
    document = _decode(_content(path), _Truth, path)
    if document.annotations is None:
        raise InputError(
            f"no annotations in ground truth: `{path}` (published validation files leave them out)",
            hint="use a file with `annotations`, such as one split off the training set",
        )
    return ground_truth(document.videos, document.categories, document.annotations, notes)


def read_predictions(
    paths: Sequence[Path], truth: GroundTruth, notes: Notes, read_lines: Callable[[Path], Any] | None = None
) -> list[Tube]:
    """The tracks of all files, numbered through; a folder stands for the results in it, sorted by name.

    `read_lines` makes the document of a `.json` result of a `.jsonl`; without it these are not read.
    """
    suffixes = (*SUFFIXES, *(LINES if read_lines else ()))
    tubes: list[Tube] = []
    for path, in_folder in _files(paths, suffixes):
        first = len(tubes) + 1
        if read_lines and path.name.lower().endswith(LINES):
            tubes += from_document(read_lines(path), path, truth, notes, first=first)
        else:
            tubes += _of_file(path, truth, notes, in_folder=in_folder, first=first)
    if any(path.is_dir() for path in paths):
        seen = {tube.video_id for tube in tubes}
        notes.add("annotated videos without a predicted track", sum(key not in seen for key in truth.videos))
    return tubes


def _files(paths: Sequence[Path], suffixes: tuple[str, ...]) -> Iterator[tuple[Path, bool]]:
    for path in paths:
        if not path.is_dir():
            yield path, False
            continue
        inside = sorted(file for file in path.iterdir() if file.name.lower().endswith(suffixes))
        if not inside:
            raise InputError(f"no results in folder: `{path}` (nothing ends in {', '.join(suffixes)})", hint=_HINT)
        yield from ((file, True) for file in inside)


def _of_file(path: Path, truth: GroundTruth, notes: Notes, *, in_folder: bool, first: int) -> Iterator[Tube]:
    content = _content(path)
    origin = f"{path.name}: " if in_folder else ""
    if (begin := re.search(rb"\S", content)) and begin.group() == b"[":
        entries = _decode(content, list[msgspec.Raw], path)
        named = _video_named(truth, _stem(path)) if in_folder else None
        videos = (lambda key: key) if named is None else _the_one(named, path)
        yield from predictions(entries, truth, notes, first=first, origin=origin, videos=videos)
    else:
        result = _decode(content, _Result, path)
        yield from _of_result(result, path, truth, notes, origin=origin, first=first)


def _the_one(video_id: int, path: Path) -> Callable[[int], int]:
    """What leads from the one id in a per-video list to the video; InputError when there is another."""
    met: set[int] = set()

    def lead(key: int) -> int:
        met.add(key)
        if len(met) > 1:
            raise InputError(
                f"several videos in a file that is named after one: `{path}` (ids {sorted(met)})",
                hint="give a list of many videos by its own name, not in a folder",
            )
        return video_id

    return lead


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def from_document(document: Any, path: Path, truth: GroundTruth, notes: Notes, *, first: int = 1) -> list[Tube]:
    """The tracks of a result that is in memory, in the layout of a `.json` result; `path` is where it came from."""
    result = decoded(lambda entry: msgspec.convert(entry, _Document), document, f"`{path}`")
    return list(_of_result(result, path, truth, notes, origin=f"{path.name}: ", first=first))


def _of_result(
    document: _Result | _Document, path: Path, truth: GroundTruth, notes: Notes, *, origin: str, first: int
) -> Iterator[Tube]:
    if document.videos is None:
        videos = {key: key for key in truth.videos}
    else:
        named = _video_named(truth, _stem(path))
        videos = {}
        for video in document.videos:
            matches = [_video_named(truth, name) for name in video_names(video)]
            match = next((key for key in matches if key is not None), None)
            if match is None and len(document.videos) == 1:
                match = named
            if match is None:
                raise InputError(
                    f"no annotated video has the name of the one in `{path}`: `{video.file_name or video.id}`",
                    hint="name the result after the video, or evaluate against its annotations",
                )
            videos[video.id] = match
    categories = _categories(document.categories, truth)
    yield from predictions(
        document.annotations, truth, notes, first=first, origin=origin, videos=videos.get, categories=categories
    )


def _video_named(truth: GroundTruth, name: str) -> int | None:
    """The video of that name, if one and only one has it."""
    found = [video.id for video in truth.videos.values() if name in video.names]
    return found[0] if len(found) == 1 else None


def _categories(records: Sequence[CategoryRecord] | None, truth: GroundTruth) -> dict[int, int | None] | None:
    """From the ids of a result to those of the ground truth: by name, however it is spelt, else by id."""
    if records is None:
        return None
    by_name = {_plain(name): key for key, name in truth.category_names.items()}
    return {record.id: record.id if record.name is None else by_name.get(_plain(record.name)) for record in records}


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")


def _content(path: Path) -> Any:
    """The bytes of a file; those of a plain one are mapped, so that they need not all be in memory."""
    try:
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(path.read_bytes())
            if not content:
                raise InputError(f"empty file: `{path}`", hint="check how it was written")
            return content
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise InputError(f"empty file: `{path}`", hint="check how it was written")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (EOFError, zlib.error) as error:
        raise InputError(f"damaged gzip file: `{path}` ({error})", hint="write or fetch it again") from error
    except OSError as error:
        raise InputError(f"cannot read: `{path}` ({error.strerror or error})", hint="check the path") from error


def _decode(content: Any, kind: type[R], path: Path) -> R:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise InputError(f"not a file of this kind: `{path}` (it {reason(error)})", hint=_HINT) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not JSON: `{path}` ({error})", hint=_HINT) from error


_HINT = "ground truth is a YTVIS or OVIS annotation file; predictions are a result list or what `vistool segment` wrote"
