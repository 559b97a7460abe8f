"""The folder where fetched and converted weights lie. Knows paths, locks and small JSON records; fetches nothing.

    fetched/NAME/     what was fetched for a key or an `hf:` address: record.json, and the file unless it is the hub's
    manual/           files that people fetched themselves
    converted/        SHA-METHOD.safetensors; beside each a .json with its hash and what it was made from
    licences.json     which licences were accepted

Files of the hub lie in the hub's own cache. A file or record has its name only when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..errors import WeightsError

DIGITS = 16  # of a source's hash, in the name of what it was converted to
RECORD = "record.json"


def folder() -> Path:
    """$VISTOOL_CACHE, else `vistool` in $XDG_CACHE_HOME, else ~/.cache/vistool. It may not exist yet."""
    if chosen := os.environ.get("VISTOOL_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser().absolute() if base else Path.home() / ".cache") / "vistool"


def fetched_folder(name: str) -> Path:
    """For what is fetched under this name: a key, or an `hf:` address."""
    return folder() / "fetched" / quote(name, safe="")


def fetched_names() -> list[str]:
    """All under which something was fetched."""
    return sorted(unquote(path.parent.name) for path in (folder() / "fetched").glob(f"*/{RECORD}"))


def manual_path(file: str) -> Path:
    """Where people put a file that they fetched themselves."""
    return folder() / "manual" / Path(file).name


def converted_path(digest: str, method: str) -> Path:
    """For the source with this sha256, converted for a method."""
    return folder() / "converted" / f"{digest[:DIGITS]}-{method}.safetensors"


def converted_paths(digest: str = "") -> list[Path]:
    """The converted files of a source, for whichever methods; of all sources without `digest`."""
    return sorted((folder() / "converted").glob(f"{digest[:DIGITS]}*.safetensors"))


def record_of(converted: Path) -> Path:
    """Where it is written what a converted file was made from, and its hash."""
    return converted.with_suffix(".json")


def read_record(path: Path) -> Mapping[str, Any]:
    """The object of a JSON file; empty where there is none, or where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Replace the file as a whole."""
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from making the same file; makes the folder that it goes to."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # knows file systems without locks

    lock = folder() / ".locks" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:DIGITS]}.lock"
    with write_errors(path):
        lock.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    with WeakFileLock(lock):
        yield


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the system refuses into one clear line."""
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"cannot write weights: `{path}` ({error.strerror or error})",
            hint="check the space and the permissions there, or set VISTOOL_CACHE to another folder",
        ) from error


def remove(paths: Iterable[Path]) -> int:
    """Delete files, and folders with all that is in them; → bytes that this freed."""
    freed = 0
    for path in paths:
        with write_errors(path):
            if path.is_dir():
                freed += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                shutil.rmtree(path)
            elif path.exists():
                freed += path.stat().st_size
                path.unlink()
    return freed


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:.1f} MB"
