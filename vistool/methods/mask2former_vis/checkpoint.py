"""Published Mask2Former weights as vistool checkpoints. Image and video weights have the same tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from torch import Tensor

from ...errors import WeightsError
from ...nn.presets import Mask2FormerSizes
from ...nn.published import from_published
from ...types import Category
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from .presets import PRESETS

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
SHORT_SIDE = {"resnet": 360, "swin": 480}  # pixels, by the backbone's kind
CONF = 0.3


def convert(tensors: Mapping[str, Tensor], layout: str, names: Sequence[str] = ()) -> Checkpoint:
    """Weights in one of `nn.published.LAYOUTS`, or "auto"; `names` are those of the classes, in order.

    A published file does not name its classes: without `names` they are `class_0`, `class_1` and so on. Raises
    WeightsError when a tensor is missing, left over or misshaped, or the number of names is not that of the classes.
    """
    sizes, ours = from_published(tensors, layout)
    if names and len(names) != sizes.num_classes:
        raise WeightsError(f"category names do not fit: {len(names)} (the checkpoint has {sizes.num_classes} classes)")
    words = names or [f"class_{label}" for label in range(sizes.num_classes)]
    info = CheckpointInfo(
        method="mask2former-vis",
        preset=preset_name(sizes),
        sizes=asdict(sizes),
        categories=tuple(Category(number, word) for number, word in enumerate(words, start=1)),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        short_side=SHORT_SIDE[sizes.backbone.partition("-")[0]],
        conf=CONF,
        training_data="not stated by the converted file",
        licence="that of the converted file",
    )
    return Checkpoint(info, ours)


def preset_name(sizes: Mask2FormerSizes) -> str:
    """The preset of these sizes whatever the classes; `custom` when there is none."""
    for name, preset in PRESETS.items():
        if replace(preset, num_classes=sizes.num_classes) == sizes:
            return name
    return "custom"
