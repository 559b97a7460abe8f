"""Licences of weights: which need a person's word, and who has given it. Weights with a free licence need none."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator
from datetime import date

from ..errors import WeightsError
from . import cache

ENVIRONMENT = "VISTOOL_ACCEPT_LICENSE"  # licences, keys or repositories, with commas between
UNKNOWN = "unknown"

_PERMISSIVE = {"apache-2.0", "mit", "cc-by-4.0", "cc0-1.0", "0bsd"}
_FILE = "licences.json"


def is_permissive(licence: str) -> bool:
    """Whether it is a well-known licence that allows every use."""
    return licence.lower() in _PERMISSIVE or licence.lower().startswith("bsd-")


def require(name: str, licence: str, *, accepted: Collection[str], page: str = "") -> None:
    """WeightsError unless the licence of the checkpoint `name` was accepted, now or before; remembers it.

    `accepted` is what `--accept-license` was given: licences, names of checkpoints, repositories. `page` is where the
    licence can be read.
    """
    licence = licence or UNKNOWN
    path = cache.folder() / _FILE
    if _remembered(name, licence):
        return
    if not set(_spellings(name, licence)) & {given.strip().lower() for given in (*accepted, *_from_environment())}:
        where = f" ({page})" if page else ""
        raise WeightsError(
            f"licence not accepted: `{licence}` (of the weights `{name}`)",
            hint=f"read it{where}; if it allows your use, add: --accept-license {shlex.quote(_asked(name, licence))}",
        )
    with cache.locked(path):
        known = dict(cache.read_record(path))
        known[name] = {"licence": licence, "accepted": date.today().isoformat()}
        cache.write_record(path, known)


def _remembered(name: str, licence: str) -> bool:
    known = cache.read_record(cache.folder() / _FILE).get(name)
    return isinstance(known, dict) and known.get("licence") == licence


def _asked(name: str, licence: str) -> str:
    """What to give to `--accept-license`: a name says more than `unknown`."""
    return name if licence == UNKNOWN else licence


def _spellings(name: str, licence: str) -> Iterator[str]:
    """All that stands for this licence of this checkpoint, in small letters."""
    yield licence.lower()
    yield name.lower()
    if name.startswith("hf:"):
        address = name.removeprefix("hf:").partition("@")[0].lower()
        repository = "/".join(address.split("/")[:2])
        yield from (repository, f"hf:{repository}")


def _from_environment() -> list[str]:
    return [each for each in os.environ.get(ENVIRONMENT, "").split(",") if each.strip()]
