"""What every benchmark prints above its table, machine, versions and command; and how time and memory are counted."""

from __future__ import annotations

import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path


def print_block(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One block that says all that is needed to run it again."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "av", "numpy", "opencv-python-headless"))
    print(f"## {title}\n")
    print(f"machine:  {_processor()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"versions: Python {platform.python_version()}, {versions}")
    print(f"command:  python {shlex.join(sys.argv)}\n")
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, ["-" * width for width in widths], *rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    print()


def milliseconds(run: Callable[[], object], rounds: int) -> float:
    """Median; the first round is for warming up."""
    run()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def peak_mb() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
