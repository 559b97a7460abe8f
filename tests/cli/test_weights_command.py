"""`vistool weights` and `vistool methods`: tables for people, JSON for programs, tools that refuse in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Vistool

from vistool.weights import checkpoint, registry


@pytest.fixture
def entry(weights: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Entry:
    """The only entry of weights.toml."""
    entry = registry.Entry(
        key="fake-weights",
        method="fake",
        preset="tiny",
        source="bundled",
        file=str(weights),
        sha256=checkpoint.sha256_of(weights),
        size=weights.stat().st_size,
        layout="vistool",
        licence="Apache-2.0",
        categories=("square", "bar", "tile"),
        published_ap={},
        measured_ap={"shapes-val": 0.5},
        notes="",
        verified="2026-01-31",
    )
    use(entry, monkeypatch)
    return entry


def use(entry: registry.Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entries", lambda: {entry.key: entry})


class TestTables:
    def test_the_list_has_a_line_an_entry(self, vistool: Vistool, entry: registry.Entry) -> None:
        header, line = vistool("weights", "list").out.splitlines()

        assert header.split()[:3] == ["key", "method", "preset"]
        assert line.split()[:3] == ["fake-weights", "fake", "tiny"]

    def test_the_list_as_json_is_the_whole_table(self, vistool: Vistool, entry: registry.Entry) -> None:
        (listed,) = json.loads(vistool("weights", "list", "--json").out)

        assert listed["sha256"] == entry.sha256
        assert listed["measured_ap"] == {"shapes-val": 0.5}
        assert listed["at_hand"] is True

    @pytest.mark.parametrize("by", ["key", "path"])
    def test_a_checkpoint_is_shown_by_key_and_by_path(
        self, vistool: Vistool, entry: registry.Entry, weights: Path, by: str
    ) -> None:
        shown = json.loads(vistool("weights", "show", {"key": entry.key, "path": weights}[by], "--json").out)

        assert (shown["method"], shown["parameters"], shown["sha256"]) == ("fake", 3, entry.sha256)
        assert ("entry" in shown) == (by == "key")

    @pytest.mark.parametrize(
        ("changes", "state", "usable"),
        [
            ({}, "bundled", True),
            ({"file": "absent.safetensors"}, "missing", True),
            ({"method": "later"}, "not yet", False),
            ({"source": "url", "layout": "dotted"}, "not yet", False),
            ({"source": "url", "layout": "plain"}, "to fetch", True),
            ({"source": "manual", "layout": "plain"}, "by hand", True),
        ],
        ids=["bundled", "missing", "method to come", "layout to come", "to fetch", "by hand"],
    )
    def test_the_list_says_what_can_be_used_and_what_is_at_hand(
        self,
        vistool: Vistool,
        entry: registry.Entry,
        monkeypatch: pytest.MonkeyPatch,
        changes: dict[str, str],
        state: str,
        usable: bool,
    ) -> None:
        use(replace(entry, **changes), monkeypatch)

        assert vistool("weights", "list").out.splitlines()[1].endswith(f"  {state}")
        (listed,) = json.loads(vistool("weights", "list", "--json").out)
        assert (listed["state"], listed["usable"], listed["at_hand"]) == (state, usable, state == "bundled")

    def test_what_is_not_at_hand_is_shown_as_far_as_it_is_known(
        self, vistool: Vistool, entry: registry.Entry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(replace(entry, source="manual", licence="CC-BY-NC-4.0", categories="ovis"), monkeypatch)

        shown = json.loads(vistool("weights", "show", entry.key, "--json").out)

        assert (shown["licence"], shown["class_count"], shown["at_hand"]) == ("CC-BY-NC-4.0", 25, False)
        assert "parameters" not in shown
        lines = [line.split() for line in vistool("weights", "show", entry.key).out.splitlines()]
        assert ["categories", "ovis"] in lines

    def test_a_checkpoint_is_shown_to_people(self, vistool: Vistool, weights: Path) -> None:
        said = vistool("weights", "show", weights).out.splitlines()

        assert said[0].split() == ["method", "fake"]
        assert any(line.startswith("categories") and line.endswith("square, bar, tile") for line in said)

    def test_the_path_of_a_key_is_printed_alone(self, vistool: Vistool, entry: registry.Entry) -> None:
        assert vistool("weights", "path", entry.key).out == f"{entry.bundled_path}\n"
        as_json = json.loads(vistool("weights", "path", entry.key, "--json").out)
        assert as_json == {"key": entry.key, "file": str(entry.bundled_path)}

    @pytest.mark.parametrize("command", ["path", "show", "verify"])
    def test_an_unknown_key_is_answered_with_the_nearest(
        self, vistool: Vistool, entry: registry.Entry, command: str
    ) -> None:
        said = vistool("weights", command, "fake-weight")

        assert (said.code, said.out) == (5, "")
        assert "hint: did you mean `fake-weights`?" in said.err

    def test_the_methods_are_listed_with_what_their_weights_hold(self, vistool: Vistool, entry: registry.Entry) -> None:
        rows = {row["name"]: row for row in json.loads(vistool("methods", "--json").out)}

        assert rows.keys() == {"fake", "fake-online", "fake-both"}
        assert rows["fake"]["modes"] == ["offline"]
        assert (rows["fake"]["parameters"], rows["fake"]["licence"]) == (3, "Apache-2.0")

    def test_the_methods_are_a_table_for_people(self, vistool: Vistool, entry: registry.Entry) -> None:
        lines = vistool("methods").out.splitlines()

        assert [line.split()[0] for line in lines] == ["name", "fake", "fake-online", "fake-both"]

    def test_a_method_whose_weights_are_not_at_hand_is_listed_all_the_same(
        self, vistool: Vistool, entry: registry.Entry, weights: Path
    ) -> None:
        weights.unlink()

        assert json.loads(vistool("methods", "show", "fake", "--json").out)["parameters"] is None

    def test_one_method_is_shown(self, vistool: Vistool, entry: registry.Entry) -> None:
        assert vistool("methods", "show", "fake").out.splitlines()[0].split() == ["name", "fake"]

    def test_an_unknown_method_is_answered_with_the_nearest(self, vistool: Vistool, entry: registry.Entry) -> None:
        said = vistool("methods", "show", "fakes")

        assert said.code == 2
        assert "did you mean `fake`?" in said.err


class TestVerify:
    def test_the_right_file_is_ok(self, vistool: Vistool, entry: registry.Entry) -> None:
        said = vistool("weights", "verify")

        assert (said.code, said.out) == (0, "fake-weights  ok\n")

    @pytest.mark.parametrize("fault", ["missing", "changed"])
    def test_a_wrong_file_is_named(self, vistool: Vistool, entry: registry.Entry, weights: Path, fault: str) -> None:
        weights.write_bytes(b"other") if fault == "changed" else weights.unlink()

        said = vistool("weights", "verify", "fake-weights")

        assert said.code == 5
        assert said.out.startswith("fake-weights  sha256 is" if fault == "changed" else "fake-weights  missing")
        assert "fake-weights" in said.err

    def test_what_is_found_is_told_to_programs(self, vistool: Vistool, entry: registry.Entry, weights: Path) -> None:
        weights.unlink()

        said = vistool("weights", "verify", "--all", "--json")

        assert said.code == 5
        assert json.loads(said.out) == [{"name": "fake-weights", "file": str(weights), "fault": "missing"}]

    def test_a_file_is_no_key(self, vistool: Vistool, entry: registry.Entry, weights: Path) -> None:
        said = vistool("weights", "verify", weights)

        assert (said.code, said.out) == (2, "")
        assert "it is a file" in said.err
