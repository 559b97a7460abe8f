"""weights.toml as a table: every checkpoint that has a name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ..errors import WeightsError

_PACKAGE = Path(__file__).resolve().parent.parent
_BUNDLED = Path(__file__).resolve().parent / "bundled"


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint with a name; the key is what `--weights` takes."""

    key: str
    method: str  # a row of METHODS
    preset: str
    source: Literal["bundled"]  # where the file comes from
    file: str  # its name there
    sha256: str
    size: int  # bytes
    layout: str  # "vistool", or that of another project
    licence: str  # of the weights, which may differ from the code's
    categories: tuple[str, ...]
    published_ap: Mapping[str, float]  # data set → AP its authors give for this very file, a fraction
    measured_ap: Mapping[str, float]  # data set → AP that we measured, a fraction
    notes: str
    verified: str  # ISO date on which the file was last run and measured; empty: never

    @property
    def path(self) -> Path:
        """Where the file lies, or should."""
        return _BUNDLED / self.file


@cache
def entries() -> Mapping[str, Entry]:
    """All entries by key, in the order of weights.toml."""
    return parse(_weights_toml().read_text(encoding="utf-8"))


def find(key: str) -> Entry:
    """The entry called `key`; WeightsError with the nearest name when there is none."""
    known = entries()
    if key in known:
        return known[key]
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"give a path, or one of: {', '.join(known) or 'none yet'}"
    raise WeightsError(f"unknown weights: `{key}` (no such key or file)", hint=hint)


def by_digest(sha256: str) -> Entry | None:
    """The entry of the file with this digest, wherever the file was found."""
    return next((entry for entry in entries().values() if entry.sha256 == sha256), None)


def parse(text: str) -> Mapping[str, Entry]:
    """Entries of a weights.toml; ValueError names the entry and the field that are wrong."""
    return MappingProxyType({key: _entry(key, table) for key, table in tomllib.loads(text).items()})


def _entry(key: str, table: Mapping[str, Any]) -> Entry:
    wanted = {each.name for each in fields(Entry)} - {"key"}
    if wrong := sorted(wanted ^ table.keys()):
        raise ValueError(f"weights.toml: `{key}` {'lacks' if wrong[0] in wanted else 'has an unknown'} `{wrong[0]}`")
    if table["source"] != "bundled":
        raise ValueError(f"weights.toml: `{key}` has an unknown source: `{table['source']}`")
    return Entry(key=key, **{**table, "categories": tuple(table["categories"])})


def _weights_toml() -> Path:
    """In an installed package the file lies inside; in a checkout, at the top level."""
    inside = _PACKAGE / "weights.toml"
    return inside if inside.is_file() else _PACKAGE.parent / "weights.toml"
