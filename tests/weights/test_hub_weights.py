"""From a repository of the hub to a checkpoint of ours: fetched once, converted once, or nothing at all."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from checkpoint_samples import INFO, tensors
from fake_hub import COMMIT, FakeHub, Served
from plain_reader import PlainReader

from vistool.errors import WeightsError
from vistool.weights import Permissions, cache, checkpoint, load, locate

OFFLINE = Permissions(offline=True)


FETCH = [
    sys.executable,
    "-c",
    "from vistool.weights import Permissions, quiet, sources\n"
    "print(sources.fetch(sources.hub_entry('hf:some/one'), Permissions(), quiet).sha256)",
]
"""Fetches `hf:some/one` in a process of its own, which finds the hub by the variables."""


def apart(hub: FakeHub, folder: Path) -> dict[str, str]:
    return {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home")}


def run_apart(hub: FakeHub, folder: Path) -> str:
    return subprocess.run(FETCH, env=apart(hub, folder), capture_output=True, text=True, check=True).stdout


def test_a_second_load_neither_fetches_nor_converts(hub: FakeHub, reader: PlainReader) -> None:
    first = load("hf:some/one", "ifr", reader)
    hub.asked.clear()

    second = load("hf:some/one", "ifr", reader)

    assert (hub.asked, reader.converted) == ([], ["plain"])
    assert torch.equal(first.tensors["a"], second.tensors["a"])
    assert (first.info, first.sha256, first.name) == (second.info, second.sha256, "hf:some/one")


def test_a_checkpoint_of_ours_is_read_as_it_is(hub: FakeHub, reader: PlainReader, tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "ours.safetensors", INFO, tensors(), half=True)
    content = (tmp_path / "ours.safetensors").read_bytes()
    hub.repos["some/one"].files = {"ours.safetensors": Served(content)}

    loaded = load("hf:some/one/ours.safetensors", "ifr", reader)
    again = load("hf:some/one/ours.safetensors", "ifr", reader, OFFLINE)

    assert (loaded.info, loaded.sha256, again.sha256) == (INFO, Served(content).etag, Served(content).etag)
    assert cache.converted_paths() == []
    assert locate("hf:some/one/ours.safetensors").read_bytes() == content


def test_the_sources_may_go_once_they_are_converted(hub: FakeHub, reader: PlainReader) -> None:
    first = load("hf:some/one", "ifr", reader)
    hub.repos.clear()
    cache.remove([Path(huggingface_hub.constants.HF_HUB_CACHE)])

    assert load("hf:some/one", "ifr", reader).sha256 == first.sha256


@pytest.mark.parametrize("damage", ["cut", "changed", "no record"])
def test_a_converted_file_that_is_not_as_it_was_written_is_made_again(
    hub: FakeHub, reader: PlainReader, damage: str
) -> None:
    first = load("hf:some/one", "ifr", reader)
    path = locate("hf:some/one", "ifr")
    whole = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(whole[:-10])
        case "changed":
            path.write_bytes(whole[:-1] + b"!")
        case "no record":
            cache.record_of(path).unlink()

    assert load("hf:some/one", "ifr", reader).sha256 == first.sha256
    assert path.read_bytes() == whole
    assert len(reader.converted) == 2


def test_progress_says_what_comes_from_where(hub: FakeHub, reader: PlainReader) -> None:
    said: list[str] = []

    load("hf:some/one", "ifr", reader, Permissions(), said.append)

    assert said[0].startswith("fetching hf:some/one/model.safetensors from localhost")
    assert said[-1].startswith("converting ")


def test_a_file_at_a_revision_is_fetched_with_the_config_beside_it(
    hub: FakeHub, reader: PlainReader, tmp_path: Path
) -> None:
    files = hub.repos["some/one"].files
    named = json.dumps({"id2label": {"0": "fox", "1": "owl"}}).encode()
    hub.repos["some/one"].files = {
        "deep/er/w.safetensors": files["model.safetensors"], "deep/er/config.json": Served(named), **files
    }  # fmt: skip

    loaded = load(f"hf:some/one/deep/er/w.safetensors@{COMMIT}", "ifr", reader)

    assert [category.name for category in loaded.info.categories] == ["fox", "owl"]
    assert [each.path for each in hub.bodies()] == ["/store/some/one/deep/er/w.safetensors"]


def test_a_dropped_connection_is_gone_on_with(hub: FakeHub, reader: PlainReader) -> None:
    served = hub.repos["some/one"].files["model.safetensors"]
    served.cut_at = len(served.content) // 2
    with pytest.raises(WeightsError, match="cut off"):
        load("hf:some/one", "ifr", reader)
    assert cache.converted_paths() == []

    load("hf:some/one", "ifr", reader)

    assert sum(each.sent for each in hub.bodies()) == len(served.content)
    assert len(reader.converted) == 1


def test_a_killed_download_is_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    served = hub.repos["some/one"].files["model.safetensors"]
    half = len(served.content) // 2
    served.cut_at, served.held = half, threading.Event()
    blobs = tmp_path / "home" / "hub" / "models--some--one" / "blobs"
    with subprocess.Popen(FETCH, env=apart(hub, tmp_path)) as process:
        while not any(path.stat().st_size == half for path in blobs.glob("*.partial")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()

    said = run_apart(hub, tmp_path)

    assert said.strip() == served.etag
    assert [(each.start, each.sent) for each in hub.bodies()] == [(0, half), (half, len(served.content) - half)]
    served.held.set()


def test_a_wrong_byte_leaves_nothing_but_the_wrong_file(hub: FakeHub, reader: PlainReader, tmp_path: Path) -> None:
    served = hub.repos["some/one"].files["model.safetensors"]
    good, served.tag = served.content, served.etag
    served.content = good[:-1] + b"!"

    with pytest.raises(WeightsError, match="not the published file"):
        load("hf:some/one", "ifr", reader)

    left = [path.suffix for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size >= len(good)]
    assert sorted(left) == [".safetensors", ".wrong"]  # the first is what the server has
    assert cache.converted_paths() == []
    served.content = good
    assert load("hf:some/one", "ifr", reader).info.method == "ifr"


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(
    hub: FakeHub, reader: PlainReader, tmp_path: Path
) -> None:
    class Opener:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    hub.repos["some/one"].files = {
        "a.pkl": Served(pickle.dumps({"a": Opener()})),
        "pytorch_model.bin": Served(pickle.dumps({"a": Opener()}, protocol=2)),
    }

    for address in ("hf:some/one", "hf:some/one/a.pkl"):
        with pytest.raises(WeightsError, match="not plain numbers"):
            load(address, "ifr", reader)

    assert not (tmp_path / "sprung").exists()
    assert cache.converted_paths() == []


def test_the_token_is_for_the_hub_alone(hub: FakeHub, reader: PlainReader, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    load("hf:some/one", "ifr", reader)

    seen = {each.path.split("/")[1]: each.authorization for each in hub.asked}
    assert (seen["some"], seen["store"]) == ("Bearer hf_secret", None)


def test_nothing_is_asked_for_but_the_weights(hub: FakeHub, tmp_path: Path) -> None:
    run_apart(hub, tmp_path)

    asked = [(each.method, each.path) for each in hub.asked if each.method == "GET"]
    assert asked == [
        ("GET", f"/api/models/some/one/revision/{COMMIT}"),  # the licence
        ("GET", "/store/some/one/model.safetensors"),
        ("GET", f"/some/one/resolve/{COMMIT}/config.json"),
    ]
    assert all(each.path.startswith("/some/one/resolve/") for each in hub.asked if each.method == "HEAD")
