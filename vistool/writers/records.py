"""Typed access to JSON that may be wrong: every complaint names the record and the field."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from .. import masks
from ..types import Rle


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object and where it stands. All methods raise ValueError, `where: field is …, expected …`."""

    where: str
    fields: dict[str, Any]

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> Record:
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON ({error})") from error
        return cls.of(value, where)

    @classmethod
    def of(cls, value: object, where: str) -> Record:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected an object, got {shorten(value)}")
        return cls(where, value)

    def record(self, name: str) -> Record:
        return Record.of(self._get(name), f"{self.where}, {name}")

    def records(self, name: str) -> Iterator[Record]:
        for number, value in enumerate(self.items(name)):
            yield Record.of(value, f"{self.where}, {name}[{number}]")

    def items(self, name: str, length: int | None = None) -> list[Any]:
        value = self._get(name)
        if not isinstance(value, list):
            self.fail(name, value, "a list")
        if length is not None and len(value) != length:
            raise ValueError(f"{self.where}: `{name}` has {len(value)} entries, expected {length}")
        return value

    def integer(self, name: str, *, least: int | None = None) -> int:
        value = self._get(name)
        if type(value) is not int or (least is not None and value < least):
            self.fail(name, value, "a whole number" if least is None else f"a whole number of at least {least}")
        return value

    def number(self, name: str) -> float:
        value = self._get(name)
        if type(value) not in (int, float) or not math.isfinite(value):
            self.fail(name, value, "a number")
        return float(value)

    def text(self, name: str) -> str:
        value = self._get(name)
        if not isinstance(value, str):
            self.fail(name, value, "a text")
        return value

    def fail(self, name: str, value: object, expected: str) -> NoReturn:
        raise ValueError(f"{self.where}: `{name}` is {shorten(value)}, expected {expected}")

    def _get(self, name: str) -> Any:
        if name not in self.fields:
            raise ValueError(f"{self.where}: `{name}` is missing")
        return self.fields[name]


def parse_mask(value: object, size_hw: tuple[int, int], where: str) -> Rle:
    """A run-length mask of this size."""
    try:
        return masks.from_json(value, size_hw)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def shorten(value: object) -> str:
    """A value as it is shown in a complaint."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
