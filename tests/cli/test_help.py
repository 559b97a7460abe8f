"""What `--help` promises: every command and option explained, nothing heavy loaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Vistool

import vistool as package
from vistool.cli import app

HEAVY = {"torch", "transformers", "cv2", "av", "scipy", "numpy", "matplotlib", "rich.progress"}


def commands(command: Any = None, name: str = "vistool") -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    command = command or typer.main.get_command(app)
    yield name, command
    for child, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {child}")


COMMANDS = dict(commands())
each_command = pytest.mark.parametrize("name", COMMANDS, ids=str)


@each_command
def test_every_command_and_option_is_explained(name: str) -> None:
    command = COMMANDS[name]

    assert command.help
    assert [param.name for param in command.params if not getattr(param, "help", "")] == []


@each_command
def test_every_command_prints_its_help(name: str, vistool: Vistool) -> None:
    said = vistool(*name.split()[1:], "--help")

    assert said.code == 0
    assert said.out.startswith(f"Usage: {name}")
    assert said.err == ""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "vistool"])
def test_the_summary_of_a_command_fits_its_line(name: str) -> None:
    first_sentence = COMMANDS[name].help.split(".")[0]

    assert len(first_sentence) <= 68


def test_the_commands_are_those_of_the_contract() -> None:
    assert {name.removeprefix("vistool ") for name in COMMANDS} - {"vistool", "weights", "shapes"} == {
        "segment", "render", "eval", "inspect", "train", "methods", "methods show", "shapes make",
        "weights list", "weights show", "weights path", "weights verify", "weights convert", "weights probe",
        "weights pull", "weights rm", "doctor",
    }  # fmt: skip


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['vistool', 'segment', '--help']\n"
        "from vistool.cli import main\n"
        "try: main()\n"
        f"except SystemExit: print(*sorted({HEAVY} & sys.modules.keys()), file=sys.stderr)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "Usage:" in said.stdout
    assert said.stderr.split() == []


def test_the_version_is_that_of_the_project(vistool: Vistool) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert vistool("--version").out == f"vistool {project['version']}\n"


def test_the_public_names_are_all_there() -> None:
    assert [name for name in package.__all__ if getattr(package, name, None) is None] == []
    assert set(package.__all__) <= set(dir(package))


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing  # type: ignore[attr-defined]
