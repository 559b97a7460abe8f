"""What `vistool eval` costs on made-up tracks: moving ellipses, annotated in run lengths, predicted in strings."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from block import print_block

from vistool import masks

SIZE_HW = (360, 640)
FRAMES = 36


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of files."""

    title: str
    videos: int = 100
    annotated: int = 4  # tracks a video
    predicted: int = 10
    categories: int = 20


CASES = [
    Case("100 videos, 20 categories"),
    Case("100 videos, 1 category", categories=1),
    Case("30 videos, 100 predictions each", videos=30, predicted=100),
]


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Where it is at first, its step a frame, its half axes; rows first."""

    center: Any
    step: Any
    axes: Any

    def masks(self) -> tuple[Any, ...]:
        height, width = SIZE_HW
        parts = []
        for t in range(FRAMES):
            (y, x), (a, b) = self.center + self.step * t, self.axes * (1 + 0.1 * np.sin(t / 5))
            top, left = max(0, int(y - a) - 1), max(0, int(x - b) - 1)
            rows = np.arange(top, max(top, min(height, int(y + a) + 2)))
            columns = np.arange(left, max(left, min(width, int(x + b) + 2)))[:, None]
            parts.append((((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1, (top, left)))
        return tuple(rle if masks.area(rle) else None for rle in masks.encode_parts(parts, SIZE_HW))


def make(case: Case, folder: Path) -> None:
    """Write gt.json and pred.json."""
    rng = np.random.default_rng(0)
    height, width = SIZE_HW
    videos, annotations, predictions = [], [], []
    for video in range(1, case.videos + 1):
        names = [f"{video}/{t}.jpg" for t in range(FRAMES)]
        videos.append({"id": video, "height": height, "width": width, "length": FRAMES, "file_names": names})
        objects = []
        for _ in range(case.annotated):
            center = rng.uniform([0.2 * height, 0.2 * width], [0.8 * height, 0.8 * width])
            ellipse = Ellipse(center, rng.normal(0, 3, 2), rng.uniform(50, 150, 2))
            category = int(rng.integers(1, case.categories + 1))
            objects.append((ellipse, category))
            annotations.append(_annotation(len(annotations) + 1, video, category, ellipse))
        for number in range(case.predicted):
            ellipse, category = objects[number % case.annotated]
            near = Ellipse(ellipse.center + rng.normal(0, 8, 2), ellipse.step, ellipse.axes * rng.uniform(0.8, 1.2, 2))
            if rng.random() < 0.3:
                category = int(rng.integers(1, case.categories + 1))
            track = [None if rle is None else masks.to_json(rle) for rle in near.masks()]
            entry = {"video_id": video, "category_id": category, "score": float(rng.random()), "segmentations": track}
            predictions.append(entry)
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, case.categories + 1)]
    truth = {"videos": videos, "categories": categories, "annotations": annotations}
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "pred.json").write_text(json.dumps(predictions))


def _annotation(key: int, video: int, category: int, ellipse: Ellipse) -> dict[str, Any]:
    track = ellipse.masks()
    return {
        "id": key,
        "video_id": video,
        "category_id": category,
        "iscrowd": 0,
        "segmentations": [
            None if rle is None else {"size": list(SIZE_HW), "counts": list(masks.to_counts(rle))} for rle in track
        ],
        "areas": [None if rle is None else masks.area(rle) for rle in track],
        "bboxes": [None if rle is None else list(masks.box_xywh(rle) or ()) for rle in track],
    }


def run(folder: Path, metrics: str) -> tuple[float, float, float, float]:
    """The whole command: CPU seconds, seconds, peak MB, and its AP."""
    command = [sys.executable, "-m", "vistool", "eval", "--gt", "gt.json", "--pred", "pred.json", "--metrics", metrics]
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "--json"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.load(process.stdout)
    _, _, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    return used.ru_utime + used.ru_stime, seconds, used.ru_maxrss / 1024, said.get("ap", {}).get("AP", float("nan"))


def main() -> None:
    """Print one row a case and choice of metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=0, help="also a data set of so many videos, such as 2000")
    arguments = parser.parse_args()
    cases = [*CASES, *([Case(f"{arguments.large} videos", videos=arguments.large)] if arguments.large else [])]
    rows = []
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # A process counts the memory of the one that started it as its own peak, so this one stays small.
            maker = get_context("spawn").Process(target=make, args=(case, folder))
            maker.start()
            maker.join()
            sizes = " + ".join(f"{(folder / file).stat().st_size / 1e6:.0f}" for file in ("gt.json", "pred.json"))
            for metrics in ("ap", "ap,identity,hota"):
                cpu, seconds, peak, ap = run(folder, metrics)
                rows.append([case.title, sizes, metrics, f"{cpu:.2f}", f"{seconds:.2f}", f"{peak:.0f}", f"{ap:.4f}"])
    header = ["tracks", "JSON in MB", "metrics", "CPU seconds", "seconds", "peak MB", "AP"]
    print_block("vistool eval", header, rows)


if __name__ == "__main__":
    main()
