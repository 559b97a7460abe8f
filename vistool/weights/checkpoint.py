"""The vistool checkpoint: one safetensors file whose metadata says everything needed to run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..types import Category

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    method: str  # a row of METHODS
    preset: str  # the name the sizes go by
    sizes: Mapping[str, Any]  # every field of the preset, so that the file runs when the presets have moved on
    categories: tuple[Category, ...]
    pixel_mean: tuple[float, float, float]  # RGB, of 0..255
    pixel_std: tuple[float, float, float]
    short_side: int  # pixels, of the network's input
    conf: float  # default score threshold for people
    training_data: str
    licence: str
    ap: Mapping[str, float] = field(default_factory=dict)  # data set → measured AP, a fraction
    parent: str | None = None  # key, or name and sha256, of the checkpoint this one started from
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and what they say of themselves."""

    info: CheckpointInfo
    tensors: Mapping[str, Tensor]  # float32
    name: str = ""  # the key or path it was asked for by
    sha256: str = ""  # of the file; empty for one that was never written
