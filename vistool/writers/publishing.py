"""Outputs that are under their name only when they are complete. Knows paths and text; knows no format."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from ..errors import InputError, OutputExistsError, VistoolError

MAP_NAME = "tracks.json"  # in a folder of indexed PNGs, what each value stands for
_NUMBERED_PNG = re.compile(r"\d+\.png")


def check_target(path: Path, *, folder: bool, overwrite: bool) -> None:
    """Refuse an output that is in the way or that could not be written.

    `overwrite` lets a file replace a file, and a folder of indexed PNGs replace one: never a folder that holds more.
    """
    if path.exists() or path.is_symlink():
        if path.is_dir() != folder:
            raise OutputExistsError(
                f"output exists: `{path}` (it is a {'folder' if path.is_dir() else 'file'})", hint="choose another name"
            )
        if folder and (stranger := _first_stranger(path)):
            raise OutputExistsError(
                f"output folder is not ours to replace: `{path}` (it holds `{stranger}`)", hint="choose another folder"
            )
        if not overwrite and not (folder and not any(path.iterdir())):
            raise OutputExistsError(f"output exists: `{path}`", hint="add --overwrite, or choose another name")
    parent = path.parent
    if not parent.is_dir():
        reason = "it is a file" if parent.exists() else "no such folder"
        raise InputError(f"cannot write to the folder: `{parent}` ({reason})", hint=f"create it: mkdir -p {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to the folder: `{parent}` (permission denied)", hint="choose another folder")


def _first_stranger(folder: Path) -> str | None:
    """A name in the folder that no output of ours has; without the map, numbered pictures are somebody's frames."""
    names = sorted(entry.name for entry in folder.iterdir())
    has_map = MAP_NAME in names
    return next((name for name in names if not (has_map and (name == MAP_NAME or _NUMBERED_PNG.fullmatch(name)))), None)


@contextlib.contextmanager
def write_errors(path: Path | str) -> Iterator[None]:
    """Turn what the system refuses into one clear line."""
    try:
        yield
    except BrokenPipeError:  # a reader that has seen enough is no failure
        raise
    except OSError as error:
        raise VistoolError(
            f"cannot write: `{path}` ({error.strerror or error})", hint="check the space and the permissions there"
        ) from error


class Sink(Protocol):
    """Where text goes until the output is complete."""

    def write(self, text: str) -> None:
        """Append, and hand it to the system at once."""
        ...

    def publish(self) -> None: ...

    def discard(self) -> None:
        """Drop what was not published; may be called at any time."""
        ...


class PartialFile:
    """A text file that grows as `NAME.partial` and takes its name when it is published; compressed if that is `.gz`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        with write_errors(path):
            self._raw: IO[bytes] = self._partial.open("wb")
        self._stream: IO[bytes] | gzip.GzipFile = self._raw
        if path.suffix.lower() == ".gz":  # without name and time, so that the same text gives the same bytes
            self._stream = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)

    def write(self, text: str) -> None:
        with write_errors(self._path):
            self._stream.write(text.encode())
            self._stream.flush()

    def publish(self) -> None:
        with write_errors(self._path):
            if self._stream is not self._raw:
                self._stream.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._raw.close()
            self._partial.replace(self._path)

    def discard(self) -> None:
        for stream in (self._stream, self._raw):
            with contextlib.suppress(OSError):  # what is buffered cannot be written on a full disk, and need not be
                stream.close()
        self._partial.unlink(missing_ok=True)


class PartialFolder:
    """A folder that grows as `NAME.partial` and takes its name when it is published."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        with write_errors(path):
            check_target(self._partial, folder=True, overwrite=True)  # a killed run may have left one
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir()

    def write(self, name: str, content: bytes) -> None:
        with write_errors(self._path / name):
            (self._partial / name).write_bytes(content)

    def publish(self) -> None:
        with write_errors(self._path):
            if self._path.is_dir():
                shutil.rmtree(self._path)
            self._partial.replace(self._path)

    def discard(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


class StandardOutput:
    """Text to standard output, line by line; BrokenPipeError when its reader has gone."""

    def write(self, text: str) -> None:
        with write_errors("standard output"):
            sys.stdout.write(text)
            sys.stdout.flush()

    def publish(self) -> None:
        """Every line is out already."""

    def discard(self) -> None:
        """What was read cannot be taken back; the missing end line tells."""
