"""Whether a long video stays as it began: memory and time a frame of an online method, early and late.

A video is played forwards and backwards until there are enough frames; tracks come and go at every turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import torch
from block import peak_mb, print_block

from vistool.methods import METHODS
from vistool.methods.loading import load_model
from vistool.protocols import OnlineModel
from vistool.types import Frame
from vistool.video import open_video

EXAMPLE = Path(__file__).parents[1] / "examples" / "shapes.mp4"
EARLY = slice(50, 150)


def frames(video: Path, count: int) -> Iterator[Frame]:
    """There and back again, numbered on."""
    source = open_video(video)
    try:
        there = list(source)
    finally:
        source.close()
    for index, frame in enumerate(islice(cycle([*there, *there[-2:0:-1]]), count)):
        yield replace(frame, index=index, time_s=index / 25)


def measure(model: OnlineModel, video: Path, count: int) -> list[list[str]]:
    """What is told of a frame is dropped at once, as a writer would."""
    source = open_video(video)
    tracker = model.begin(source.info)
    source.close()
    times, rows, ids = [], [], set()
    for frame in frames(video, count):
        begun = time.perf_counter()
        found = tracker.step(frame)
        times.append(time.perf_counter() - begun)
        ids.update(found.track_ids.tolist())
        if frame.index + 1 in (count // 5, count):
            rows.append([f"peak memory after {frame.index + 1} frames", f"{peak_mb():.0f} MB", ""])
    early, late = (1000 * statistics.median(times[part]) for part in (EARLY, slice(-100, None)))
    rows.append([f"a frame, {EARLY.start} to {EARLY.stop}", f"{early:.1f} ms", ""])
    rows.append(["a frame, the last 100", f"{late:.1f} ms", f"{early / late:.2f} times the speed"])
    return [*rows, ["tracks told", str(len(ids)), ""]]


def main() -> None:
    """Print one table a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    online = [name for name, row in METHODS.items() if row.modes[0] == "online"]
    parser.add_argument("--methods", nargs="+", default=["refinevis"], choices=online)
    parser.add_argument("--weights", help="key or path; default: those of the method")
    parser.add_argument("--video", type=Path, default=EXAMPLE)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for method in arguments.methods:
        model = load_model(method, arguments.weights)
        rows = measure(model, arguments.video, arguments.frames)
        print_block(f"`{method}`, {arguments.video.name} there and back", ["what", "measured", ""], rows)


if __name__ == "__main__":
    main()
