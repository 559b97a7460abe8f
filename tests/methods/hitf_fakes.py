"""Clips with something to learn, a small preset, and a stream that says what a script has, for the tests of HITF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from moving_clips import H, W
from torch import Tensor

from vistool.methods.hitf.network import FrameOutput, Hitf
from vistool.methods.hitf.presets import PRESETS, Preset
from vistool.types import Category, Frame
from vistool.weights.checkpoint import CheckpointInfo

K, L = 3, 5
BACKBONE: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [8, 12, 16, 24],
    "depths": [1, 1, 1, 2],
    "layer_type": "basic",
}
SMALL = replace(
    PRESETS["tiny-slots"],
    backbone="resnet",
    backbone_sizes=BACKBONE,
    num_classes=K,
    slots=L,
    max_slots=6,
    dim=16,
    heads=2,
    key_width=16,
    value_width=16,
    ffn=32,
    decoder_width=16,
    empty_weight=1.0,
    least_weight=1e-5,
    low_width=8,
    mask_width=8,
)


def info(preset: Preset = SMALL, **changes: Any) -> CheckpointInfo:
    from dataclasses import asdict

    described = CheckpointInfo(
        method="hitf",
        preset="tiny",
        sizes=asdict(preset),
        categories=tuple(Category(number, f"class {number}") for number in range(1, preset.num_classes + 1)),
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
        short_side=H,
        conf=0.3,
        training_data="none",
        licence="none",
    )
    return replace(described, **changes)


def network(preset: Preset = SMALL, *, seed: int = 0) -> Hitf:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Hitf(preset)


def talkative(preset: Preset = SMALL, *, seed: int = 0) -> Hitf:
    """Random weights under which frames have objects, and none of its parts is at its start."""
    made = network(preset, seed=seed).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
        made.heads.mask_norm.gain.fill_(8.0)
        made.heads.cls[1].bias.zero_()
        made.heads.cls[1].weight.mul_(5)
    return made


Box = tuple[int, int, int, int]  # y0, x0, y1, x1 in pixels, multiples of four
Said = Mapping[int, tuple[int, Box]]  # slot → label and box; a slot that is not there holds nothing


def output(said: Said, size_hw: tuple[int, int] = (H, W), *, slots: int = L, sure: float = 8.0) -> FrameOutput:
    """What a network that is sure of itself says; slots that hold nothing share what is left."""
    class_logits = torch.zeros(1, slots, K + 1)
    class_logits[..., K] = sure
    mask_logits = torch.zeros(1, slots, -(-size_hw[0] // 4), -(-size_hw[1] // 4))
    for slot, (label, (top, left, bottom, right)) in said.items():
        class_logits[0, slot, K], class_logits[0, slot, label] = 0, sure
        mask_logits[0, slot] = -sure
        mask_logits[0, slot, top // 4 : bottom // 4, left // 4 : right // 4] = sure
    return FrameOutput(class_logits, mask_logits, features=mask_logits[:, :1], semantic_logits=None)


class Script:
    """In place of a stream: what is said of one frame after the other, whatever it shows."""

    def __init__(self, script: Sequence[Said]) -> None:
        self._rest = iter(script)

    def step(self, frames: Tensor) -> FrameOutput:
        return output(next(self._rest), (frames.shape[2], frames.shape[3]))


def frame(number: int, size_hw: tuple[int, int] = (H, W)) -> Frame:
    return Frame(number, number / 10, np.zeros((*size_hw, 3), np.uint8))
