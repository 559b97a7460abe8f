"""AP of a method on annotated videos, by running it as a user would, with the benchmark's ranking."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from block import print_block

from vistool.cli.measuring import NUMBERS, ap_measure
from vistool.methods import METHODS
from vistool.weights import load


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, help="YTVIS JSON beside its videos")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--weights", help="key or path; default: those of the method")
    arguments = parser.parse_args()
    rows = []
    for method in arguments.methods:
        checkpoint = load(arguments.weights or METHODS[method].default_weights, method)
        begun = time.perf_counter()
        numbers = ap_measure(arguments.annotations, 0, method=method, device="cpu")(checkpoint)
        rows.append([method, *(f"{numbers[name]:.3f}" for name in NUMBERS), f"{time.perf_counter() - begun:.0f} s"])
    print_block(str(arguments.annotations.parent.name), ["method", *NUMBERS, "time"], rows)


if __name__ == "__main__":
    main()
