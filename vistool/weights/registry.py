"""weights.toml as a table: every checkpoint that has a name, where it comes from and what is known of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from ..errors import WeightsError
from ..types import Category
from .categories import CATEGORY_LISTS, category_list

Source = Literal["bundled", "hf", "url", "gdrive", "manual"]
TrainedOn = Literal["images", "videos"]

_PACKAGE = Path(__file__).resolve().parent.parent
_BUNDLED = Path(__file__).resolve().parent / "bundled"

_NEEDS: Mapping[Source, tuple[str, ...]] = {
    "bundled": ("file", "sha256", "size"),
    "hf": ("repo",),
    "url": ("url", "file"),
    "gdrive": ("url", "file"),
    "manual": ("url", "file"),
}
"""The fields without which a source cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One checkpoint with a name; the key is what `--weights` takes. What is unknown is empty, or 0."""

    key: str
    method: str  # the method it is for first of all; any method that reads its layout can use it
    preset: str  # name of its sizes
    source: Source
    file: str = (
        ""  # bundled: name in bundled/; hf: file in the repository ("": the standard files); else: the file's name
    )
    repo: str = ""  # hf: owner/name
    revision: str = ""  # hf: branch, tag or commit; "" is the default branch
    url: str = ""  # url: the address; gdrive: the file id; manual: the page to fetch it from
    sha256: str = ""  # of the source file
    size: int = 0  # bytes of the source file
    layout: str  # "vistool", or how another project names its tensors
    licence: str  # of the weights, which may differ from the code's: SPDX where there is one, or "unknown"
    free: bool = False  # the licence is known and allows every use
    categories: str | tuple[str, ...]  # name of a list in categories.toml, or names
    trained_on: TrainedOn = "videos"  # "images": each frame for itself, whatever the frames came from
    published_ap: Mapping[str, float] = field(default_factory=dict)  # data set → mask AP its authors give, a fraction
    measured_ap: Mapping[str, float] = field(default_factory=dict)  # data set → AP that we measured, a fraction
    notes: str = ""  # what a user should know before use
    verified: str = ""  # ISO date; "" = nobody here has opened the file

    @property
    def category_rows(self) -> tuple[Category, ...]:
        """Its classes, in the order of a model's labels; own names are numbered from 1."""
        if isinstance(self.categories, str):
            return category_list(self.categories)
        return tuple(Category(number, name) for number, name in enumerate(self.categories, start=1))

    @property
    def bundled_path(self) -> Path:
        """Where the file lies, or should; for source "bundled" only."""
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
    hint = f"did you mean `{near[0]}`?" if near else "give a path, or a key of `vistool weights list`"
    raise WeightsError(f"unknown weights: `{key}` (no such key or file)", hint=hint)


def by_digest(sha256: str) -> Entry | None:
    """The entry of the file with this digest, wherever the file was found."""
    return next((entry for entry in entries().values() if entry.sha256 and entry.sha256 == sha256), None)


def parse(text: str) -> Mapping[str, Entry]:
    """Entries of a weights.toml; ValueError names the entry and the field that are wrong."""
    return MappingProxyType({key: _entry(key, table) for key, table in tomllib.loads(text).items()})


def _entry(key: str, table: Mapping[str, Any]) -> Entry:
    if strange := sorted(table.keys() - ({each.name for each in fields(Entry)} - {"key"})):
        raise _wrong(key, f"has an unknown `{strange[0]}`")
    try:
        entry = msgspec.convert({**table, "key": key}, Entry)
    except msgspec.ValidationError as error:
        raise _wrong(key, f"is not an entry: {error}") from error
    if absent := [name for name in _NEEDS[entry.source] if not getattr(entry, name)]:
        raise _wrong(key, f"lacks `{absent[0]}`, which its source `{entry.source}` needs")
    if isinstance(entry.categories, str) and entry.categories not in CATEGORY_LISTS:
        raise _wrong(key, f"has unknown `categories`: `{entry.categories}`")
    return entry


def _wrong(key: str, what: str) -> ValueError:
    return ValueError(f"weights.toml: `{key}` {what}")


def _weights_toml() -> Path:
    """In an installed package the file lies inside; in a checkout, at the top level."""
    inside = _PACKAGE / "weights.toml"
    return inside if inside.is_file() else _PACKAGE.parent / "weights.toml"
