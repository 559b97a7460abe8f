"""`vistool doctor`: what is there is told, what is wrong is named with what to do, and only damaged weights fail."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import socket
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from conftest import Vistool

from vistool import weights
from vistool.errors import VistoolError
from vistool.methods import METHODS
from vistool.video import encoders
from vistool.weights import registry

doctor = importlib.import_module("vistool.cli.doctor")  # `vistool.cli` has a function of that name


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without faults: empty caches in an empty folder, room enough, no GPU, no network; → the folder."""
    for variable in (*doctor.VARIABLES, *doctor.SECRETS):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # where no driver is
    monkeypatch.setenv("VISTOOL_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 0)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    installed(monkeypatch, {})
    return tmp_path


def installed(monkeypatch: pytest.MonkeyPatch, versions: Mapping[str, str | None]) -> None:
    """What the package index's names stand for here: all are there, one OpenCV wheel too, but for `versions`."""
    healthy = {**dict.fromkeys(doctor.OPENCV_WHEELS), **dict.fromkeys(doctor.PACKAGES, "1.0"), **versions}

    def version(package: str) -> str:
        if (found := healthy[package]) is None:
            raise importlib.metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


def examined(vistool: Vistool) -> dict[str, Any]:
    said = vistool("doctor", "--json")
    assert (said.code, said.err) == (0, "")
    return json.loads(said.out)  # type: ignore[no-any-return]


def problems(vistool: Vistool) -> list[str]:
    return [each["what"] for each in examined(vistool)["problems"]]


class TestHealthy:
    def test_nothing_is_wrong(self, vistool: Vistool) -> None:
        assert problems(vistool) == []
        assert vistool("doctor").out.endswith("\n\nno problems found\n")

    def test_people_and_programs_are_told_of_the_same_things(self, vistool: Vistool) -> None:
        facts = examined(vistool)

        told = vistool("doctor").out

        assert facts["vistool"] in told
        assert facts["platform"] in told
        assert all(f"{name} {version}" in told for name, version in facts["packages"].items())
        assert all(f"{key} {state}" in told for key, state in facts["weights"].items())
        assert all(folder["path"] in told for folder in facts["folders"].values())
        assert facts["video"]["libraries"]["libavcodec"] in told

    def test_the_packages_are_those_that_the_project_asks_for(self) -> None:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

        assert set(doctor.PACKAGES) == {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}

    def test_every_default_and_all_that_is_bundled_is_looked_at(self, vistool: Vistool) -> None:
        states = examined(vistool)["weights"]

        assert {row.default_weights for row in METHODS.values() if row.default_weights} <= states.keys()
        assert {key for key, state in states.items() if state == "ok"} == {
            key for key, entry in registry.entries().items() if entry.source == "bundled"
        }

    def test_the_device_that_every_machine_has_is_there(self, vistool: Vistool) -> None:
        assert re.fullmatch(r"\d+ threads?", examined(vistool)["devices"]["cpu"])


class TestPackages:
    def test_a_package_that_is_missing_is_named(self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch) -> None:
        installed(monkeypatch, {"scipy": None})

        assert problems(vistool) == ["package is missing: `scipy`"]
        assert "problem: package is missing: `scipy`  hint: install it: pip install scipy\n" in vistool("doctor").out

    def test_two_opencv_wheels_are_one_too_many(self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch) -> None:
        installed(monkeypatch, {"opencv-contrib-python": "4.9"})

        assert problems(vistool) == [
            "several OpenCV wheels share one folder: `opencv-python-headless, opencv-contrib-python`"
        ]

    def test_another_opencv_wheel_in_the_place_of_ours_will_do(
        self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installed(monkeypatch, {"opencv-python-headless": None, "opencv-python": "4.9"})

        assert examined(vistool)["opencv_wheels"] == {"opencv-python": "4.9"}
        assert problems(vistool) == []

    @pytest.mark.parametrize(
        ("module", "told"), [("torch", "torch cannot be"), ("cv2", "OpenCV cannot be"), ("av", "PyAV cannot be")]
    )
    def test_a_library_that_does_not_load_is_named(
        self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch, module: str, told: str
    ) -> None:
        monkeypatch.setitem(sys.modules, module, None)

        (problem,) = problems(vistool)

        assert problem.startswith(told)
        assert vistool("doctor").code == 0


class TestVideo:
    def test_another_encoder_than_h264_is_a_problem(self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encoders, "best_encoder", lambda: encoders.ENCODERS[1])

        assert examined(vistool)["video"]["h264"] is False
        assert problems(vistool)[0].startswith("no H.264 encoder works: `libsvtav1`")

    def test_no_encoder_at_all_is_a_problem(self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch) -> None:
        def none_works() -> encoders.Encoder:
            raise VistoolError("no video encoder works", hint="another wheel")

        monkeypatch.setattr(encoders, "best_encoder", none_works)

        assert examined(vistool)["problems"] == [{"what": "no video encoder works", "hint": "another wheel"}]
        assert "none (H.264: no)" in vistool("doctor").out


class TestDevices:
    def test_a_gpu_that_torch_cannot_use_is_a_problem(
        self, vistool: Vistool, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (machine / "nvidia-smi").touch(0o755)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)

        assert problems(vistool)[0].startswith("a GPU is here that cannot be used")


class TestFolders:
    def test_a_folder_is_told_with_all_that_lies_in_it(self, vistool: Vistool, machine: Path) -> None:
        below = machine / "ours" / "converted" / "deep"
        below.mkdir(parents=True)
        (below / "a").write_bytes(b"x" * 1000)
        (machine / "ours" / "b").write_bytes(b"x" * 24)

        folder = examined(vistool)["folders"]["cache"]

        assert (folder["path"], folder["bytes"], folder["writable"]) == (str(machine / "ours"), 1024, True)

    def test_what_a_link_leads_to_is_not_counted_again(self, vistool: Vistool, machine: Path) -> None:
        (machine / "hub").mkdir()
        (machine / "hub" / "blob").write_bytes(b"x" * 100_000)
        (machine / "hub" / "snapshot").symlink_to(machine / "hub" / "blob")

        assert 100_000 < examined(vistool)["folders"]["hub_cache"]["bytes"] < 101_000

    def test_a_place_where_nothing_can_be_written_is_a_problem(
        self, vistool: Vistool, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (machine / "file").touch(0o755)
        monkeypatch.setenv("VISTOOL_CACHE", str(machine / "file" / "below"))

        found = examined(vistool)

        assert found["folders"]["cache"]["writable"] is False
        assert [(each["what"].split("`")[1], each["hint"]) for each in found["problems"]] == [
            (str(machine / "file" / "below"), "set VISTOOL_CACHE to a folder of yours")
        ]

    def test_little_space_is_a_problem_of_each_folder(self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "LITTLE_SPACE", 1 << 80)

        assert [what.split(":")[0] for what in problems(vistool)] == ["little space for weights"] * 2

    def test_looking_creates_nothing(self, vistool: Vistool, machine: Path) -> None:
        vistool("doctor")

        assert list(machine.iterdir()) == []


class TestNetwork:
    def test_without_variables_the_network_is_allowed(self, vistool: Vistool) -> None:
        assert examined(vistool)["offline"] is False

    @pytest.mark.parametrize("variable", ["VISTOOL_OFFLINE", "HF_HUB_OFFLINE"])
    def test_a_variable_that_forbids_it_is_told(
        self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "1")

        facts = examined(vistool)

        assert facts["offline"] is True
        assert facts["variables"][variable] == "1"

    @pytest.mark.parametrize("variable", doctor.SECRETS)
    def test_what_may_be_a_password_is_not_told(
        self, vistool: Vistool, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "http://me:s3cret@proxy")

        told = vistool("doctor", "--json").out + vistool("doctor").out

        assert "s3cret" not in told
        assert f"{variable}=set" in told


class TestWeights:
    @pytest.fixture
    def entry(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Entry:
        """The default of `ifr`, bundled, with a file of other bytes than weights.toml says; the only entry."""
        path = machine / "weights.safetensors"
        path.write_bytes(b"other")
        entry = replace(registry.entries()["ifr-tiny-shapes"], file=str(path))
        monkeypatch.setattr(registry, "entries", lambda: {entry.key: entry})
        return entry

    @pytest.mark.parametrize("fault", ["sha256 is", "missing"])
    @pytest.mark.parametrize("options", [[], ["--json"]], ids=["people", "programs"])
    def test_bundled_weights_that_are_not_whole_fail_after_all_is_told(
        self, vistool: Vistool, entry: registry.Entry, fault: str, options: list[str]
    ) -> None:
        Path(entry.file).unlink() if fault == "missing" else None

        said = vistool("doctor", *options)

        assert said.code == 5
        assert said.err.startswith(f"error: weights are damaged: `{entry.key}`")
        assert f"weights are damaged: `{entry.key}` ({fault}" in said.out

    def test_a_default_from_elsewhere_may_be_here_or_not(
        self, vistool: Vistool, entry: registry.Entry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = replace(entry, source="hf", repo="owner/name")
        monkeypatch.setattr(registry, "entries", lambda: {elsewhere.key: elsewhere})
        before = examined(vistool)["weights"]
        monkeypatch.setattr(weights, "at_hand", lambda *_: Path(entry.file))
        after = examined(vistool)["weights"]

        assert before == {elsewhere.key: "to fetch"}
        assert after == {elsewhere.key: "at hand"}
