"""The entries of YTVIS and OVIS files, as types that a reader insists on; what is not listed here is not looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ..errors import InputError


class MaskRecord(Struct, gc=False):
    """A run-length mask."""

    size: tuple[int, int]
    counts: str | list[int]


Slot = MaskRecord | list[list[float]] | None
"""One frame of a track: run lengths, polygons, or nothing; an empty list is nothing too."""


class VideoRecord(Struct):
    """An entry of `videos`."""

    id: int
    height: int
    width: int
    length: int | None = None
    file_name: str | None = None
    file_names: list[str] | None = None


class CategoryRecord(Struct):
    """An entry of `categories`."""

    id: int
    name: str | None = None


class AnnotationRecord(Struct):
    """An annotated track."""

    id: int
    video_id: int
    category_id: int
    segmentations: list[Slot]
    areas: list[float | None] | UnsetType | None = UNSET
    iscrowd: int | bool | UnsetType = UNSET
    occlusion: list[str | None] | None = None  # OVIS: a level a frame
    occlusions: list[float | None] | None = None  # shapes: the hidden share a frame
    full_segmentations: list[Slot] | None = None  # the whole object, hidden parts included


class PredictionRecord(Struct):
    """A predicted track, of a result list or of a `.json` result."""

    video_id: int
    category_id: int
    score: float
    segmentations: list[Slot]


R = TypeVar("R", bound=Struct)


def decoder(kind: type[R], entries: Sequence[Any]) -> Callable[[Any], R]:
    """How to make records of `entries`, which are raw JSON, or Python objects as a JSON reader gives them."""
    if entries and isinstance(entries[0], msgspec.Raw):
        return msgspec.json.Decoder(kind).decode
    return partial(msgspec.convert, type=kind)


def decoded(decode: Callable[[Any], R], entry: Any, place: str) -> R:
    """One record; InputError says what is wrong where."""
    try:
        return decode(entry)
    except msgspec.ValidationError as error:
        raise InputError(f"{place} {reason(error)}") from error


def reason(error: msgspec.ValidationError) -> str:
    """msgspec's sentence as the end of ours."""
    what, _, path = str(error).partition(" - at ")
    if what.startswith("Object missing required field "):
        what = f"lacks {what.removeprefix('Object missing required field ')}"
        return what if path in ("", "`$`") else f"{what} at {path.replace('$.', '')}"
    where = path.replace("$.", "").replace("`$`", "")
    return f"is not what is expected: {what[0].lower()}{what[1:]}" + (f" at {where}" if where else "")
