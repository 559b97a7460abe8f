"""weights.toml: every entry is whole and true, and a wrong one is named."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from vistool.errors import WeightsError
from vistool.methods import METHODS
from vistool.weights import checkpoint, registry
from vistool.weights.registry import Entry

TABLE = """
[ring-finder]
method = "ifr"
preset = "tiny"
source = "bundled"
file = "ring-finder.safetensors"
sha256 = "00"
size = 12
layout = "vistool"
licence = "Apache-2.0"
categories = ["ring"]
published_ap = {}
measured_ap = { shapes-val = 0.5 }
notes = ""
verified = "2026-01-31"
"""


@pytest.fixture
def each_entry() -> Mapping[str, Entry]:
    return registry.entries()


def test_weights_toml_at_the_top_level_is_the_one_that_is_read() -> None:
    top = Path(__file__).resolve().parents[2] / "weights.toml"

    assert registry.entries().keys() == tomllib.loads(top.read_text(encoding="utf-8")).keys()


def test_every_bundled_file_is_the_one_that_is_described(each_entry: Mapping[str, Entry]) -> None:
    described = {key: (entry.sha256, entry.size) for key, entry in each_entry.items()}
    found = {
        key: (checkpoint.sha256_of(entry.path), entry.path.stat().st_size)
        for key, entry in each_entry.items()
        if entry.source == "bundled"
    }

    assert found == described


def test_every_file_says_the_same_of_itself_as_its_entry(each_entry: Mapping[str, Entry]) -> None:
    entries = [(each.method, each.preset, each.licence, each.categories) for each in each_entry.values()]
    headers = [checkpoint.read_header(each.path).info for each in each_entry.values()]

    assert entries == [
        (info.method, info.preset, info.licence, tuple(category.name for category in info.categories))
        for info in headers
    ]


def test_every_entry_belongs_to_a_method(each_entry: Mapping[str, Entry]) -> None:
    assert {entry.method for entry in each_entry.values()} <= METHODS.keys()


def test_no_bundled_file_lacks_an_entry(each_entry: Mapping[str, Entry]) -> None:
    folder = Path(registry.__file__).parent / "bundled"

    assert {path.name for path in folder.glob("*.safetensors")} == {entry.file for entry in each_entry.values()}


def test_bundled_files_are_small(each_entry: Mapping[str, Entry]) -> None:
    assert all(entry.size <= 8_000_000 for entry in each_entry.values() if entry.source == "bundled")


def test_a_table_becomes_an_entry() -> None:
    entry = registry.parse(TABLE)["ring-finder"]

    assert (entry.key, entry.method, entry.size, entry.categories) == ("ring-finder", "ifr", 12, ("ring",))
    assert entry.path.name == "ring-finder.safetensors"


@pytest.mark.parametrize(
    "field", [line.split(" = ")[0] for line in TABLE.splitlines() if " = " in line and "{ " not in line]
)
def test_an_entry_that_lacks_a_field_is_refused_by_name(field: str) -> None:
    without = "\n".join(line for line in TABLE.splitlines() if not line.startswith(f"{field} ="))

    with pytest.raises(ValueError, match=f"`ring-finder` lacks `{field}`"):
        registry.parse(without)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(("notes", "noets"), "noets|notes"), (('"bundled"', '"attic"'), "attic")],
    ids=["misspelt field", "unknown source"],
)
def test_a_wrong_entry_is_refused_by_name(change: tuple[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        registry.parse(TABLE.replace(*change))


def test_an_unknown_key_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entries", lambda: registry.parse(TABLE))

    with pytest.raises(WeightsError, match="`ring-fnider`") as caught:
        registry.find("ring-fnider")

    assert caught.value.hint == "did you mean `ring-finder`?"
