"""The table of the method's README names lines and tests that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = (REPOSITORY / "vistool/methods/mask2former_vis/README.md").read_text()
ROWS = re.findall(r"^\| (?!What).+? \| `([\w.]+)` \| `(\w+)` \|$", TABLE, re.MULTILINE)
TESTS = "\n".join(
    path.read_text() for folder in ("nn", "parity") for path in (REPOSITORY / "tests" / folder).glob("*.py")
)


@pytest.mark.parametrize("line", sorted({line for line, _ in ROWS}))
def test_each_line_of_the_table_exists(line: str) -> None:
    package = "vistool." if line.startswith("nn.") else "vistool.methods.mask2former_vis."
    module, *names = re.fullmatch(r"((?:nn\.)?\w+)\.(.+)", line).groups()  # type: ignore[union-attr]

    found = importlib.import_module(package + module)
    for name in names[0].split("."):
        found = getattr(found, name)

    assert callable(found)


def test_each_test_of_the_table_exists() -> None:
    assert len(ROWS) > 20
    assert [test for _, test in ROWS if f"def {test}(" not in TESTS] == []
