"""What the hub refuses, has not got or gets wrong: one line each, with a hint of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from fake_hub import FakeHub, Repo, Served, in_its_place
from plain_reader import PlainReader, plain_folder

from vistool.errors import WeightsError
from vistool.weights import Permissions, load
from vistool.weights.hub import Repository


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """With one repository of a free licence, `some/one`."""
    with in_its_place(monkeypatch, tmp_path) as hub:
        hub.add("some/one", plain_folder(tmp_path / "some", config="{}"), card={"license": "mit"})
        yield hub


@pytest.fixture
def reader() -> PlainReader:
    return PlainReader()


@pytest.mark.parametrize(
    ("address", "refusal", "told", "hint"),
    [
        ("hf:no/such", None, "repository not found: `hf:no/such`", "HF_TOKEN"),
        ("hf:some/one", (401, "RepoNotFound"), "repository not found: `hf:some/one`", "HF_TOKEN"),
        ("hf:some/one", (403, "GatedRepo"), "repository is gated: `hf:some/one`", "ask for access"),
        ("hf:some/one", (403, ""), "HTTP 403", "HF_TOKEN"),
        ("hf:some/one", (500, ""), "HTTP 500", "later"),
        ("hf:some/one@dev", None, "no such revision: `dev`", "branch"),
        ("hf:some/one/b.pth", None, "it has no b.pth", "name the file"),
        ("hf:some/one/../../one.pth", None, "it has no ../../one.pth", "name the file"),
        ("hf:some", None, "not an address of the hub", "hf:OWNER/NAME"),
        ("hf:so--me/one", None, "not the name of a repository", "hf:OWNER/NAME"),
    ],
    ids=["absent", "private", "gated", "forbidden", "broken", "revision", "file", "path", "form", "name"],
)
def test_each_refusal_is_one_line_with_a_hint_of_its_own(
    hub: FakeHub,
    reader: PlainReader,
    address: str,
    refusal: tuple[int, str] | None,
    told: str,
    hint: str,
) -> None:
    hub.repos["some/one"].refusal = refusal

    with pytest.raises(WeightsError) as caught:
        load(address, "ifr", reader)

    assert told in caught.value.message
    assert hint in (caught.value.hint or "")
    assert "\n" not in caught.value.message


def test_a_repository_without_weights_is_said_to_have_none(hub: FakeHub, reader: PlainReader) -> None:
    del hub.repos["some/one"].files["model.safetensors"]

    with pytest.raises(WeightsError, match="no weights in the repository: `hf:some/one`"):
        load("hf:some/one", "ifr", reader)


def test_a_mirror_that_gives_no_reasons_will_do(hub: FakeHub, reader: PlainReader, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "a.bin")
    files = {"pytorch_model.bin": Served((tmp_path / "a.bin").read_bytes())}
    hub.repos["some/one"] = Repo(files, terse=True)

    assert load("hf:some/one", "ifr", reader, Permissions(accepted=frozenset({"unknown"}))).info.method == "ifr"


@pytest.mark.parametrize("name", ["../a.pth", "a/../../b.pth", "/etc/a.pth", "./a.pth", "a//b.pth"])
def test_a_name_that_leads_out_of_the_repository_is_not_asked_for(hub: FakeHub, name: str) -> None:
    assert Repository("some/one", "").look(name) is None
    assert hub.asked == []


def test_an_index_of_files_that_are_not_there_is_refused(hub: FakeHub, reader: PlainReader) -> None:
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "../../outside.bin"}}).encode()
    hub.repos["some/one"].files = {"model.safetensors.index.json": Served(index)}

    with pytest.raises(WeightsError, match=r"it has no \.\./\.\./outside\.bin"):
        load("hf:some/one", "ifr", reader)


def test_a_hub_that_nobody_answers_for_is_one_clear_line(
    hub: FakeHub, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{filename}")

    with pytest.raises(WeightsError, match="cannot reach the hub") as caught:
        load("hf:some/one", "ifr", reader)

    assert "\n" not in caught.value.message
