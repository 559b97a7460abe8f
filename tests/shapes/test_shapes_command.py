"""`vistool shapes make` from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vistool.cli.shapes import make
from vistool.errors import UsageError

app = typer.Typer()
app.command()(make)


def test_the_command_writes_videos_and_prints_where_the_annotations_are(tmp_path: Path) -> None:
    out = tmp_path / "set"

    result = CliRunner().invoke(app, ["shapes-val", "-o", str(out), "--videos", "2", "--quiet"])

    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(out / "annotations.json")]
    assert result.stderr == ""
    assert sorted(path.name for path in (out / "videos").iterdir()) == ["00001.mp4", "00002.mp4"]


def test_an_unknown_split_is_answered_with_those_there_are(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["shapes-test", "-o", str(tmp_path / "set")])

    assert isinstance(result.exception, UsageError)
    assert "shapes-val" in str(result.exception.hint)


@pytest.mark.parametrize("option", [["--videos", "0"], ["--difficulty", "2"], ["--seed", "-1"]], ids=" ".join)
def test_numbers_out_of_range_are_usage_errors(option: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["shapes-val", "-o", str(tmp_path / "set"), *option]).exit_code == 2
