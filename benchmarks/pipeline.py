"""Where the time of `vistool segment` goes, and how memory grows with the length of the video.

Decoding, network and writing are timed where they happen; what is left of the whole is the rest: resizing, upsampling,
run lengths, joining. The film is made of procedural shapes at 640x360.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from block import print_block

import vistool
from vistool.shapes.dataset import SPLITS
from vistool.shapes.drawing import pictures
from vistool.shapes.scene import compose
from vistool.video.writing import VideoWriter

RATE = Fraction(25)
SIZE_HW = (360, 640)
SCENE_FRAMES = 60


class Stopwatch:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds = {"decode": 0.0, "network": 0.0, "write": 0.0}

    def timed(self, name: str, function: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - begun

        return run


class TimedSource:
    """A source whose frames are timed."""

    def __init__(self, source: vistool.FrameSource, watch: Stopwatch) -> None:
        self.source, self.watch, self.info = source, watch, source.info

    def __iter__(self) -> Iterator[vistool.Frame]:
        frames = iter(self.source)
        following = self.watch.timed("decode", lambda: next(frames, None))
        while (frame := following()) is not None:
            yield frame

    def close(self) -> None:
        self.source.close()


def make_film(path: Path, frames: int) -> None:
    """Scenes of shapes, one after another."""
    writer = VideoWriter(path, SIZE_HW, frame_rate=RATE)
    written = 0
    while written < frames:
        rng = np.random.default_rng([7, written % (5 * SCENE_FRAMES)])
        setting = replace(SPLITS["shapes-val"].setting, size_hw=SIZE_HW, frames=SCENE_FRAMES, objects=(4, 6))
        for image in pictures(compose(rng, setting), rng):
            if written < frames:
                writer.write(image, float(written / RATE))
                written += 1
    writer.finish()


def measure(method: str, film: Path, outs: list[Path]) -> dict[str, float]:
    """Seconds by stage, and of the whole."""
    watch = Stopwatch()
    row = vistool.METHODS[method]
    model = vistool.load_model(method)
    parts = _network_parts(method)
    plain = [part.forward for part in parts]
    source = TimedSource(vistool.open_video(film), watch)
    writers = []
    for out in outs:
        writer: Any = vistool.open_writer(
            str(out), categories=model.categories, video=source.info, facts={}, overwrite=True
        )
        writer.write_frame = watch.timed("write", writer.write_frame)
        writer.finish = watch.timed("write", writer.finish)
        writers.append(writer)
    for part in parts:
        part.forward = _as_method(watch.timed("network", part.forward))
    try:
        begun = time.perf_counter()
        ranking = vistool.Ranking(conf=0.3)
        vistool.run(source, model, writers, mode="offline", window=row.window, overlap=row.overlap, ranking=ranking)
        whole = time.perf_counter() - begun
    finally:
        for part, forward in zip(parts, plain, strict=True):
            part.forward = forward
        source.close()
    return {**watch.seconds, "rest": whole - sum(watch.seconds.values()), "whole": whole}


def _as_method(timed: Any) -> Any:
    return lambda self, *arguments: timed(self, *arguments)


def _network_parts(method: str) -> tuple[Any, Any]:
    """What goes over frames, and over windows of them."""
    from vistool.methods.ifr.network import IfrDecoder
    from vistool.nn.masked_decoder import MaskedDecoder
    from vistool.nn.trunk import FrameTrunk

    return FrameTrunk, {"ifr": IfrDecoder, "mask2former-vis": MaskedDecoder}[method]


def peak_mb(method: str, film: Path, out: Path) -> float:
    """Peak memory of the whole command, as it reports it itself."""
    command = [sys.executable, "-m", "vistool", "segment", str(film), "--method", method, "-o", str(out)]
    done = subprocess.run([*command, "--overwrite", "--json", "-q"], capture_output=True, check=True, text=True)
    return float(json.loads(done.stdout)["peak_rss_mb"])


def main() -> None:
    """Print the table of times and the table of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="ifr", choices=["ifr", "mask2former-vis"])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--long", type=int, default=3000, help="frames of the long film; 0: no table of memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_film(folder / "film.mp4", arguments.frames)
        rows = []
        for outs in (["tracks.json"], ["tracks.json", "overlay.mp4"]):
            seconds = measure(arguments.method, folder / "film.mp4", [folder / out for out in outs])
            beside = seconds["decode"] + seconds["rest"] + seconds["write"]
            stages = [f"{1000 * seconds[s] / arguments.frames:.1f}" for s in ("decode", "network", "rest", "write")]
            rate = f"{arguments.frames / seconds['whole']:.1f}"
            rows.append([" + ".join(outs), *stages, rate, f"{100 * beside / seconds['network']:.1f} %"])
        header = ["outputs", "decode", "network", "rest", "write", "frames/s", "all but network / network"]
        print_block(f"{arguments.method}, {arguments.frames} frames of 640x360, ms a frame", header, rows)
        if arguments.long:
            make_film(folder / "long.mp4", arguments.long)
            short, long = (
                peak_mb(arguments.method, folder / film, folder / "out.json") for film in ("film.mp4", "long.mp4")
            )
            rows = [
                [str(arguments.frames), f"{short:.0f} MB", "1"],
                [str(arguments.long), f"{long:.0f} MB", f"{long / short:.3f}"],
            ]
            print_block(f"{arguments.method}, peak memory of the command", ["frames", "peak", "ratio"], rows)


if __name__ == "__main__":
    main()
