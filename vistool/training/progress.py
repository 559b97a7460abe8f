"""How far a run is, on stderr: a bar on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_EVERY_S = 30.0

Report = Callable[[int, str], None]
"""(steps done, a few words about them)."""


@contextmanager
def progress(total: int, *, shown: bool = True) -> Iterator[Report]:
    """Reports to call after every step."""
    if not shown:
        yield lambda _step, _words: None
    elif sys.stderr.isatty():
        yield from _bar(total)
    else:
        yield _lines(total)


def note(message: str) -> None:
    """One line for people."""
    print(message, file=sys.stderr, flush=True)


def _bar(total: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda step, words: bar.update(task, completed=step, description=words)


def _lines(total: int) -> Report:
    last = time.monotonic()

    def report(step: int, words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            note(f"step {step}/{total}  {words}")

    return report
