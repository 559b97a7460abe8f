"""`vistool weights` and `vistool methods`: tables for people, JSON for programs, tools that refuse in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Vistool
from safetensors.torch import save_file

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

    def test_a_checkpoint_is_shown_to_people(self, vistool: Vistool, weights: Path) -> None:
        said = vistool("weights", "show", weights).out.splitlines()

        assert said[0].split() == ["method", "fake"]
        assert any(line.startswith("categories") and line.endswith("square, bar, tile") for line in said)

    def test_the_path_of_a_key_is_printed_alone(self, vistool: Vistool, entry: registry.Entry) -> None:
        assert vistool("weights", "path", entry.key).out == f"{entry.path}\n"

    @pytest.mark.parametrize("command", ["path", "show", "verify"])
    def test_an_unknown_key_is_answered_with_the_nearest(
        self, vistool: Vistool, entry: registry.Entry, command: str
    ) -> None:
        said = vistool("weights", command, "fake-weight")

        assert (said.code, said.out) == (5, "")
        assert "hint: did you mean `fake-weights`?" in said.err

    def test_the_methods_are_listed_with_what_their_weights_hold(self, vistool: Vistool, entry: registry.Entry) -> None:
        rows = {row["name"]: row for row in json.loads(vistool("methods", "--json").out)}

        assert rows.keys() == {"fake", "fake-online"}
        assert rows["fake"]["modes"] == ["offline"]
        assert (rows["fake"]["parameters"], rows["fake"]["licence"]) == (3, "Apache-2.0")

    def test_the_methods_are_a_table_for_people(self, vistool: Vistool, entry: registry.Entry) -> None:
        lines = vistool("methods").out.splitlines()

        assert [line.split()[0] for line in lines] == ["name", "fake", "fake-online"]

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


class TestConvert:
    @pytest.mark.parametrize("name", ["a", "*a"], ids=["first layout", "second layout"])
    def test_the_layout_that_fits_is_found(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path, name: str
    ) -> None:
        save_file({name: torch.ones(2)}, tmp_path / "foreign.safetensors")

        said = vistool(
            "weights", "convert", tmp_path / "foreign.safetensors", "--method", "fake", "-o", desk / "ours.safetensors"
        )

        assert (said.code, said.out) == (0, "")
        assert checkpoint.read(desk / "ours.safetensors").tensors["a"].tolist() == [1.0, 1.0]

    def test_half_precision_is_asked_for(self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path) -> None:
        torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "foreign.pth")

        vistool(
            "weights", "convert", tmp_path / "foreign.pth", "--method", "fake", "--layout", "plain", "--half",
            "-o", desk / "ours.safetensors",
        )  # fmt: skip

        assert checkpoint.read_header(desk / "ours.safetensors").dtypes == ("F16",)

    @pytest.mark.parametrize(
        ("args", "code", "told"),
        [
            (("--layout", "dotted"), 2, "unknown layout for fake: `dotted`"),
            (("--layout", "starred"), 5, "left over or missing"),
            ((), 5, "no layout fits"),
        ],
        ids=["unknown layout", "another layout", "no layout"],
    )
    def test_what_does_not_fit_is_refused(
        self,
        vistool: Vistool,
        weights: Path,
        tmp_path: Path,
        desk: Path,
        args: tuple[str, ...],
        code: int,
        told: str,
    ) -> None:
        save_file({"b": torch.ones(2)}, tmp_path / "foreign.safetensors")

        said = vistool(
            "weights", "convert", tmp_path / "foreign.safetensors", "--method", "fake", *args,
            "-o", desk / "ours.safetensors",
        )  # fmt: skip

        assert said.code == code
        assert told in said.err.splitlines()[0]
        assert list(desk.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "code"), [("there.safetensors", 7), ("absent/a.safetensors", 4), ("a.pth", 2)], ids=str
    )
    def test_an_output_that_cannot_be_is_refused_before_any_work(
        self, vistool: Vistool, weights: Path, desk: Path, name: str, code: int
    ) -> None:
        (desk / "there.safetensors").touch()

        said = vistool("weights", "convert", "no-such-input.pth", "--method", "fake", "-o", desk / name)

        assert said.code == code


class TestProbe:
    def test_arrays_go_in_and_come_out(self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path) -> None:
        frames = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
        np.savez(tmp_path / "in.npz", frames=frames)

        said = vistool("weights", "probe", weights, "--input", tmp_path / "in.npz", "-o", desk / "out.npz")

        assert (said.code, said.out, said.err) == (0, "", "")
        assert np.load(desk / "out.npz")["twice"].tolist() == (2 * frames).tolist()
        assert [path.name for path in desk.iterdir()] == ["out.npz"]

    def test_the_same_arrays_give_the_same_bytes(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path
    ) -> None:
        np.savez(tmp_path / "in.npz", frames=np.ones((1, 3, 2, 2), np.float32))

        for name in ("one.npz", "two.npz"):
            vistool("weights", "probe", weights, "--input", tmp_path / "in.npz", "-o", desk / name)

        assert (desk / "one.npz").read_bytes() == (desk / "two.npz").read_bytes()

    @pytest.mark.parametrize("kind", ["absent", "text", "one array", "objects"])
    def test_what_is_no_npz_file_is_refused(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path, kind: str
    ) -> None:
        path = tmp_path / "in.npz"
        match kind:
            case "text":
                path.write_text("frames")
            case "one array":
                with path.open("wb") as file:
                    np.save(file, np.ones(3))
            case "objects":
                np.savez(path, frames=np.array([None, "a"], dtype=object))

        said = vistool("weights", "probe", weights, "--input", path, "-o", desk / "out.npz")

        assert (said.code, said.out) == (4, "")
        assert said.err.startswith("error: ")
        assert list(desk.iterdir()) == []

    def test_weights_of_an_unknown_method_are_refused(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path
    ) -> None:
        np.savez(tmp_path / "in.npz", frames=np.ones(3, np.float32))
        read = checkpoint.read(weights)
        checkpoint.write(weights, replace(read.info, method="other"), read.tensors, half=False, overwrite=True)

        said = vistool("weights", "probe", weights, "--input", tmp_path / "in.npz", "-o", desk / "out.npz")

        assert said.code == 2
        assert "`other`" in said.err
