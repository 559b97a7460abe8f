"""A ResNet trained on ImageNet as the start of an HITF whose other parts are fresh: no weights of it are public.

Two ways of naming its tensors are read: that of transformers (`microsoft/resnet-50`) and that of torchvision and timm.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import torch

from ...errors import WeightsError
from ...nn.backbones import MSRA
from ...nn.published_names import Layout, Row
from ...nn.published_tensors import Shapes, from_layout
from ...nn.resnet_names import resnet_of, torchvision_rows
from ...types import Category
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.foreign import Foreign
from .network import Hitf
from .presets import PRESETS, Preset

LAYOUTS = ("imagenet-resnet",)
CONF = 0.3
SHORT_SIDE = 360  # pixels, of a frame of 16:9 whose long side has 641
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
UNTRAINED = "only the backbone is trained: it finds nothing before `vistool train --init`"

_NETWORK = "a ResNet"
_BODY = "encoder.backbone.body."
_COUNTER = "*.num_batches_tracked"
_TRANSFORMERS = Layout((Row(_BODY + _COUNTER, None), Row(_BODY + "*", "resnet.*")), ignored=("classifier.*", _COUNTER))
_TORCHVISION = Layout(torchvision_rows(_BODY, ""), ignored=("fc.*", _COUNTER))
_BASE = "r50-ytvis2019"


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is one of LAYOUTS; WeightsError when a tensor is missing, left over or of another shape."""
    if layout not in LAYOUTS:
        raise WeightsError(f"unknown layout: `{layout}`", hint=f"one of: {', '.join(LAYOUTS)}")
    names = _TORCHVISION if "conv1.weight" in foreign.tensors else _TRANSFORMERS
    backbone, sizes = resnet_of(Shapes(foreign.tensors, names, _NETWORK), _BODY)
    in_first = MSRA if foreign.config.get("downsample_in_bottleneck") else ""
    preset = replace(PRESETS[_BASE], backbone=backbone + in_first, backbone_sizes=sizes)
    fresh = _fresh(preset)
    wanted = {name: tensor for name, tensor in fresh.items() if name.startswith(_BODY)}
    return Checkpoint(_describe(preset), fresh | from_layout(foreign.tensors, names, wanted, _NETWORK))


def _fresh(preset: Preset) -> dict[str, torch.Tensor]:
    """The same on every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(Hitf(preset).state_dict())


def _describe(preset: Preset) -> CheckpointInfo:
    """Classes are numbered: `class_0`, `class_1` and so on."""
    return CheckpointInfo(
        method="hitf",
        preset=_BASE if preset == PRESETS[_BASE] else "custom",
        sizes=asdict(preset),
        categories=tuple(Category(label + 1, f"class_{label}") for label in range(preset.num_classes)),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        short_side=SHORT_SIDE,
        conf=CONF,
        training_data="ImageNet (the backbone alone)",
        licence="that of the converted file",
        trained_on="images",
        untrained=UNTRAINED,
    )
