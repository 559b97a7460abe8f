"""The command line: which commands there are, and how every failure is worded. Light to import: commands import their
work inside the function.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import MemoryLimitError, VistoolError
from .doctor import doctor
from .evaluate import evaluate
from .inspect import inspect
from .methods import methods, show_method
from .render import render
from .segment import segment
from .shapes import make
from .train import train
from .weights import list_weights, path, remove, show, verify
from .weights_files import convert, probe, pull

INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 141  # 128 + SIGPIPE, which not every system has


class _Commands(TyperGroup):
    """The commands, with two failures caught before Typer gives them wordings and codes of its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise SystemExit(INTERRUPTED) from None
        except BrokenPipeError:  # whoever read standard output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(READER_GONE) from None


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vistool {__version__}")
        raise typer.Exit


def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Video in, instance tracks out: a class, an identity and a mask per frame for every object."""


_PLAIN: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True}  # rich would triple the time of --help

app = typer.Typer(cls=_Commands, name="vistool", callback=_start, **_PLAIN)
app.command()(segment)
app.command()(render)
app.command("eval")(evaluate)
app.command()(inspect)
app.command()(train)
app.command()(doctor)

_methods = typer.Typer(callback=methods, invoke_without_command=True, rich_markup_mode=None)
_methods.command("show")(show_method)
app.add_typer(_methods, name="methods")

_weights = typer.Typer(help="The known checkpoints, and tools for others.", **_PLAIN)
_weights.command("list")(list_weights)
_weights.command()(show)
_weights.command()(pull)
_weights.command()(path)
_weights.command()(verify)
_weights.command()(convert)
_weights.command()(probe)
_weights.command("rm")(remove)
app.add_typer(_weights, name="weights")

_shapes = typer.Typer(help="The procedural data set: seeded videos with exact masks.", **_PLAIN)
_shapes.command()(make)
app.add_typer(_shapes, name="shapes")


def main() -> None:
    """Run the command of `sys.argv` and exit; every failure is one line, a hint, and the code of its kind."""
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _one_line_warning
    try:
        app(prog_name="vistool")
    except VistoolError as error:
        _fail(error, error)
    except MemoryError as error:
        _fail(_out_of_memory(), error)
    except Exception as error:  # the one place where all else ends, so that nobody meets a traceback unasked
        if isinstance(error, RuntimeError) and _is_out_of_memory(error):  # how torch says it, on every device
            _fail(_out_of_memory(), error)
        told = " ".join(str(error).split()) or "no message"
        _fail(
            VistoolError(
                f"unexpected failure: {type(error).__name__} ({told})",
                hint="set VISTOOL_DEBUG=1 to see where, and report it",
            ),
            error,
        )


def _one_line_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning without the place in the code that it came from."""
    typer.echo(f"warning: {message}", err=True)


def _fail(failure: VistoolError, cause: BaseException) -> NoReturn:
    if os.environ.get("VISTOOL_DEBUG") == "1":
        traceback.print_exception(cause)
    hint = f"\n\nhint: {failure.hint}" if failure.hint else ""
    typer.echo(f"error: {failure.message}{hint}", err=True)
    sys.exit(failure.exit_code)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM as an exception, so that what is half written is dropped."""
    sys.exit(128 + signal.SIGTERM)


def _is_out_of_memory(error: RuntimeError) -> bool:
    told = str(error).lower()
    return "out of memory" in told or "can't allocate memory" in told or "not enough memory" in told


def _out_of_memory() -> MemoryLimitError:
    return MemoryLimitError("out of memory", hint="use a smaller --window or --size, or --device cpu")
