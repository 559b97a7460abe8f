"""Published weights as an MS-STS that gives their own quality before any training.

SeqFormer's become its release profile, in which nothing is untrained. Deformable DETR's lack masks, and say so.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Literal

import torch
from torch import Tensor

from ...errors import WeightsError
from ...types import Category
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.foreign import Foreign
from ..published_info import CONF, PIXEL_MEAN, PIXEL_STD
from .class_columns import columns
from .image_names import MASK_PARTS, SOURCES, from_images
from .names import NEVER_RUN, from_published
from .network import Msts
from .presets import PRESETS, Preset

LAYOUTS = ("seqformer", *SOURCES)
SHORT_SIDE = 360
DROPPED = "attention over frames that its own code never runs is left out"
NO_MASKS = "what makes masks is random"
NOT_REFINED = "; boxes are not refined from layer to layer"


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is one of LAYOUTS; WeightsError when a tensor is missing, left over or of another shape."""
    if layout not in LAYOUTS:
        raise WeightsError(f"unknown layout: `{layout}`", hint=f"one of: {', '.join(LAYOUTS)}")
    if layout == "seqformer":
        preset, tensors = from_published(foreign.tensors)
        dropped = any(NEVER_RUN in key for key in foreign.tensors)
        return Checkpoint(_describe(preset, "videos", notes=DROPPED if dropped else ""), tensors)
    preset, tensors, refines = from_images(foreign.tensors, layout)
    untrained = NO_MASKS if refines else NO_MASKS + NOT_REFINED
    return Checkpoint(_describe(preset, "images", untrained=untrained), tensors | _fresh_masks(preset))


def _fresh_masks(preset: Preset) -> dict[str, Tensor]:
    """Random, the same each time; without them all masks would be empty, and no training would begin."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = Msts(preset).state_dict()
    return {name: tensor for name, tensor in fresh.items() if name.startswith(MASK_PARTS)}


def _describe(
    preset: Preset, trained_on: Literal["images", "videos"], *, notes: str = "", untrained: str = ""
) -> CheckpointInfo:
    """Classes are called by the numbers of their columns: `class_1`, `class_2` and so on."""
    first = 1 if preset.class_columns == "classes" else 0
    return CheckpointInfo(
        method="msts",
        preset=preset_name(preset),
        sizes=asdict(preset),
        categories=tuple(Category(first + column, f"class_{column}") for column in columns(preset)),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        short_side=SHORT_SIDE,
        conf=CONF,
        training_data="not stated by the converted file",
        licence="that of the converted file",
        notes=notes,
        trained_on=trained_on,
        untrained=untrained,
    )


def preset_name(preset: Preset) -> str:
    """The preset of these sizes, whatever the classes; `custom` when there is none."""
    plain = replace(preset, num_classes=PRESETS["r50"].num_classes, class_columns="classes")
    return next((name for name, known in PRESETS.items() if known == plain), "custom")
