"""A network whose image model reads from a script what is on a frame, and small presets, for the tests of IAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vistool.methods.iai.association import Associated, FrameTokens, HybridAssociation
from vistool.methods.iai.memory import Memory, Remembered
from vistool.methods.iai.network import Iai
from vistool.methods.iai.presets import Preset
from vistool.nn.detector import Detections
from vistool.nn.letterbox import Letterbox
from vistool.types import Category, Frame
from vistool.weights.checkpoint import CheckpointInfo

K, N = 3, 20
SIZE = (64, 96)  # pixels of the frames, as the network sees them
C5 = 24  # channels
PRESET = Preset(image={}, backbone="none", num_classes=K, max_ids=N, dim=8, memory_heads=2, self_heads=2, ffn=32)
INFO = CheckpointInfo(
    method="iai",
    preset="tiny",
    sizes={},
    categories=tuple(Category(number, f"class {number}") for number in range(1, K + 1)),
    pixel_mean=(0.0, 0.0, 0.0),
    pixel_std=(1.0, 1.0, 1.0),
    short_side=SIZE[0],
    conf=0.3,
    training_data="none",
    licence="none",
)


@dataclass(frozen=True)
class Shot:
    """What the script has of one object on one frame."""

    box: tuple[int, int, int, int]  # x0, y0, x1, y1, multiples of four; the mask fills it
    ids: Mapping[int, float] = field(default_factory=lambda: {-1: 0.9})  # what the head says of identities; -1: new
    label: int = 0
    score: float = 0.8
    quality: float = 1.0


Script = Sequence[Sequence[Shot]]


class ScriptedDetector(nn.Module):
    """A `Detector` that finds what the script has for the frame whose number the first pixel says."""

    in_channels = (3, C5)

    def __init__(self, script: Script, ids: int = N) -> None:
        super().__init__()
        self.script, self.ids = script, ids

    def detect(self, maps: tuple[Tensor, ...], size_hw: tuple[int, int]) -> Detections:
        shots = self.script[round(float(maps[0][0, 0, 0, 0]))]
        class_scores, id_scores = torch.full((len(shots), K), 0.01), torch.full((len(shots), self.ids), 0.01)
        for row, shot in enumerate(shots):
            class_scores[row, shot.label] = shot.score
            for number, score in shot.ids.items():
                id_scores[row, number] = score
        height, width = maps[0].shape[-2:]
        boxes = torch.tensor([shot.box for shot in shots], dtype=torch.float32).view(-1, 4)
        return Detections(
            class_scores,
            id_scores,
            quality=torch.tensor([shot.quality for shot in shots]),
            boxes=boxes,
            levels=torch.zeros(len(shots), dtype=torch.int64),
            handles=boxes,
            pixels=torch.zeros(1, height // 4, width // 4),
        )

    def masks(self, found: Detections, rows: Tensor) -> Tensor:
        assert isinstance(found.pixels, Tensor)
        probs = found.pixels.repeat(len(rows), 1, 1)
        for prob, box in zip(probs, found.handles[rows].div(4).long().tolist(), strict=True):
            prob[box[1] : box[3], box[0] : box[2]] = 1
        return probs


class ScriptedNetwork(nn.Module):
    """The seams of `Iai`: what it looks at is the frame itself, and the association is a real one."""

    def __init__(self, script: Script, preset: Preset = PRESET) -> None:
        super().__init__()
        self.preset = preset
        self.detector = ScriptedDetector(script, preset.max_ids)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.association = HybridAssociation(preset, C5)
        self.eval()

    def look(self, frames: Tensor) -> tuple[Tensor, ...]:
        cells = torch.nn.functional.avg_pool2d(frames, 32)
        return frames, cells.repeat(1, C5 // 3, 1, 1)

    def associate(self, c5: Tensor, memory: Memory | None) -> Associated:
        return cast(Associated, self.association(c5, memory))

    def remember(self, seen: FrameTokens, id_masks: Tensor) -> Remembered:
        return self.association.remember(seen, id_masks)


def scripted(script: Script, **rules: Any) -> Iai:
    return cast(Iai, ScriptedNetwork(script, replace(PRESET, **rules)))


def numbered(number: int, size_hw: tuple[int, int] = SIZE) -> Frame:
    """The frame that the script's entry `number` is for."""
    return Frame(number, number / 10, np.full((*size_hw, 3), number, np.uint8))


def picture(number: int, size_hw: tuple[int, int] = SIZE) -> Tensor:
    """The same as the network takes it, (1, 3, H, W)."""
    return torch.full((1, 3, *size_hw), float(number))


def letterbox(size_hw: tuple[int, int] = SIZE) -> Letterbox:
    height, width = (-(-side // 32) * 32 for side in size_hw)
    return Letterbox(size_hw, size_hw, (height, width))


def place(number: int) -> tuple[int, int, int, int]:
    """One of 24 boxes that do not touch."""
    row, column = divmod(number, 6)
    return (16 * column, 16 * row, 16 * column + 12, 16 * row + 12)


def fill(module: nn.Module, seed: int = 0) -> None:
    """Random numbers in every parameter, also in those that start at zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=random))
