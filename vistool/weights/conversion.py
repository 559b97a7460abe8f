"""Checkpoints of other projects as ours, converted once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .. import __version__
from ..errors import WeightsError
from . import OURS, Say, cache, checkpoint
from .adoption import adopt
from .checkpoint import Checkpoint

if TYPE_CHECKING:
    from .foreign import Foreign
    from .registry import Entry
    from .sources import Fetched


class Reader(Protocol):
    """What converts for a method; a row of METHODS is one."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts of other projects that it reads."""
        ...

    @property
    def convert(self) -> Callable[[Foreign, str], Checkpoint]:
        """(another project's, its layout) → ours; WeightsError for any tensor that is missing or left over."""
        ...


def is_ours(path: Path) -> bool:
    """Whether the file says of itself that it is a vistool checkpoint, of whichever version."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return OURS in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def translate(foreign: Foreign, reader: Reader, path: Path, layout: str = "") -> Checkpoint:
    """By `layout`, or by the first that accounts for every tensor; WeightsError with all complaints when none does."""
    if layout:
        return reader.convert(foreign, layout)
    complaints = []
    for each in reader.layouts:
        try:
            return reader.convert(foreign, each)
        except WeightsError as error:
            complaints.append(f"{each}: {error.message}")
    raise WeightsError(
        f"no layout fits the weights: `{path}` ({'; '.join(complaints) or 'this method reads none'})",
        hint="check --method; `vistool methods show NAME` says what each reads",
    )


def converted(fetched: Fetched, entry: Entry | None, method: str, reader: Reader, say: Say) -> Checkpoint:
    """What `fetched` is for a method, as ours: from the cache, else converted and kept there."""
    path = cache.converted_path(fetched.sha256, method)
    with cache.locked(path):
        ready = kept(fetched, entry, method)
        if ready is None:
            say(f"converting {fetched.path} for {method}")
            _convert(fetched, entry, reader, path)
            ready = checkpoint.read(path)
            made_from = _made_from(fetched, entry)
            cache.write_record(cache.record_of(path), {"sha256": ready.sha256, **made_from})
    return ready


def kept(fetched: Fetched, entry: Entry | None, method: str) -> Checkpoint | None:
    """What was converted before from the same files and facts; None when there is none, or it is not whole."""
    path = cache.converted_path(fetched.sha256, method)
    record = dict(cache.read_record(cache.record_of(path)))
    digest = record.pop("sha256", None)
    if not path.is_file() or record != _made_from(fetched, entry):
        return None
    try:
        loaded = checkpoint.read(path)
    except WeightsError:
        return None
    return loaded if loaded.sha256 == digest else None


def _convert(fetched: Fetched, entry: Entry | None, reader: Reader, path: Path) -> None:
    """In a function of its own, so that what was read is gone from memory when the result is read back."""
    from .foreign import read_foreign

    foreign = read_foreign(fetched.path)
    made = translate(foreign, reader, fetched.path, entry.layout if entry else "")
    made = adopt(made, foreign, entry, fetched.origin)
    if entry is None and fetched.licence:
        made = replace(made, info=replace(made.info, licence=fetched.licence))
    checkpoint.write(path, made.info, made.tensors, half=False, overwrite=True)


def _made_from(fetched: Fetched, entry: Entry | None) -> dict[str, str]:
    """Everything that decides the converted file."""
    facts = json.dumps([asdict(entry) if entry else None, fetched.licence], sort_keys=True, default=str)
    return {
        "origin": fetched.origin,
        "source_sha256": fetched.sha256,
        "config_sha256": fetched.config_sha256,
        "facts_sha256": hashlib.sha256(facts.encode()).hexdigest(),
        "vistool": __version__,
    }
