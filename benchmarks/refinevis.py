"""What RefineVIS adds to its image model: association and refinement a frame, and memory over a long video."""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction

import numpy as np
import torch
from block import print_block
from torch import Tensor, nn

from vistool.methods.refinevis.association import TrackMemory, mask_iou
from vistool.methods.refinevis.inference import RefineVisModel
from vistool.methods.refinevis.network import RefineVis
from vistool.methods.refinevis.presets import PRESETS, Preset
from vistool.nn.image_model import FrameObjects
from vistool.types import Category, Frame, RunOptions, VideoInfo
from vistool.weights.checkpoint import CheckpointInfo

SIZE_HW = (384, 640)
DETECTIONS, TRACKS, DIM = 20, 50, 256
SMALL_HW = (64, 96)


def milliseconds(run: Callable[[], object], rounds: int) -> float:
    """Median of several."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def association(rounds: int) -> list[list[str]]:
    """Every frame shows some of the known tracks, a little changed."""
    rng = np.random.default_rng(0)
    tracks = rng.normal(size=(TRACKS, DIM)).astype(np.float32)
    memory = TrackMemory(PRESETS["r50"])
    apart, scores = np.eye(TRACKS, dtype=np.float32), np.linspace(0.9, 0.5, TRACKS, dtype=np.float32)
    memory.associate(scores, tracks, apart)
    planes = rng.random((DETECTIONS, SIZE_HW[0] // 4, SIZE_HW[1] // 4)) < 0.1

    def frame() -> None:
        seen = rng.permutation(TRACKS)[:DETECTIONS]
        looks = tracks[seen] + rng.normal(scale=0.1, size=(DETECTIONS, DIM)).astype(np.float32)
        memory.associate(scores[:DETECTIONS], looks, apart[:DETECTIONS, :DETECTIONS])

    named = f"{DETECTIONS} detections, {TRACKS} tracks"
    return [
        ["association", named, f"{milliseconds(frame, rounds):.2f} ms"],
        ["overlap of the masks", named, f"{milliseconds(lambda: mask_iou(planes), rounds):.2f} ms"],
    ]


@torch.inference_mode()
def refinement(name: str, rounds: int) -> list[list[str]]:
    """The image model on one frame, and the refinement of all tracklets on it."""
    preset = PRESETS[name]
    network = RefineVis(preset).eval()
    frame = torch.randn(1, 3, *SIZE_HW)
    tokens = torch.randn(TRACKS, preset.window, preset.image["dim"])
    times = torch.arange(preset.window).expand(TRACKS, -1)
    there = torch.ones(TRACKS, preset.window, dtype=torch.bool)
    network.image(frame)
    image_ms = milliseconds(lambda: network.image(frame), max(3, rounds // 50))
    tar_ms = milliseconds(lambda: network.tar(tokens, times, there, there, last=1), rounds)
    size = "x".join(map(str, SIZE_HW))
    return [
        [f"image model of `{name}`", size, f"{image_ms:.0f} ms"],
        ["refinement", f"{TRACKS} tracklets, {preset.window} frames", f"{tar_ms:.2f} ms"],
        ["refinement / image model", "", f"{100 * tar_ms / image_ms:.2f} %"],
    ]


class Crowd(nn.Module):
    """An image model that sees objects come and go, none of which stays for long."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.class_count, self.dim, self.generator = classes, dim, torch.Generator().manual_seed(0)

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        height, width = SMALL_HW[0] // 4, SMALL_HW[1] // 4
        draw = torch.rand(1, DETECTIONS, self.dim, generator=self.generator)
        boxes = torch.cat([draw[..., :2], 0.1 + 0.1 * draw[..., 2:4]], dim=-1)
        return FrameObjects(draw, self.classes(draw), boxes, torch.rand(1, height, width, generator=self.generator))

    def classes(self, embeddings: Tensor) -> Tensor:
        return 4 * embeddings[..., : self.class_count] - 2

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        return pixels[0] + embeddings[:, :1, None] - 1.5

    def association(self, objects: FrameObjects) -> Tensor:
        return objects.embeddings


def long_video(preset: Preset, frames: int) -> list[list[str]]:
    """Memory of the process along a video of a crowd, frame by frame, after the results of each are dropped."""
    preset = replace(preset, contrastive_head=False)
    network = RefineVis(preset).eval()
    network.image = Crowd(preset.num_classes, preset.image["dim"])
    categories = tuple(Category(number + 1, str(number)) for number in range(preset.num_classes))
    facts = {"training_data": "none", "licence": "none", "pixel_mean": (0.0, 0.0, 0.0), "pixel_std": (1.0, 1.0, 1.0)}
    info = CheckpointInfo("refinevis", "tiny", asdict(preset), categories, short_side=SMALL_HW[0], conf=0.3, **facts)
    model = RefineVisModel(network, info, RunOptions())
    tracker = model.begin(VideoInfo("crowd", SMALL_HW, Fraction(25), frames))
    rows = []
    for index in range(frames):
        tracker.step(Frame(index, index / 25, np.zeros((*SMALL_HW, 3), np.uint8)))
        if index + 1 in (frames // 5, frames):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rows.append(["peak memory of the process", f"after {index + 1} frames", f"{peak:.0f} MB"])
    return rows


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="r50-hid1024", choices=PRESETS)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    rows = long_video(PRESETS["tiny"], arguments.frames)
    rows += association(arguments.rounds) + refinement(arguments.preset, arguments.rounds)
    print_block("RefineVIS, a frame", ["what", "of", "measured"], rows)


if __name__ == "__main__":
    main()
