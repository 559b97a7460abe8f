"""How long a command takes before it does anything. Processor time of whole processes, median of several."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

from block import print_block

RUNS = 15
COMMANDS = {
    "vistool --help": ["-m", "vistool", "--help"],
    "vistool segment --help": ["-m", "vistool", "segment", "--help"],
    "vistool methods": ["-m", "vistool", "methods"],
    "import vistool": ["-c", "import vistool"],
    "python -c pass": ["-c", "pass"],
}


def main() -> None:
    """Print one row a command."""
    rows = []
    for name, arguments in COMMANDS.items():
        walls, processors = zip(*(_run(arguments) for _ in range(RUNS)), strict=True)
        rows.append([name, f"{statistics.median(walls):.3f} s", f"{statistics.median(processors):.3f} s"])
    print_block("Start-up", ["command", "wall", "processor"], rows)


def _run(arguments: list[str]) -> tuple[float, float]:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, used


if __name__ == "__main__":
    main()
