"""Keys of weights.toml, from wherever they come, and what there is of them without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from fake_hub import COMMIT, FakeHub, Served, block_sockets
from plain_reader import PlainReader, entry, known, plain_folder

from vistool.errors import WeightsError
from vistool.weights import Permissions, cache, load, sources
from vistool.weights.checkpoint import sha256_of

OFFLINE = Permissions(offline=True)


def test_an_entry_gives_its_facts(hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, entry("hf", repo="some/one", licence="BSD-3-Clause", trained_on="images"))

    for spec in ("one", "hf:some/one"):
        info = load(spec, "ifr", reader).info
        assert [category.name for category in info.categories] == ["ring", "star"]
        assert (info.licence, info.trained_on) == ("BSD-3-Clause", "images")
    assert len(reader.converted) == 1


def test_another_file_of_a_known_repository_has_its_licence_and_nothing_else(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, entry("hf", repo="some/one", file="known.pth", licence="CC-BY-NC-4.0", free=False))

    found = sources.hub_entry("hf:some/one/other.pth@dev")

    assert (found.licence, found.free, found.layout, found.categories) == ("CC-BY-NC-4.0", False, "", ())
    assert (found.key, found.file, found.revision) == ("hf:some/one/other.pth@dev", "other.pth", "dev")


@pytest.mark.parametrize("source", ["url", "gdrive"])
def test_a_file_of_an_address_is_fetched_and_converted(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    content = hub.repos["some/one"].files["model.safetensors"].content
    path = {"url": "/a.safetensors", "gdrive": "/download"}[source]
    hub.files[path] = Served(content)
    monkeypatch.setenv("VISTOOL_GDRIVE_ENDPOINT", hub.url)
    place = {"url": f"{hub.url}/a.safetensors", "gdrive": "id-of-it"}[source]
    one = entry(source, url=place, file="a.safetensors", sha256=Served(content).etag)
    known(monkeypatch, one)

    loaded = load("one", "ifr", reader)
    load("one", "ifr", reader)

    assert place in (loaded.info.parent or "")
    assert [each.path for each in hub.asked] == [path]
    assert (cache.fetched_folder("one") / "a.safetensors").read_bytes() == content


def test_a_page_in_the_place_of_a_file_is_to_be_fetched_by_hand(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["/download"] = Served(b"<html>Too many users</html>", kind="text/html")
    monkeypatch.setenv("VISTOOL_GDRIVE_ENDPOINT", hub.url)
    known(monkeypatch, entry("gdrive", url="id-of-it", file="a.safetensors"))

    with pytest.raises(WeightsError, match="web page") as caught:
        load("one", "ifr", reader)

    assert "https://drive.google.com/file/d/id-of-it/view" in (caught.value.hint or "")
    assert str(cache.manual_path("a.safetensors")) in (caught.value.hint or "")


@pytest.mark.parametrize("source", ["manual", "gdrive", "url"])
def test_a_file_that_was_fetched_by_hand_is_used(
    hub: FakeHub,
    reader: PlainReader,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    known(monkeypatch, entry(source, url="https://example.org/page", file="a.safetensors"))
    by_hand = cache.manual_path("a.safetensors")
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(hub.repos["some/one"].files["model.safetensors"].content)
    block_sockets(monkeypatch)

    assert load("one", "ifr", reader).info.licence == "MIT"


def test_what_a_person_must_fetch_is_said_with_where_to_put_it(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, entry("manual", url="https://example.org/page", file="a.pth"))

    with pytest.raises(WeightsError, match="by hand: `one`") as caught:
        load("one", "ifr", reader)

    assert "https://example.org/page" in (caught.value.hint or "")
    assert str(cache.manual_path("a.pth")) in (caught.value.hint or "")


def test_a_wrong_file_from_a_hand_is_refused_and_left_alone(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, entry("manual", url="https://example.org/", file="a.safetensors", sha256="0" * 64))
    by_hand = cache.manual_path("a.safetensors")
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(b"other")

    with pytest.raises(WeightsError, match="not the published file: `one`"):
        load("one", "ifr", reader)

    assert by_hand.read_bytes() == b"other"
    assert cache.fetched_names() == []


def test_an_entry_that_has_changed_is_fetched_anew(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = entry("url", url=f"{hub.url}/1", file="a.safetensors")
    hub.files["/1"] = hub.repos["some/one"].files["model.safetensors"]
    other = plain_folder(tmp_path / "other", value=2.0) / "model.safetensors"
    hub.files["/2"] = Served(other.read_bytes())
    known(monkeypatch, first)
    load("one", "ifr", reader)

    known(monkeypatch, replace(first, url=f"{hub.url}/2"))

    assert load("one", "ifr", reader).tensors["a"][0] == 2.0


def test_a_layout_that_the_method_does_not_read_is_refused_before_anything_is_fetched(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, entry("hf", repo="some/one", layout="idol"))

    with pytest.raises(WeightsError, match="`ifr` does not read `idol`"):
        load("one", "ifr", reader)

    assert hub.asked == []


@pytest.mark.parametrize("way", ["option", "VISTOOL_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_what_is_at_hand_works_and_what_is_not_is_one_clear_error(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    load("hf:some/one", "ifr", reader)
    permissions = OFFLINE if way == "option" else Permissions()
    if way != "option":
        monkeypatch.setenv(way, "1")
    known(monkeypatch, entry("url", url=f"{hub.url}/a.pth", file="a.pth"))
    block_sockets(monkeypatch)

    assert load("hf:some/one", "ifr", reader, permissions).info.method == "ifr"
    for absent in ("hf:other/one", "one"):
        with pytest.raises(WeightsError, match=f"not at hand: `{absent}`") as caught:
            load(absent, "ifr", reader, permissions)
        assert "--offline" in (caught.value.hint or "")


def test_what_another_program_fetched_is_at_hand(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.json", "model.safetensors"):
        huggingface_hub.hf_hub_download("some/one", name)
    block_sockets(monkeypatch)

    loaded = load("hf:some/one", "ifr", reader, Permissions(True, frozenset({"some/one"})))

    assert loaded.info.parent == f"hf:some/one@{COMMIT}"


def test_what_we_fetched_is_at_hand_for_other_programs(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("hf:some/one", "ifr", reader)
    block_sockets(monkeypatch)

    found = huggingface_hub.hf_hub_download("some/one", "model.safetensors", local_files_only=True)

    assert sha256_of(Path(found)) == hub.repos["some/one"].files["model.safetensors"].etag
