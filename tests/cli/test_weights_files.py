"""`vistool weights convert` and `probe`: another project's file becomes ours, and a network tells what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from conftest import Vistool
from safetensors.torch import save_file

from vistool.methods import METHODS
from vistool.weights import checkpoint


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

    def test_a_folder_is_converted_with_what_its_config_says(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path
    ) -> None:
        folder = tmp_path / "theirs"
        folder.mkdir()
        save_file({"a": torch.ones(2)}, folder / "model.safetensors")
        (folder / "config.json").write_text('{"id2label": {"0": "x", "1": "y", "2": "z"}, "architectures": ["Video"]}')

        said = vistool("weights", "convert", folder, "--method", "fake", "-o", desk / "ours.safetensors", "--json")

        told = json.loads(said.out)
        info = checkpoint.read_header(desk / "ours.safetensors").info
        assert [category.name for category in info.categories] == ["x", "y", "z"]
        assert (told["classes"], told["trained_on"], info.trained_on) == (3, "videos", "videos")
        assert info.parent == told["parent"] == f"theirs sha256:{checkpoint.sha256_of(folder / 'model.safetensors')}"

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (["cat", "dog", "ape"], [(1, "cat"), (2, "dog"), (3, "ape")]),
            ([{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}, "ape"], [(7, "cat"), (9, "dog"), (3, "ape")]),
            (
                {"categories": [{"id": n, "name": str(n)} for n in (4, 5, 6)], "videos": []},
                [(n, str(n)) for n in (4, 5, 6)],
            ),
        ],
        ids=["names", "ids and names", "annotations"],
    )
    def test_classes_and_training_may_be_told(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path, content: object, expected: object
    ) -> None:
        save_file({"a": torch.ones(2)}, tmp_path / "foreign.safetensors")
        (tmp_path / "classes.json").write_text(json.dumps(content))

        vistool(
            "weights", "convert", tmp_path / "foreign.safetensors", "--method", "fake", "-o", desk / "ours.safetensors",
            "--categories", tmp_path / "classes.json", "--trained-on", "videos",
        )  # fmt: skip

        info = checkpoint.read_header(desk / "ours.safetensors").info
        assert [(category.id, category.name) for category in info.categories] == expected
        assert info.trained_on == "videos"

    @pytest.mark.parametrize(
        ("classes", "code", "told"),
        [("ovsi", 2, "unknown list"), ("classes.json", 4, "no classes"), ("ovis", 5, "3 in the file, 25 in ovis")],
        ids=["unknown name", "no names", "other number"],
    )
    def test_classes_that_cannot_be_are_refused(
        self,
        vistool: Vistool,
        weights: Path,
        tmp_path: Path,
        desk: Path,
        monkeypatch: pytest.MonkeyPatch,
        classes: str,
        code: int,
        told: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        save_file({"a": torch.ones(2)}, "foreign.safetensors")
        Path("classes.json").write_text('{"cat": 1}')

        said = vistool(
            "weights", "convert", "foreign.safetensors", "--method", "fake", "-o", desk / "ours.safetensors",
            "--categories", classes,
        )  # fmt: skip

        assert said.code == code
        assert told in said.err
        assert list(desk.iterdir()) == []

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

    @pytest.mark.parametrize(
        ("mode", "trained_on", "expected"),
        [
            ("auto", "videos", "offline"),
            ("auto", "images", "online"),
            ("online", "videos", "online"),
            ("offline", "images", "offline"),
        ],
    )
    def test_the_mode_is_that_of_the_weights_unless_told(
        self,
        vistool: Vistool,
        weights: Path,
        tmp_path: Path,
        desk: Path,
        monkeypatch: pytest.MonkeyPatch,
        mode: str,
        trained_on: Literal["images", "videos"],
        expected: str,
    ) -> None:
        asked = []
        monkeypatch.setitem(
            METHODS,
            "fake",
            replace(METHODS["fake"], modes=("offline", "online"), probe=lambda *given: asked.append(given[2]) or {}),
        )
        read = checkpoint.read(weights)
        checkpoint.write(weights, replace(read.info, trained_on=trained_on), read.tensors, half=False, overwrite=True)
        np.savez(tmp_path / "in.npz", frames=np.ones(3, np.float32))

        said = vistool(
            "weights",
            "probe",
            weights,
            "--input",
            tmp_path / "in.npz",
            "-o",
            desk / "out.npz",
            "--mode",
            mode,
            "--json",
        )

        assert asked == [expected]
        assert json.loads(said.out)["mode"] == expected

    def test_a_mode_that_the_method_has_not_is_refused(
        self, vistool: Vistool, weights: Path, tmp_path: Path, desk: Path
    ) -> None:
        np.savez(tmp_path / "in.npz", frames=np.ones(3, np.float32))

        said = vistool(
            "weights", "probe", weights, "--input", tmp_path / "in.npz", "-o", desk / "out.npz", "--mode", "online"
        )

        assert said.code == 2
        assert "cannot run online: `fake`" in said.err

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
