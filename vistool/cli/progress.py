"""How far a video is and how long it will take, on stderr: a bar on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..types import Frame

FIRST_LINE_S = 5.0  # into the run: early enough to stop one that would take too long
LINE_EVERY_S = 30.0

OnFrame = Callable[["Frame"], None]


@contextmanager
def frame_progress(total: int | None, *, shown: bool) -> Iterator[OnFrame | None]:
    """What to call after every frame; `total` is None where nobody knows how many there will be."""
    if not shown:
        yield None
    elif sys.stderr.isatty():
        yield from _bar(total)
    else:
        yield _lines(total)


def _bar(total: int | None) -> Iterator[OnFrame]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda _: bar.advance(task)


def _lines(total: int | None) -> OnFrame:
    start = time.monotonic()
    due = start + FIRST_LINE_S
    count = 0

    def on_frame(frame: Frame) -> None:
        nonlocal due, count
        count += 1
        now = time.monotonic()
        if now >= due:
            due = now + LINE_EVERY_S
            pace = count / (now - start)
            left = f" of {total}, about {_spoken((total - count) / pace)} to go" if total else ""
            typer.echo(f"frame {count}{left}, {pace:.2g} a second", err=True)

    return on_frame


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
