"""The WRITERS table: every output format, the names it goes by, and how it is opened. Light to import.

A format is a file beside this one and one row here. The suffix of an output decides its format; a format given by name
decides where the suffix fits several formats or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .publishing import check_target
from .style import OverlayStyle

if TYPE_CHECKING:
    from ..protocols import Writer
    from ..types import Category, VideoInfo

STDOUT = "-"
_FOLDER_FORMAT = "davis"
_STREAM_FORMAT = "jsonl"


@dataclass(frozen=True, slots=True)
class Output:
    """What a writer is told when it is opened."""

    path: Path | None  # None: standard output
    categories: tuple[Category, ...]
    video: VideoInfo
    facts: Mapping[str, object]  # provenance, JSON values only
    overwrite: bool
    audio_from: Path | None  # the file whose sound an overlay takes along
    style: OverlayStyle


@dataclass(frozen=True, slots=True)
class WriterRow:
    """One row of the table."""

    summary: str
    suffixes: tuple[str, ...]  # lower case; none: the output is a folder
    open: Callable[[Output], Writer]


def open_writer(
    out: str | Path,
    *,
    format: str | None = None,
    categories: Sequence[Category],
    video: VideoInfo,
    facts: Mapping[str, object],
    overwrite: bool = False,
    audio_from: Path | None = None,
    style: OverlayStyle | None = None,
) -> Writer:
    """The writer for `out`: a file, a folder, or `-` for standard output. Nothing is under its name before `finish`.

    Raises UsageError when no format fits, OutputExistsError when `out` is there already and `overwrite` is not set,
    InputError when its folder is missing or cannot be written to.
    """
    name, path = resolve_format(out, format)
    if path is not None:
        check_target(path, folder=name == _FOLDER_FORMAT, overwrite=overwrite)
    output = Output(path, tuple(categories), video, facts, overwrite, audio_from, style or OverlayStyle())
    return WRITERS[name].open(output)


def check_outputs(
    outs: Sequence[str | Path],
    *,
    format: str | None = None,
    overwrite: bool = False,
    inputs: Sequence[str | Path] = (),
) -> None:
    """Raise what `open_writer` would, and UsageError where two outputs are one or an input, before any work is done."""
    resolved = [resolve_format(out, format) for out in outs]
    if format is not None and outs and format not in {name for name, _ in resolved}:
        raise UsageError(
            f"format does not fit the output: `{format}` (`{outs[0]}` is {resolved[0][0]})",
            hint="give the output a suffix of that format, or leave the format out",
        )
    taken: set[str] = set()
    read = {os.path.realpath(path) for path in inputs}
    for out, (name, path) in zip(outs, resolved, strict=True):
        key = STDOUT if path is None else os.path.realpath(path)
        if key in taken:
            raise UsageError(f"two outputs have the same path: `{out}`", hint="give each output its own name")
        if key in read:
            raise UsageError(f"output is an input: `{out}`", hint="choose another name; the source is never replaced")
        taken.add(key)
        if path is not None:
            check_target(path, folder=name == _FOLDER_FORMAT, overwrite=overwrite)


def resolve_format(out: str | Path, format: str | None = None) -> tuple[str, Path | None]:
    """Row of WRITERS and path for an output; the path is None for standard output."""
    if format is not None and format not in WRITERS:
        near = get_close_matches(format, WRITERS, n=1)
        raise UsageError(
            f"unknown format: `{format}`",
            hint=f"did you mean `{near[0]}`?" if near else f"one of: {', '.join(WRITERS)}",
        )
    if str(out) == STDOUT:
        if format not in (None, _STREAM_FORMAT):
            raise UsageError(f"format cannot go to standard output: `{format}`", hint="only JSON Lines can: `-o -`")
        return _STREAM_FORMAT, None
    fitting = _fitting_formats(out)
    if format is not None and (format in fitting or not fitting):
        return format, Path(out)
    if not fitting:
        raise UsageError(f"no format has this suffix: `{out}`", hint=f"use one of {suffix_summary()}")
    return fitting[0], Path(out)


def suffix_summary() -> str:
    """The suffixes and the other ways to name an output, for messages and help."""
    suffixes = dict.fromkeys(suffix for row in WRITERS.values() for suffix in row.suffixes)
    return f"{', '.join(suffixes)}, a folder (no suffix), `-` (standard output)"


def _fitting_formats(out: str | Path) -> tuple[str, ...]:
    """The formats that a name can stand for, likeliest first; none when its suffix is not known."""
    path = Path(out)
    if str(out).endswith(("/", os.sep)):
        return (_FOLDER_FORMAT,)
    if by_suffix := tuple(name for name in WRITERS if _has_suffix(path, name)):
        return by_suffix
    if path.is_dir():
        return (_FOLDER_FORMAT,)
    return () if path.suffix else (_FOLDER_FORMAT, *WRITERS)


def _has_suffix(path: Path, name: str) -> bool:
    return path.name.lower().endswith(WRITERS[name].suffixes)  # False where there are none


def _ytvis(output: Output) -> Writer:
    from .ytvis_json import YtvisWriter

    return YtvisWriter(output)


def _ytvis_results(output: Output) -> Writer:
    from .ytvis_json import YtvisResultsWriter

    return YtvisResultsWriter(output)


def _json_lines(output: Output) -> Writer:
    from .json_lines import JsonLinesWriter

    return JsonLinesWriter(output)


def _overlay(output: Output) -> Writer:
    from .overlay import OverlayWriter

    return OverlayWriter(output)


def _davis(output: Output) -> Writer:
    from .indexed_png import IndexedPngWriter

    return IndexedPngWriter(output)


WRITERS: dict[str, WriterRow] = {
    "ytvis": WriterRow("tracks in YTVIS layout", (".json",), _ytvis),
    "ytvis-results": WriterRow("the bare list that the benchmark servers take", (".json",), _ytvis_results),
    "jsonl": WriterRow("JSON Lines, one line a frame", (".jsonl", ".jsonl.gz"), _json_lines),
    "overlay": WriterRow("video with the masks drawn on it", (".mp4", ".mkv"), _overlay),
    "davis": WriterRow("folder of indexed PNGs, one a frame", (), _davis),
}
