"""Weights: the table of known checkpoints, the file format, and the way from a name to tensors. Light to import."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from . import cache, checkpoint, registry

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .conversion import Reader
    from .registry import Entry

HUB = "hf:"
OURS = "vistool"  # among the layouts
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # two letters at least: `C:` is a drive


@dataclass(frozen=True, slots=True)
class Permissions:
    """What may be done to get at weights."""

    offline: bool = False  # no connection is opened; VISTOOL_OFFLINE=1 and HF_HUB_OFFLINE=1 mean the same
    accepted: frozenset[str] = frozenset()  # licences, or names of checkpoints, whose terms the user has accepted


ORDINARY = Permissions()
Say = Callable[[str], None]  # where lines about progress go


def quiet(_: str) -> None:
    """To say nothing."""


def load(
    spec: str,
    method: str,
    reader: Reader,
    permissions: Permissions = ORDINARY,
    say: Say = quiet,
) -> Checkpoint:
    """The checkpoint for `method` that `spec` stands for: a key of weights.toml, a file or folder, or
    `hf:owner/name[/file][@revision]`.

    What is absent is fetched, and said so; what is another project's is converted by `reader` and kept. WeightsError
    when there is none, when it is damaged or not the file of that key, and when it is another method's.
    """
    loaded = load_any(spec, method, reader, permissions, say)
    if loaded.info.method != method:
        raise WeightsError(
            f"weights belong to another method: `{spec}` (made for `{loaded.info.method}`, asked for `{method}`)",
            hint=f"use --method {loaded.info.method}, or other weights",
        )
    return loaded


def load_any(
    spec: str,
    method: str,
    reader: Reader,
    permissions: Permissions = ORDINARY,
    say: Say = quiet,
) -> Checkpoint:
    """As `load`, but a checkpoint of ours may be for another method."""
    found = find(spec)
    if isinstance(found, Path):
        loaded = _local(found, method, reader, say)
    elif found.source == "bundled":
        loaded = _bundled(found)
    else:
        loaded = _fetched(found, method, reader, permissions, say)
    return replace(loaded, name=spec)


def find(spec: str) -> Entry | Path:
    """The entry or the file that `spec` names; WeightsError for what is neither."""
    if spec in registry.entries():
        return registry.entries()[spec]
    path = Path(spec)
    if path.exists():
        return path
    if spec.startswith(HUB):
        from .sources import hub_entry

        return hub_entry(spec)
    if _ADDRESS.match(spec):
        raise WeightsError(
            f"weights cannot be fetched from there: `{spec}` (only keys, files and hf:OWNER/NAME are supported)",
            hint="download the file yourself and give its path, or see `vistool weights list`",
        )
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(
            f"weights not found: `{spec}` (no such file)", hint="check the path, or see `vistool weights list`"
        )
    return registry.find(spec)


def locate(spec: str, method: str = "") -> Path:
    """The file of ours that `spec` stands for: for `method`, or else the one that its entry is for first of all.

    Fetches and converts nothing; WeightsError when the file is not at hand.
    """
    found = find(spec)
    if isinstance(found, Path):
        return found
    path = found.bundled_path if found.source == "bundled" else at_hand(found, method or found.method)
    if path is None:
        raise WeightsError(
            f"weights are not at hand: `{spec}` (not fetched yet, or not for this method)",
            hint=f"fetch and convert them: vistool weights pull {spec}{f' --method {method}' if method else ''}",
        )
    return path


def at_hand(entry: Entry, method: str) -> Path | None:
    """The file of ours that stands for a fetched entry; an empty `method` means any. None when there is none."""
    from .conversion import is_ours
    from .sources import recorded

    known = recorded(entry)
    if known is None:
        return None
    if is_ours(known.path):
        return known.path
    made = [cache.converted_path(known.sha256, method)] if method else cache.converted_paths(known.sha256)
    return next((path for path in made if path.is_file() and cache.record_of(path).is_file()), None)


def _bundled(entry: Entry) -> Checkpoint:
    loaded = checkpoint.read(entry.bundled_path)
    if loaded.sha256 != entry.sha256:
        raise WeightsError(
            f"weights are not the published file: `{entry.key}` "
            f"(sha256 is {loaded.sha256[:12]}…, not {entry.sha256[:12]}…)",
            hint="reinstall vistool, or give the file by its path to use it all the same",
        )
    return loaded


def _fetched(entry: Entry, method: str, reader: Reader, permissions: Permissions, say: Say) -> Checkpoint:
    if entry.layout not in ("", OURS, *reader.layouts):
        raise WeightsError(
            f"weights cannot be read for this method: `{entry.key}` (`{method}` does not read `{entry.layout}`)",
            hint=f"it reads: {', '.join(reader.layouts) or 'its own weights only'}; see `vistool weights list`",
        )

    from .conversion import converted, is_ours, kept
    from .sources import check_licence, fetch, recorded

    facts = entry if entry.layout else None
    known = recorded(entry)
    if known is not None:
        check_licence(entry, known, permissions)
        ready = kept(known, facts, method)
        if ready is not None:
            return ready
    fetched = fetch(entry, permissions, say)
    if entry.layout == OURS or is_ours(fetched.path):
        return checkpoint.read(fetched.path)
    return converted(fetched, facts, method, reader, say)


def _local(path: Path, method: str, reader: Reader, say: Say) -> Checkpoint:
    """A checkpoint of ours is read where it lies; another project's is converted into the cache."""
    from .conversion import converted, is_ours
    from .sources import local

    if path.is_file() and (is_ours(path) or path.stat().st_size == 0):
        return checkpoint.read(path)
    found = local(path)
    entry = registry.by_digest(found.sha256)
    return converted(found, entry if entry and entry.layout in reader.layouts else None, method, reader, say)
