"""Ctrl-C and SIGTERM end a run between two steps, with its state saved. A second one ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class StopRequest:
    """Whether somebody asked the run to stop, and by which signal."""

    signal: signal.Signals | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Notes the first SIGINT or SIGTERM instead of dying of it. Main thread only."""
    request = StopRequest()
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in handled}

    def note(number: int, _frame: FrameType | None) -> None:
        request.signal = signal.Signals(number)
        for each in handled:
            signal.signal(each, before[each])

    for number in handled:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number in handled:
            signal.signal(number, before[number])
