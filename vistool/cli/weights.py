"""`vistool weights list|show|path|verify|rm`: the known checkpoints, and what is kept of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, WeightsError
from .options import AsJson, WeightsArgument, WhatFor
from .tables import listing, table

if TYPE_CHECKING:
    from ..weights.registry import Entry

Keys = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY]...", help="From `vistool weights list`, or hf:OWNER/NAME.")
]


def list_weights(as_json: AsJson = False) -> None:
    """Every checkpoint that has a name."""
    from ..weights import registry

    facts = [_entry_facts(entry) for entry in registry.entries().values()]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    header = ("key", "method", "preset", "size", "licence", "source", "classes", "trained on", "state")
    named = ("key", "method", "preset", "size", "licence", "source", "class_count", "trained_on", "state")
    typer.echo(table(header, [[_cell(name, row[name]) for name in named] for row in facts]))


def show(spec: WeightsArgument, as_json: AsJson = False) -> None:
    """What is known of a checkpoint, and what its file says of itself."""
    from ..weights import registry

    entry = registry.entries().get(spec)
    known = _entry_facts(entry) if entry else {}
    facts = known if known and not known["at_hand"] else _file_facts(spec)
    if as_json:
        typer.echo(json.dumps({**facts, "entry": known} if entry else facts, indent=2))
    else:
        typer.echo(listing(_for_people(facts) | ({"entry": spec} if entry else {})))


def path(spec: WeightsArgument, method: WhatFor = None, as_json: AsJson = False) -> None:
    """Where the file of a checkpoint lies."""
    from ..weights import locate

    found = locate(spec, method or "")
    typer.echo(json.dumps({"key": spec, "file": str(found)}) if as_json else found)


def verify(
    keys: Keys = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever the cache holds, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hash the files again. Without a key: those that come with vistool."""
    from ..weights import upkeep

    if keys and everything:
        raise UsageError("--all and keys contradict each other", hint="leave one of them out")
    if keys:
        findings = [finding for key in keys for finding in upkeep.check(_entry(key))]
    else:
        findings = [*upkeep.check_bundled(), *(upkeep.check_cache() if everything else ())]
    if as_json:
        typer.echo(json.dumps([{"name": f.name, "file": str(f.path), "fault": f.fault} for f in findings], indent=2))
    for finding in [] if as_json else findings:
        typer.echo(f"{finding.name}  {finding.fault or 'ok'}")
    if wrong := [finding for finding in findings if finding.fault]:
        raise WeightsError(
            f"weights are not as they should be: {', '.join(finding.name for finding in wrong)}",
            hint="reinstall vistool for those that come with it; `vistool weights rm` and `pull` for the others",
        )


def remove(
    keys: Keys = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever was fetched or converted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what was fetched and converted. What comes with vistool stays."""
    from ..weights import upkeep
    from ..weights.cache import megabytes

    if bool(keys) == everything:
        raise UsageError("neither keys nor --all" if not keys else "both keys and --all", hint="give one of them")
    entries = [_entry(key) for key in keys or ()]
    if bundled := [entry.key for entry in entries if entry.source == "bundled"]:
        raise UsageError(f"weights come with vistool: `{bundled[0]}` (nothing of them is in the cache)")
    freed = {entry.key: upkeep.forget(entry.key, entry.repo) for entry in entries}
    if everything:
        freed = {"all": upkeep.forget_all()}
    lines = [f"{name}  {f'freed {megabytes(size)}' if size else 'nothing was there'}" for name, size in freed.items()]
    typer.echo(json.dumps({"freed": freed}, indent=2) if as_json else "\n".join(lines))


def _entry(spec: str) -> Entry:
    """UsageError for a file: nothing is kept of it under a name."""
    from ..weights import find

    found = find(spec)
    if isinstance(found, Path):
        raise UsageError(f"not a key: `{spec}` (it is a file)", hint="give a key, or hf:OWNER/NAME")
    return found


def _entry_facts(entry: Entry) -> dict[str, object]:
    """The entry as JSON values, and what it means here and now."""
    state = _state(entry)
    return {
        **asdict(entry),
        "class_count": len(entry.category_rows),
        "at_hand": state in ("bundled", "at hand"),
        "usable": state != "not yet",
        "state": state,
    }


def _state(entry: Entry) -> str:
    from ..methods import METHODS
    from ..weights import OURS, at_hand

    if entry.method not in METHODS or entry.layout not in (OURS, *METHODS[entry.method].layouts):
        return "not yet"
    if entry.source == "bundled":
        return "bundled" if entry.bundled_path.is_file() else "missing"
    if at_hand(entry, entry.method):
        return "at hand"
    return "by hand" if entry.source == "manual" else "to fetch"


def _file_facts(spec: str) -> dict[str, object]:
    """What the file of a checkpoint says of itself, and what can be seen of it."""
    from ..weights import checkpoint, locate

    path = locate(spec)
    header = checkpoint.read_header(path)
    return {
        **asdict(header.info),
        "parameters": header.parameters,
        "stored_as": list(header.dtypes),
        "file": str(path),
        "size": path.stat().st_size,
        "sha256": checkpoint.sha256_of(path),
    }


def _cell(name: str, value: object) -> str:
    from ..weights.cache import megabytes

    return megabytes(value) if name == "size" and isinstance(value, int) and value else str(value or "-")


def _for_people(facts: dict[str, object]) -> dict[str, object]:
    """Classes by their names alone."""
    rows = facts["categories"]
    named = [row["name"] if isinstance(row, dict) else row for row in rows] if isinstance(rows, tuple) else rows
    return {**facts, "categories": named}
