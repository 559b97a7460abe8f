"""A data set of moving squares, a network of a few hundred weights that learns it, and a program that trains it.

Run as a program it is what the tests kill: `toy_training.py DATA OUT [--resume] [--plain] [--die-in-step]
[--die-in-save]`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from vistool import masks
from vistool.methods import METHODS, Method
from vistool.nn.targets import ClipTargets
from vistool.training import checkpoints
from vistool.training.loop import train
from vistool.training.options import TrainOptions
from vistool.types import Category, Frame, Track, VideoInfo

SIZE_HW = (48, 64)
FRAMES = 5
CATEGORIES = [{"id": 7, "name": "green"}, {"id": 3, "name": "red"}]  # labels: red 0, green 1
COLOURS = {3: (255, 0, 0), 7: (0, 255, 0)}


def write_squares(folder: Path, videos: int = 3) -> Path:
    """Image folders with a red square that moves and a green one that is there on the first two frames only."""
    document: dict[str, Any] = {"info": {"description": "squares"}, "categories": CATEGORIES}
    document |= {"videos": [], "annotations": []}
    rng = np.random.default_rng(0)
    for number in range(1, videos + 1):
        names = [f"{number}/{t}.png" for t in range(FRAMES)]
        height, width = SIZE_HW
        document["videos"].append(
            {"id": number, "file_names": names, "height": height, "width": width, "length": FRAMES}
        )
        pictures = rng.integers(0, 60, (FRAMES, *SIZE_HW, 3)).astype(np.uint8)
        for category_id, visible, top in ((3, range(FRAMES), 0), (7, range(2), 26)):  # one never hides the other
            y, x = top + rng.integers(6), rng.integers(20)
            segmentations: list[Any] = [None] * FRAMES
            for t in visible:
                mask = np.zeros(SIZE_HW, bool)
                mask[y : y + 16, x + 4 * t : x + 4 * t + 16] = True
                pictures[t][mask] = COLOURS[category_id]
                segmentations[t] = masks.to_json(masks.encode(mask))
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "video_id": number,
                    "category_id": category_id,
                    "segmentations": segmentations,
                    "iscrowd": 0,
                }
            )
        (folder / str(number)).mkdir(parents=True)
        for name, picture in zip(names, pictures, strict=True):
            cv2.imwrite(str(folder / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True)
class ToyPreset:
    num_classes: int = 80
    width: int = 8


class ToyNetwork(nn.Module):
    """frames (B, T, 3, H, W) → a map of logits for each class, (B, T, K, H, W)."""

    def __init__(self, preset: ToyPreset) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, preset.width, 3, padding=1), nn.BatchNorm2d(preset.width))
        self.shift = nn.Embedding(1, preset.width)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Conv2d(preset.width, preset.num_classes, 1)

    def forward(self, frames: Tensor) -> Tensor:
        features = self.backbone(frames.flatten(0, 1)) + self.shift.weight[0][:, None, None]
        return self.head(self.dropout(F.relu(features))).unflatten(0, frames.shape[:2])


class ToyRecipe:
    """Cross entropy per pixel at randomly drawn points, and dice."""

    presets: Mapping[str, ToyPreset] = {"tiny": ToyPreset()}

    def build(self, preset: ToyPreset) -> nn.Module:
        return ToyNetwork(preset)

    def start(self, preset: ToyPreset, parent: Any) -> Mapping[str, Tensor]:
        return parent.tensors

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        logits = network(frames).transpose(1, 2).flatten(3)  # (B, K, T, P)
        wanted = torch.zeros_like(logits)
        for row, target in zip(wanted, targets, strict=True):
            for label, planes in zip(target.labels.tolist(), target.masks, strict=True):
                row[label] = torch.maximum(row[label], planes.flatten(1).to(row.dtype))
        points = torch.randint(logits.shape[-1], (500,), device=logits.device)
        cross_entropy = F.binary_cross_entropy_with_logits(logits[..., points], wanted[..., points])
        probs = logits.sigmoid()
        dice = 1 - (2 * (probs * wanted).sum() + 1) / (probs.sum() + wanted.sum() + 1)
        return {"mask": 5 * cross_entropy, "dice": dice}


class PlainRecipe(ToyRecipe):
    """Without chance and without batch statistics: the mean over the clips, so that halves of a batch add up."""

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        red = torch.stack([target.masks[target.labels == 0].any(0) for target in targets])
        return {"red": F.binary_cross_entropy_with_logits(network.eval()(frames)[:, :, 0], red.float())}


class ColourModel:
    """Finds the squares by their colour, without a mistake."""

    @property
    def categories(self) -> tuple[Category, ...]:
        return (Category(3, "red"), Category(7, "green"))

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        tracks = []
        for label, category in enumerate(self.categories):
            seen = {frame.index: (frame.image == COLOURS[category.id]).all(-1) for frame in frames}
            found = {index: masks.encode(mask) for index, mask in seen.items() if mask.any()}
            scores = (0.9 * (1 - label), 0.9 * label)
            tracks.append(Track(label, label, 0.9, found, scores))
        return tuple(tracks)


def _never(*_: Any) -> Any:
    raise AssertionError("training does not call this")


def install(recipe: Any = ToyRecipe) -> None:
    """Put the method `toy` into the table."""
    METHODS["toy"] = Method(
        "squares", "none", ("offline",), "toy", 0, 0, (), lambda *_: ColourModel(), recipe, _never, _never
    )


def toy_options(data: Path, out: Path, **changes: Any) -> TrainOptions:
    """A run of a second."""
    few: dict[str, Any] = {"max_steps": 40, "batch": 4, "clip_frames": 2, "warmup": 4, "save_every": 5, "log_every": 5}
    few |= {"size_hw": (32, 48), "lr": 0.02, "ema": 0.9, "backbone_lr": 0.5, "scale_min": 0.7, "scale_max": 1.4}
    return TrainOptions(method="toy", data=data, out=out, **(few | changes))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingRecipe(ToyRecipe):
    """Kills its process in the middle of step 17."""

    def __init__(self) -> None:
        self.calls = 0

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        self.calls += 1
        if self.calls == 18:
            _die()
        return super().losses(network, frames, targets)


class DyingFile:
    """Kills its process half-way through the third state that is written."""

    def __init__(self) -> None:
        self.calls = 0

    def save(self, tensors: Any, path: Path, metadata: Any) -> None:
        save_file(tensors, path, metadata)
        self.calls += 1
        if self.calls == 3:
            os.truncate(path, path.stat().st_size // 2)
            _die()


if __name__ == "__main__":
    torch.set_num_threads(1)
    install(PlainRecipe if "--plain" in sys.argv else DyingRecipe if "--die-in-step" in sys.argv else ToyRecipe)
    if "--die-in-save" in sys.argv:
        checkpoints.save_file = DyingFile().save
    train(toy_options(Path(sys.argv[1]), Path(sys.argv[2])), resume="--resume" in sys.argv)
