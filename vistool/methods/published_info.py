"""What a converted public checkpoint says of itself, for the methods that stand on Mask2Former."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from ..nn.presets import Mask2FormerSizes
from ..types import Category
from ..weights.checkpoint import CheckpointInfo

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
SHORT_SIDE = {"resnet": 360, "swin": 480}  # pixels, by the backbone's kind
CONF = 0.3


def describe(method: str, sizes: Mask2FormerSizes, presets: Mapping[str, Mask2FormerSizes]) -> CheckpointInfo:
    """The facts of a file that carries tensors only. It does not name its classes: `class_0`, `class_1` and so on."""
    words = [f"class_{label}" for label in range(sizes.num_classes)]
    return CheckpointInfo(
        method=method,
        preset=preset_name(sizes, presets),
        sizes=asdict(sizes),
        categories=tuple(Category(number, word) for number, word in enumerate(words, start=1)),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        short_side=SHORT_SIDE[sizes.backbone.partition("-")[0]],
        conf=CONF,
        training_data="not stated by the converted file",
        licence="that of the converted file",
    )


def preset_name(sizes: Mask2FormerSizes, presets: Mapping[str, Mask2FormerSizes]) -> str:
    """The preset of these sizes whatever the classes; `custom` when there is none."""
    for name, preset in presets.items():
        if replace(preset, num_classes=sizes.num_classes) == sizes:
            return name
    return "custom"
