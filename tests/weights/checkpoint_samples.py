"""Tiny checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vistool.types import Category
from vistool.weights.checkpoint import CheckpointInfo

INFO = CheckpointInfo(
    method="ifr",
    preset="tiny",
    sizes={"dim": 8, "name": "small", "ratio": 0.5, "flag": True, "none": None, "levels": [1, 2]},
    categories=(Category(1, "ring"), Category(4, "étoile")),
    pixel_mean=(123.5, 116.0, 103.0),
    pixel_std=(58.0, 57.0, 57.5),
    short_side=96,
    conf=0.25,
    training_data="nothing",
    licence="Apache-2.0",
    ap={"shapes-val": 0.41},
    parent="another",
    notes="a sample",
)


def info(**changes: Any) -> CheckpointInfo:
    return replace(INFO, **changes)


def tensors(seed: int = 0) -> dict[str, Tensor]:
    """Halves and quarters, which fp16 holds exactly; one of each kind that a network has."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "stem.weight": torch.randint(-8, 8, (4, 3), generator=generator) / 4,
        "head.bias": torch.tensor(0.5),
        "norm.running_mean": torch.zeros(4),
        "norm.num_batches_tracked": torch.tensor(70000),
    }
