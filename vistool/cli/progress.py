"""How far a video is, on stderr: a bar on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..types import Frame

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
    start = last = time.monotonic()
    count = 0

    def on_frame(frame: Frame) -> None:
        nonlocal last, count
        count += 1
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            of_total = f" of {total}" if total else ""
            typer.echo(f"{count}{of_total} frames, {count / (now - start):.1f} a second", err=True)

    return on_frame
