"""Every failure: the code of its kind, one line, a hint, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FakeMethods, Vistool

from vistool.errors import (
    InputError,
    MemoryLimitError,
    OutputExistsError,
    UsageError,
    VistoolError,
    WeightsError,
)


def failing(error: BaseException) -> object:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def segment(vistool: Vistool, video: Path, weights: Path, desk: Path) -> Vistool:
    """`vistool segment` with everything it needs."""
    return lambda *more: vistool(
        "segment", video, "--method", "fake", "--weights", weights, "-o", desk / "tracks.jsonl", "-q", *more
    )


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (VistoolError, 1),
        (UsageError, 2),
        (InputError, 4),
        (WeightsError, 5),
        (MemoryLimitError, 6),
        (OutputExistsError, 7),
    ],
)
def test_an_expected_failure_is_a_line_a_hint_and_its_code(
    segment: Vistool, fake_methods: FakeMethods, desk: Path, kind: type[VistoolError], code: int
) -> None:
    fake_methods.during = failing(kind("what: `value` (why)", hint="try this"))  # type: ignore[assignment]

    said = segment()

    assert (said.code, said.out) == (code, "")
    assert said.err == "error: what: `value` (why)\n\nhint: try this\n"
    assert list(desk.iterdir()) == []


def test_a_failure_without_a_hint_is_one_line(segment: Vistool, fake_methods: FakeMethods) -> None:
    fake_methods.during = failing(InputError("what"))  # type: ignore[assignment]

    assert segment().err == "error: what\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    ],
    ids=["python", "device", "torch on the CPU"],
)
def test_no_memory_left_is_said_as_such(
    segment: Vistool, fake_methods: FakeMethods, desk: Path, error: Exception
) -> None:
    fake_methods.during = failing(error)  # type: ignore[assignment]

    said = segment()

    assert said.code == 6
    assert said.err.startswith("error: out of memory\n\nhint: ")
    assert list(desk.iterdir()) == []


def test_an_unexpected_failure_is_one_line_and_tells_how_to_see_more(
    segment: Vistool, fake_methods: FakeMethods, desk: Path
) -> None:
    fake_methods.during = failing(KeyError("a\nb"))  # type: ignore[assignment]

    said = segment()

    assert said.code == 1
    assert said.err.splitlines()[0] == r"error: unexpected failure: KeyError ('a\nb')"
    assert "VISTOOL_DEBUG=1" in said.err
    assert "Traceback" not in said.err
    assert list(desk.iterdir()) == []


def test_debugging_shows_the_traceback(
    segment: Vistool, fake_methods: FakeMethods, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_methods.during = failing(KeyError("a"))  # type: ignore[assignment]
    monkeypatch.setenv("VISTOOL_DEBUG", "1")

    said = segment()

    assert said.err.startswith("Traceback")
    assert "\nerror: unexpected failure: KeyError" in said.err


@pytest.mark.parametrize(
    ("number", "code", "words"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")], ids=["INT", "TERM"]
)
def test_a_signal_ends_a_run_cleanly(
    segment: Vistool, fake_methods: FakeMethods, desk: Path, number: int, code: int, words: str
) -> None:
    fake_methods.during = lambda: signal.raise_signal(number)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it

    said = segment()

    signal.signal(signal.SIGINT, before)
    assert (said.code, said.out, said.err) == (code, "", words)
    assert list(desk.iterdir()) == []


def test_a_reader_who_has_left_is_no_failure() -> None:
    ours, theirs = os.pipe()
    os.close(ours)

    left = subprocess.run(
        [sys.executable, "-m", "vistool", "methods"], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(theirs)

    assert (left.returncode, left.stderr) == (141, "")


@pytest.mark.parametrize(
    "args",
    [("nonsense",), ("segment",), ("segment", "a.mp4", "--no-such-option"), ("segment", "a.mp4", "--conf", "2")],
    ids=["command", "argument", "option", "range"],
)
def test_a_wrong_command_line_is_a_usage_error(vistool: Vistool, args: tuple[str, ...]) -> None:
    said = vistool(*args)

    assert (said.code, said.out) == (2, "")
    assert "Error: " in said.err
    assert "Traceback" not in said.err
