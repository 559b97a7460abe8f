"""Imports point one way, tensors stay where they belong, and importing stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "vistool"

SEAMS = {"types", "protocols", "errors"}
CORE = {"runner", "windows", "ranking"}
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "protocols": {"types"},
    "runs": set(),
    "masks": SEAMS | {"runs"},
    "likeness": set(),
    "nn": SEAMS,
    "video": SEAMS,
    "testing": SEAMS | {"masks"},
    "runner": SEAMS | CORE | {"masks", "video"},
    "windows": SEAMS | CORE | {"likeness", "masks", "video"},
    "ranking": SEAMS | CORE | {"masks", "video"},
    "mapping": SEAMS,
    "writers": SEAMS | {"masks", "video"},
    "evaluation": SEAMS | {"masks", "runs"},
    "shapes": SEAMS | {"masks", "video"},
    "weights": SEAMS,
    "methods": SEAMS | {"likeness", "nn", "masks", "weights"},
    "training": SEAMS | {"methods", "nn", "video", "masks", "weights"},
    "cli": SEAMS | CORE | {"mapping", "training", "evaluation", "writers", "methods", "video", "weights", "shapes"},
    "__main__": {"cli"},
}
TENSORS = {"torch", "transformers", "safetensors"}
MAY_USE_TENSORS = {"methods", "nn", "training", "weights"}
HEAVY = {"torch", "transformers", "cv2", "av", "scipy", "matplotlib", "huggingface_hub"}

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported_modules(file: Path) -> Iterator[str]:
    """Absolute names of all that `file` imports, wherever in the file; `from x import y` counts as `x.y`."""
    package = ("vistool", *file.parent.parts)
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def part_of(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def our_parts(file: Path) -> set[str]:
    """The parts of vistool, other than its own, that `file` imports."""
    ours = {name.split(".")[1] for name in imported_modules(file) if name.startswith("vistool.")}
    return ours - {part_of(file), "__version__"}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_only_what_its_part_may_import(file: Path) -> None:
    assert our_parts(file) <= MAY_IMPORT[part_of(file)]


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parts[0] == "methods" and len(file.parts) > 2], ids=str
)
def test_a_method_imports_no_other_method(file: Path) -> None:
    methods = {folder.name for folder in (PACKAGE / "methods").iterdir() if folder.is_dir()}
    imported = {name.split(".")[2] for name in imported_modules(file) if name.startswith("vistool.methods.")}

    assert imported & methods <= {file.parts[1]}


@pytest.mark.parametrize("file", [file for file in FILES if part_of(file) not in {*MAY_USE_TENSORS, "cli"}], ids=str)
def test_tensors_are_used_by_networks_and_their_weights_alone(file: Path) -> None:
    assert {name.split(".")[0] for name in imported_modules(file)}.isdisjoint(TENSORS)


@pytest.mark.parametrize(
    "module", ["vistool", "vistool.cli", "vistool.methods", "vistool.writers", "vistool.evaluation"]
)
def test_importing_stays_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY} & sys.modules.keys()))"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )

    assert loaded.stdout.split() == []
