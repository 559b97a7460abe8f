"""A full disk, a closed pipe: one line, and no half output under its name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from writer_samples import CAT, frame_prediction, prediction, write

from vistool.errors import VistoolError
from vistool.types import Frame
from vistool.writers import open_writer

HERE = Path(__file__).parent
posix = pytest.mark.skipif(os.name != "posix", reason="limits and pipes are those of POSIX")

_LIMITED = """
import resource, sys
from writer_samples import *
rng = np.random.default_rng(0)
noise = Track(1, 0, 0.9, {index: masks.encode(rng.random((48, 64)) < 0.5) for index in range(40)})
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write(sys.argv[1], prediction(noise, frames=40, size_hw=(48, 64)))
except Exception as error:
    print(type(error).__name__, error)
"""

_STREAM = """
from writer_samples import *
write("-", prediction(CAT, frames=2000))
"""


def _python(code: str, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=HERE, stdout=stdout, stderr=subprocess.PIPE, text=True
    )


@posix
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.jsonl.gz", "a.mp4", "masks"])
def test_no_space_left_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    out, err = _python(_LIMITED, str(tmp_path / name)).communicate(timeout=300)

    assert re.fullmatch(rf"VistoolError cannot write( video)?: `{tmp_path / name}.*` \(File too large\)\n", out), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        _, err = _python(_STREAM, stdout=full.fileno()).communicate(timeout=300)

    assert "cannot write: `standard output` (No space left on device)" in err


@posix
def test_a_reader_that_has_seen_enough_is_no_failure_to_write() -> None:
    process = _python(_STREAM)
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=300)

    assert first.startswith('{"type":"header"')
    assert "BrokenPipeError: [Errno 32] Broken pipe" in err
    assert "VistoolError" not in err


def test_lines_to_standard_output_are_those_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.jsonl", prediction(CAT))
    write("-", prediction(CAT))

    assert capsys.readouterr().out == (tmp_path / "a.jsonl").read_text()


def test_a_line_is_with_the_system_as_soon_as_it_is_written(tmp_path: Path) -> None:
    result = prediction(CAT)
    writer = open_writer(tmp_path / "a.jsonl", categories=result.categories, video=result.video, facts={})

    writer.write_frame(Frame(0, 0.0, np.zeros((4, 5, 3), np.uint8)), frame_prediction(result, 0))
    lines = (tmp_path / "a.jsonl.partial").read_text().splitlines()
    writer.close()

    assert [json.loads(line)["type"] for line in lines] == ["header", "frame"]


def test_a_folder_of_another_use_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    (tmp_path / "masks.partial").mkdir()
    (tmp_path / "masks.partial" / "thesis.txt").touch()

    with pytest.raises(VistoolError, match="not ours to replace"):
        write(tmp_path / "masks", prediction(CAT))

    assert (tmp_path / "masks.partial" / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["a.json", "masks"])
def test_the_leftover_of_a_killed_run_is_replaced(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, prediction(CAT))
    (tmp_path / name).rename(tmp_path / f"{name}.partial")

    write(tmp_path / name, prediction(CAT))

    assert [path.name for path in tmp_path.iterdir()] == [name]
