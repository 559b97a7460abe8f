"""What is kept of weights: whether it is as it was written, and how to be rid of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import cache, registry
from .checkpoint import sha256_of
from .registry import Entry
from .sources import Fetched, is_unchanged, remembered


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one file, or of one thing that was fetched."""

    name: str  # a key, an `hf:` address, or the name of a converted file
    path: Path
    fault: str = ""


def check(entry: Entry) -> Iterator[Finding]:
    """All that stands for an entry: bundled, or fetched and what it was converted to."""
    if entry.source == "bundled":
        yield Finding(entry.key, entry.bundled_path, _fault(entry.bundled_path, entry.sha256))
    elif known := remembered(entry.key):
        made = cache.converted_paths(known[0].sha256)
        if known[0].is_there or not made:
            yield _check_fetched(entry.key, known[0])
        yield from map(_check_converted, made)
    else:
        yield Finding(entry.key, cache.fetched_folder(entry.key), "not fetched")


def check_bundled() -> Iterator[Finding]:
    """All that travels with vistool."""
    for entry in registry.entries().values():
        if entry.source == "bundled":
            yield from check(entry)


def check_cache() -> Iterator[Finding]:
    """All that the cache holds."""
    for name in cache.fetched_names():
        known = remembered(name)
        if known and known[0].is_there:  # what was removed since is not needed once it is converted
            yield _check_fetched(name, known[0])
    yield from map(_check_converted, cache.converted_paths())


def forget(name: str, repo: str = "") -> int:
    """Remove what was fetched under a key or an address, whole or not, and what it was converted to; → bytes freed.

    `repo` is where on the hub it comes from. What people put into the cache by hand stays, and what is used by others.
    """
    known = remembered(name)
    made = cache.converted_paths(known[0].sha256) if known else []
    freed = cache.remove([cache.fetched_folder(name), *made, *map(cache.record_of, made)])
    if repo:
        from . import hub

        others = [found for other in cache.fetched_names() if (found := remembered(other))]
        shared = {file for fetched, _ in others for file in fetched.files}
        freed += hub.remove(repo, [file for file in known[0].files if file not in shared] if known else [])
    return freed


def forget_all() -> int:
    """Remove all that was fetched and converted; → bytes freed."""
    known = {name: found for name in cache.fetched_names() if (found := remembered(name))}
    freed = sum(forget(name, asked_for["repo"]) for name, (_, asked_for) in known.items())
    return freed + cache.remove(cache.folder() / name for name in ("fetched", "converted", ".locks"))


def _check_fetched(name: str, fetched: Fetched) -> Finding:
    if not fetched.is_there:
        return Finding(name, fetched.path, "removed since it was fetched")
    return Finding(name, fetched.path, "" if is_unchanged(fetched) else "not what was fetched")


def _check_converted(path: Path) -> Finding:
    recorded = cache.read_record(cache.record_of(path)).get("sha256")
    return Finding(path.name, path, _fault(path, recorded) if recorded else "not finished")


def _fault(path: Path, expected: str) -> str:
    if not path.is_file():
        return "missing"
    found = sha256_of(path)
    return "" if found == expected else f"sha256 is {found}"
