"""Weights whose licence is not free need a person's word, once for each checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, in_its_place
from plain_reader import PlainReader, entry, plain_folder

from vistool.errors import WeightsError
from vistool.weights import Permissions, cache, licences, load, registry

NOTHING_ACCEPTED = Permissions()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """`some/one`, of which nobody says the licence; `some/two`, which weights.toml calls `one`; and the key `two`."""
    with in_its_place(monkeypatch, tmp_path) as hub:
        folder = plain_folder(tmp_path / "some")
        hub.add("some/one", folder)
        hub.add("some/two", folder)
        one = entry("hf", repo="some/two", licence="CC-BY-NC-4.0", free=False)
        two = replace(one, key="two", source="url", url=f"{hub.url}/a.pth", file="a.pth")
        monkeypatch.setattr(registry, "entries", lambda: {"one": one, "two": two})
        yield hub


def accepting(*given: str) -> Permissions:
    return Permissions(accepted=frozenset(given))


def refused(spec: str, permissions: Permissions = NOTHING_ACCEPTED) -> WeightsError:
    with pytest.raises(WeightsError, match="licence not accepted") as caught:
        load(spec, "ifr", PlainReader(), permissions)
    return caught.value


@pytest.mark.parametrize(
    ("spec", "licence", "asked"),
    [("one", "CC-BY-NC-4.0", "CC-BY-NC-4.0"), ("hf:some/one", "unknown", "hf:some/one")],
    ids=["known", "unknown"],
)
def test_the_refusal_names_licence_checkpoint_and_what_to_add(
    hub: FakeHub, spec: str, licence: str, asked: str
) -> None:
    error = refused(spec)

    assert f"`{licence}`" in error.message
    assert f"`{spec}`" in error.message
    assert (error.hint or "").endswith(f"add: --accept-license {asked}")


@pytest.mark.parametrize("spec", ["one", "two", "hf:some/one"])
def test_nothing_is_fetched_before_the_word_is_given(hub: FakeHub, spec: str) -> None:
    refused(spec)

    assert hub.bodies() == []
    assert spec.startswith("hf:") or hub.asked == []
    assert cache.fetched_names() == []


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("one", "CC-BY-NC-4.0"),
        ("one", "cc-by-nc-4.0"),
        ("one", "one"),
        ("hf:some/one", "unknown"),
        ("hf:some/one", "hf:some/one"),
        ("hf:some/one", "some/one"),
        ("hf:some/one/model.safetensors@main", "some/one"),
    ],
)
@pytest.mark.parametrize("way", ["option", "variable"])
def test_the_word_may_be_the_licence_or_the_checkpoint(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, spec: str, given: str, way: str
) -> None:
    monkeypatch.setenv("VISTOOL_ACCEPT_LICENSE", f"another, {given}" if way == "variable" else "")

    assert load(spec, "ifr", PlainReader(), accepting(given) if way == "option" else Permissions()).name == spec


@pytest.mark.parametrize("given", ["MIT", "two", "some/other", "CC-BY-NC"])
def test_another_word_does_not_do(hub: FakeHub, given: str) -> None:
    refused("one", accepting(given))


def test_the_word_is_remembered_for_this_checkpoint_alone(hub: FakeHub) -> None:
    load("one", "ifr", PlainReader(), accepting("one"))

    assert load("one", "ifr", PlainReader()).info.licence == "CC-BY-NC-4.0"
    refused("hf:some/two@main")


def test_what_was_fetched_is_of_no_use_without_the_word(hub: FakeHub) -> None:
    load("one", "ifr", PlainReader(), accepting("one"))

    (cache.folder() / "licences.json").unlink()

    refused("one")


def test_another_licence_needs_another_word(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    load("one", "ifr", PlainReader(), accepting("one"))
    changed = entry("hf", repo="some/two", licence="CC-BY-NC-ND-4.0", free=False)

    monkeypatch.setattr(registry, "entries", lambda: {"one": changed})

    refused("one")


@pytest.mark.parametrize(
    ("card", "free"),
    [
        ({"license": "apache-2.0"}, True),
        ({"license": "bsd-3-clause"}, True),
        ({"license": ["mit"]}, True),
        ({"license": ["mit", "other"]}, False),
        ({"license": "cc-by-nc-4.0"}, False),
        ({"license": "other"}, False),
        ({}, False),
        (None, False),
    ],
    ids=str,
)
def test_the_card_of_a_repository_tells_its_licence(hub: FakeHub, card: dict[str, Any] | None, free: bool) -> None:
    hub.repos["some/one"].card = card

    if not free:
        refused("hf:some/one")
    loaded = load("hf:some/one", "ifr", PlainReader(), Permissions() if free else accepting("some/one"))

    stated = (card or {}).get("license", "that of the converted file")
    assert loaded.info.licence == (", ".join(stated) if isinstance(stated, list) else stated)


def test_a_file_of_ones_own_needs_no_word(hub: FakeHub, tmp_path: Path) -> None:
    loaded = load(str(tmp_path / "some"), "ifr", PlainReader())

    assert loaded.info.licence == "that of the converted file"


def test_a_damaged_memory_asks_again(hub: FakeHub) -> None:
    load("one", "ifr", PlainReader(), accepting("one"))
    (cache.folder() / "licences.json").write_text("{")

    refused("one")
    assert load("one", "ifr", PlainReader(), accepting("one")).name == "one"


def test_the_day_of_the_word_is_kept(hub: FakeHub) -> None:
    load("one", "ifr", PlainReader(), accepting("one"))

    kept = cache.read_record(cache.folder() / "licences.json")["one"]
    assert (kept["licence"], len(kept["accepted"])) == ("CC-BY-NC-4.0", len("2026-11-21"))


def test_well_known_licences_are_free() -> None:
    assert all(map(licences.is_permissive, ["Apache-2.0", "MIT", "BSD-2-Clause", "CC-BY-4.0", "CC0-1.0"]))
    assert not any(map(licences.is_permissive, ["", "unknown", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "GPL-3.0", "other"]))
