"""The documentation names things that exist, and leaves out nothing that a user can call."""

from __future__ import annotations

import contextlib
import importlib
import re
from pathlib import Path

import pytest

import vistool
from vistool.methods import METHODS
from vistool.writers import WRITERS

ROOT = Path(__file__).resolve().parent.parent
METHOD_READMES = sorted((ROOT / "vistool" / "methods").glob("*/README.md"))
TEST_NAMES = {
    name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
}


def table_rows(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith("|") and "`test_" in line]


@pytest.mark.parametrize("path", METHOD_READMES, ids=lambda path: path.parent.name)
def test_every_test_that_an_equation_table_names_exists(path: Path) -> None:
    named = re.findall(r"`(test_\w+)`", path.read_text())

    assert named
    assert [name for name in named if name not in TEST_NAMES] == []


@pytest.mark.parametrize("path", METHOD_READMES, ids=lambda path: path.parent.name)
def test_every_line_that_an_equation_table_names_exists(path: Path) -> None:
    places = [place for row in table_rows(path) for place in re.findall(r"`((?:\w+\.)+\w+)`", row)]

    assert places
    assert [place for place in places if not _exists(place, f"vistool.methods.{path.parent.name}")] == []


def _exists(place: str, method: str) -> bool:
    """Whether `module.Class.function` is there, in the method's package or, for `nn.` and `vistool.`, in ours."""
    words = place.split(".")
    base = {"nn": "vistool.", "vistool": ""}.get(words[0], f"{method}.")
    found: object = importlib.import_module(base + words[0])
    for depth, word in enumerate(words[1:], start=2):
        if not hasattr(found, word):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(base + ".".join(words[:depth]))
        found = getattr(found, word, None)
    return found is not None


def test_every_method_has_a_readme_and_stands_in_the_front_page() -> None:
    front = (ROOT / "README.md").read_text()

    assert {path.parent.name for path in METHOD_READMES} == {name.replace("-", "_") for name in METHODS}
    assert [name for name in METHODS if f"`{name}`" not in front] == []


def test_every_format_is_documented() -> None:
    text = (ROOT / "docs" / "formats.md").read_text() + (ROOT / "README.md").read_text()

    assert [suffix for row in WRITERS.values() for suffix in row.suffixes if suffix not in text] == []


def test_every_link_of_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *METHOD_READMES]

    dead = [
        f"{document.relative_to(ROOT)}: {link}"
        for document in documents
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text())
        if not (document.parent / link).exists()
    ]

    assert dead == []


def test_the_public_names_are_the_ones_listed() -> None:
    assert len(set(vistool.__all__)) == len(vistool.__all__)
    assert [name for name in vistool.__all__ if not hasattr(vistool, name)] == []


def test_the_readme_program_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert program is not None

    exec(compile(program[1], "README.md", "exec"), {})

    assert capsys.readouterr().out.startswith("[(")
