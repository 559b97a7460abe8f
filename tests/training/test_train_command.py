"""`vistool train` from the command line's side: options in, errors and exit codes out."""

from __future__ import annotations

import importlib
import inspect
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vistool.errors import UsageError
from vistool.training import loop
from vistool.training.loop import Outcome
from vistool.training.options import TrainOptions, flag

command = importlib.import_module("vistool.cli.train")  # the package has the function under this name
Invoke = Callable[..., Any]


@pytest.fixture
def invoke(toy_method: None) -> Invoke:
    """Runs the command with `train`'s own options and returns its result; errors are raised."""
    app = typer.Typer()
    app.command()(command.train)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_every_setting_is_an_option_with_the_same_default() -> None:
    own = {"resume", "overwrite", "offline", "accept_license"}
    parameters = inspect.signature(command.train).parameters
    named = {("size_hw" if name == "size" else name): value.default for name, value in parameters.items()}
    spelled = {"size_hw": "96x160", "milestones": "", "freeze": "", "device": "auto"}

    assert named.keys() - own == {field.name for field in fields(TrainOptions)}
    defaults = {field.name: spelled.get(field.name, field.default) for field in fields(TrainOptions)}
    required = {"method", "data", "out"}
    assert {name: named[name] for name in defaults.keys() - required} == {
        name: defaults[name] for name in defaults.keys() - required
    }


def test_errors_name_options_that_exist() -> None:
    names = {"size" if field.name == "size_hw" else field.name for field in fields(TrainOptions)}

    assert {flag(field.name) for field in fields(TrainOptions)} == {"--" + name.replace("_", "-") for name in names}


def test_a_run_from_the_command_line_ends_with_a_checkpoint(invoke: Invoke, squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    result = invoke("--method", "toy", "--data", squares, "-o", out, "--max-steps", 3, "--warmup", 1, "--batch", 2,
                    "--size", "32x48", "--device", "cpu")  # fmt: skip

    assert result.exit_code == 0
    assert (out / "best.safetensors").is_file()
    assert result.stdout == ""
    assert "finished at step 3" in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_run_exits_by_its_signal(
    invoke: Invoke, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    monkeypatch.setattr(loop, "train", lambda *_, **__: Outcome(7, None, number))

    result = invoke("--method", "toy", "--data", squares, "-o", tmp_path / "run", "--device", "cpu")

    assert result.exit_code == code
    assert "--resume" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "96"], "--size"),
        (["--milestones", "1,two"], "--milestones"),
        (["--batch", "0"], "--batch"),
        (["--device", "abacus"], "unknown device: `abacus`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_options_that_do_not_fit_are_refused(
    invoke: Invoke, squares: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        invoke("--method", "toy", "--data", squares, "-o", tmp_path / "run", *words)

    assert not (tmp_path / "run").exists()


def test_an_unknown_method_is_refused_with_the_nearest_name(invoke: Invoke, squares: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown method") as refused:
        invoke("--method", "toi", "--data", squares, "-o", tmp_path / "run")

    assert refused.value.hint == "did you mean `toy`?"
