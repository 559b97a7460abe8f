"""The examples run as they stand, on the example video."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_example(name: str, *arguments: str, stdin: Path | None = None) -> str:
    with (stdin or EXAMPLES / name).open("rb") as given:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments], stdin=given, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_names_tracks() -> None:
    lines = run_example("tracks.py", str(EXAMPLES / "shapes.mp4")).splitlines()

    assert lines
    assert all(line.startswith("track ") for line in lines)


def test_the_streaming_example_prints_every_frame() -> None:
    lines = run_example("streaming.py", str(EXAMPLES / "shapes.mp4")).splitlines()

    assert "frame     0" in lines[0]
    assert lines[-1].endswith(f"tracks in {len(lines) - 1} frames")


def test_the_custom_writer_publishes_its_table(tmp_path: Path) -> None:
    run_example("custom_writer.py", str(EXAMPLES / "shapes.mp4"), str(tmp_path / "boxes.csv"))

    with (tmp_path / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(int(row["width"]) > 0 for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.csv"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_fits_on_a_page(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40
