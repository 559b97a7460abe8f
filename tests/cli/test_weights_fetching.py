"""`vistool weights pull` and what follows it: at hand, checked, used, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import FakeMethods, Vistool, info_of
from fake_hub import FakeHub, block_sockets, in_its_place
from safetensors.torch import save_file

from vistool.weights import checkpoint, registry

TABLE = """
[one]
method = "fake"
preset = "tiny"
source = "hf"
repo = "some/one"
layout = "plain"
licence = "CC-BY-NC-4.0"
categories = ["square", "bar", "tile"]

[later]
method = "planned"
preset = "tiny"
source = "hf"
repo = "some/one"
file = "other.pth"
layout = "dotted"
licence = "MIT"
free = true
categories = ["square"]
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_methods: FakeMethods) -> Iterator[FakeHub]:
    """`some/one` and `some/two`; weights.toml knows the first as `one`."""
    monkeypatch.setattr(registry, "entries", lambda: registry.parse(TABLE))
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_file({"a": torch.ones(3)}, folder / "model.safetensors")
    with in_its_place(monkeypatch, tmp_path) as hub:
        hub.add("some/one", folder)
        hub.add("some/two", folder, card={"license": "mit"})
        yield hub


ACCEPT = ("--accept-license", "CC-BY-NC-4.0")


def test_a_key_is_fetched_and_converted_and_its_file_printed(vistool: Vistool, hub: FakeHub) -> None:
    said = vistool("weights", "pull", "one", *ACCEPT)

    path = Path(said.out.strip())
    assert said.code == 0
    assert said.err.startswith("fetching hf:some/one/model.safetensors from ")
    assert checkpoint.read_header(path).info.licence == "CC-BY-NC-4.0"
    assert vistool("weights", "path", "one").out == said.out


def test_a_repository_is_fetched_for_a_method(vistool: Vistool, hub: FakeHub) -> None:
    pulled = json.loads(vistool("weights", "pull", "hf:some/two", "--method", "fake", "--json").out)

    assert (pulled["key"], pulled["method"], pulled["licence"], pulled["classes"]) == ("hf:some/two", "fake", "mit", 3)
    assert pulled["sha256"] == checkpoint.sha256_of(Path(pulled["file"]))
    assert json.loads(vistool("weights", "show", "hf:some/two", "--json").out)["parent"] == pulled["parent"]


def test_the_file_for_a_method_is_asked_for_by_its_name(vistool: Vistool, hub: FakeHub) -> None:
    pulled = vistool("weights", "pull", "hf:some/two", "--method", "fake").out

    assert vistool("weights", "path", "hf:some/two", "--method", "fake").out == pulled
    assert vistool("weights", "path", "hf:some/two", "--method", "fake-both").code == 5


def test_what_was_fetched_is_listed_as_at_hand(vistool: Vistool, hub: FakeHub) -> None:
    def states() -> dict[str, str]:
        return {row["key"]: row["state"] for row in json.loads(vistool("weights", "list", "--json").out)}

    assert states() == {"one": "to fetch", "later": "not yet"}
    vistool("weights", "pull", "one", *ACCEPT)
    assert states() == {"one": "at hand", "later": "not yet"}


@pytest.mark.parametrize("command", ["path", "show"])
def test_what_was_not_fetched_is_answered_with_how_to(vistool: Vistool, hub: FakeHub, command: str) -> None:
    said = vistool("weights", command, "hf:some/two")

    assert (said.code, said.out) == (5, "")
    assert "hint: fetch and convert them: vistool weights pull hf:some/two" in said.err


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("one",), 5, "licence not accepted: `CC-BY-NC-4.0` (of the weights `one`)"),
        (("later",), 5, "cannot be read yet: `later` (made for `planned`, in the layout `dotted`)"),
        (("hf:some/two",), 2, "no method to fetch it for"),
        (("hf:some/two", "--method", "absent"), 2, "unknown method"),
        (("hf:no/such", "--method", "fake"), 5, "repository not found"),
        (("hf:some/two", "--method", "fake", "--offline"), 5, "not at hand: `hf:some/two` (offline"),
        (("theirs",), 2, "it is a file"),
        (("two",), 5, "unknown weights"),
    ],
    ids=["licence", "layout", "no method", "unknown method", "absent", "offline", "file", "unknown key"],
)
def test_what_cannot_be_had_is_one_line_with_the_code_of_its_kind(
    vistool: Vistool,
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    said = vistool("weights", "pull", *args)

    assert (said.code, said.out) == (code, "")
    assert told in said.err.splitlines()[0]
    assert hub.bodies() == []


def test_the_licence_is_asked_for_once(vistool: Vistool, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    vistool("weights", "pull", "one", *ACCEPT)
    block_sockets(monkeypatch)

    assert vistool("weights", "pull", "one", "--offline").code == 0


def test_a_video_is_segmented_with_what_is_fetched_on_the_way(
    vistool: Vistool, hub: FakeHub, video: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("segment", video, "--method", "fake", "--weights", "hf:some/two")

    first = vistool(*run, "-o", desk / "a.json")
    block_sockets(monkeypatch)
    second = vistool(*run, "-o", desk / "b.json", "--offline")

    assert (first.code, second.code) == (0, 0)
    assert "fetching hf:some/two/model.safetensors" in first.err
    assert "fetching" not in second.err
    facts = [json.loads((desk / name).read_text())["info"] for name in ("a.json", "b.json")]
    assert facts[0]["weights_sha256"] == facts[1]["weights_sha256"]
    assert facts[0]["licence"] == "mit"


class TestVerify:
    def test_all_that_is_kept_is_hashed_again(self, vistool: Vistool, hub: FakeHub) -> None:
        file = Path(vistool("weights", "pull", "one", *ACCEPT).out.strip())

        assert vistool("weights", "verify", "one").out.splitlines() == ["one  ok", f"{file.name}  ok"]
        assert vistool("weights", "verify", "--all").out.splitlines() == ["one  ok", f"{file.name}  ok"]

    def test_a_changed_file_is_named(self, vistool: Vistool, hub: FakeHub) -> None:
        file = Path(vistool("weights", "pull", "one", *ACCEPT).out.strip())
        file.write_bytes(b"other")

        said = vistool("weights", "verify", "--all")

        assert said.code == 5
        assert f"{file.name}  sha256 is " in said.out
        assert file.name in said.err

    def test_what_was_not_fetched_is_no_good_answer(self, vistool: Vistool, hub: FakeHub) -> None:
        said = vistool("weights", "verify", "one")

        assert (said.code, said.out) == (5, "one  not fetched\n")


class TestRemove:
    def test_a_key_is_removed_and_what_it_freed_told(self, vistool: Vistool, hub: FakeHub) -> None:
        file = Path(vistool("weights", "pull", "one", *ACCEPT).out.strip())

        said = vistool("weights", "rm", "one")

        assert (said.code, said.out) == (0, "one  freed 0.0 MB\n")
        assert not file.exists()
        assert vistool("weights", "rm", "one").out == "one  nothing was there\n"

    def test_everything_is_removed(self, vistool: Vistool, hub: FakeHub, tmp_path: Path) -> None:
        vistool("weights", "pull", "one", *ACCEPT)
        vistool("weights", "pull", "hf:some/two", "--method", "fake")

        freed = json.loads(vistool("weights", "rm", "--all", "--json").out)["freed"]["all"]

        assert freed > 0
        assert [*tmp_path.glob("hub/models--*"), *tmp_path.glob("cache/converted/*")] == []
        assert vistool("weights", "verify", "--all").out == ""

    def test_what_comes_with_vistool_stays(
        self, vistool: Vistool, hub: FakeHub, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundled = replace(registry.parse(TABLE)["one"], key="mine", source="bundled", file=str(weights))
        monkeypatch.setattr(registry, "entries", lambda: {"mine": bundled})

        assert vistool("weights", "rm", "mine").code == 2
        vistool("weights", "rm", "--all")
        assert weights.is_file()
        assert checkpoint.read_header(weights).info == info_of("fake")

    @pytest.mark.parametrize("args", [(), ("one", "--all"), ("theirs",)], ids=["nothing", "both", "a file"])
    def test_what_is_not_clear_removes_nothing(
        self, vistool: Vistool, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        file = Path(vistool("weights", "pull", "one", *ACCEPT).out.strip())

        assert vistool("weights", "rm", *args).code == 2
        assert file.is_file()
