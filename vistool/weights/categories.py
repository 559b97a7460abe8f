"""The classes of the public data sets, and which class of one stands for which of another: reads categories.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..types import Category

CATEGORY_LISTS = ("coco", "ytvis2019", "ytvis2021", "ovis")
"""The names that `category_list` knows."""


def category_list(name: str) -> tuple[Category, ...]:
    """The classes of a data set in the order of their ids, which are its own; KeyError for an unknown `name`."""
    return tuple(Category(int(number), word) for number, word in _document()["lists"][name].items())


def transfer(source: Sequence[Category], target: str) -> Mapping[int, int]:
    """Row of `source` → row of `category_list(target)`; KeyError for an unknown `target`.

    A class leads to the one of its name, whatever the case and the characters between words, else to where the table
    of categories.toml sends it; several may lead to one. Rows without a target are absent.
    """
    rows = {name: row for row, name in enumerate(_plain_names(category_list(target)))}
    for word, others in _document()["transfer"].get(target, {}).items():
        rows |= {plain_name(other): rows[plain_name(word)] for other in others}
    for word in _homonyms(source, target):
        rows.pop(word, None)
    return MappingProxyType({row: rows[name] for row, name in enumerate(_plain_names(source)) if name in rows})


def plain_name(name: str) -> str:
    """A class name without case, blanks, hyphens and underscores: `tennis racket` and `Tennis_Racket` are the same."""
    return "".join(character for character in name.casefold() if character not in " -_")


def _homonyms(source: Sequence[Category], target: str) -> list[str]:
    """Names that mean one thing in `source` and another in `target`; none for a source that is no known list."""
    names = _plain_names(source)
    known = [name for name in CATEGORY_LISTS if set(_plain_names(category_list(name))) == set(names)]
    odd_lists: Mapping[str, str] = _document()["homonyms"]
    return [word for word, odd in odd_lists.items() if known and (odd in known) != (odd == target)]


def _plain_names(rows: Sequence[Category]) -> list[str]:
    return [plain_name(category.name) for category in rows]


@cache
def _document() -> Mapping[str, Any]:
    return tomllib.loads(Path(__file__).with_name("categories.toml").read_text(encoding="utf-8"))
