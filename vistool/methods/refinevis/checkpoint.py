"""Published weights of image models as a RefineVIS that gives their own quality before any training.

The temporal refinement starts as the identity, and nothing is told of frames without a detection: what it would make of
an empty token means nothing yet. Without a head that was made for association, queries are compared by their cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ...errors import WeightsError
from ...types import Category
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.foreign import Foreign
from ..published_info import CONF, PIXEL_MEAN, PIXEL_STD, SHORT_SIDE
from .presets import OVIS, PRESETS, ImageModelName, Preset, without_classes
from .tar import TemporalRefinement

UNTRAINED = "the temporal refinement is the identity, and missed objects are not recovered"
UNTRAINED_ASSOCIATION = "; objects are told apart by the cosine of their queries"

Tensors = Mapping[str, Tensor]
Reader = Callable[[Tensors, str], tuple[Any, dict[str, Tensor]]]
"""Published tensors and their layout → sizes of the image model and its tensors, strict both ways."""


def _mask_dino(tensors: Tensors, layout: str) -> tuple[Any, dict[str, Tensor]]:
    from ...nn.mask_dino.names import from_published

    return from_published(tensors)


def _unenhanced(tensors: Tensors, layout: str) -> tuple[Any, dict[str, Tensor]]:
    """The tensors do not say whether first boxes come from masks."""
    sizes, ours = _mask_dino(tensors, layout)
    return replace(sizes, anchors="proposal"), ours


def _idol(tensors: Tensors, layout: str) -> tuple[Any, dict[str, Tensor]]:
    from ...nn.idol_detector.names import from_published

    return from_published(tensors)


def _mask2former(tensors: Tensors, layout: str) -> tuple[Any, dict[str, Tensor]]:
    from ...nn.published import from_published

    return from_published(tensors, layout)


@dataclass(frozen=True, slots=True)
class Source:
    """What is done with a layout."""

    image_model: ImageModelName
    read: Reader
    short_side: Mapping[str, int]  # pixels that the network sees, by the backbone's kind
    rules: Mapping[str, Any]  # of the preset, where the layout decides


_QUERIES_ALONE: Mapping[str, Any] = MappingProxyType({"similarity": "cosine"})
_LARGE: Mapping[str, int] = MappingProxyType({"resnet": 480, "swin": 720})

LAYOUTS: Mapping[str, Source] = MappingProxyType(
    {
        "maskdino": Source("maskdino", _mask_dino, _LARGE, _QUERIES_ALONE),
        "maskdino-unenhanced": Source("maskdino", _unenhanced, _LARGE, _QUERIES_ALONE),
        "idol": Source("idol", _idol, {"resnet": 480, "swin": 480}, {}),
        "transformers-mask2former": Source("mask2former", _mask2former, SHORT_SIDE, _QUERIES_ALONE),
        "detectron2-mask2former": Source("mask2former", _mask2former, SHORT_SIDE, _QUERIES_ALONE),
    }
)
OVIS_SHORT_SIDE = 720


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is one of LAYOUTS; WeightsError when a tensor is missing, left over or of another shape."""
    if layout not in LAYOUTS:
        raise WeightsError(f"unknown layout: `{layout}`", hint=f"one of: {', '.join(LAYOUTS)}")
    source = LAYOUTS[layout]
    sizes, image = source.read(foreign.tensors, layout)
    rules = {**source.rules, **(OVIS if sizes.num_classes == OVIS["num_classes"] else {})}
    preset = Preset(
        image_model=source.image_model,
        image=without_classes(sizes),
        contrastive_head=False,
        missing="null",
        **{**rules, "num_classes": sizes.num_classes},
    )
    tensors = {f"image.{name}": tensor for name, tensor in image.items()}
    return Checkpoint(_describe(preset, source), tensors | _identity(preset))


def _identity(preset: Preset) -> dict[str, Tensor]:
    """A temporal refinement that changes nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # its attention is random behind a zero output
        fresh = TemporalRefinement(preset, preset.image["dim"]).state_dict()
    return {f"tar.{name}": tensor for name, tensor in fresh.items()}


def _describe(preset: Preset, source: Source) -> CheckpointInfo:
    """Classes are numbered: `class_0`, `class_1` and so on."""
    kind = preset.image["backbone"].partition("-")[0]
    for_ovis = preset.num_classes == OVIS["num_classes"]
    return CheckpointInfo(
        method="refinevis",
        preset=preset_name(preset),
        sizes=asdict(preset),
        categories=tuple(Category(label + 1, f"class_{label}") for label in range(preset.num_classes)),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        short_side=max(source.short_side[kind], OVIS_SHORT_SIDE if for_ovis else 0),
        conf=CONF,
        training_data="not stated by the converted file",
        licence="that of the converted file",
        untrained=UNTRAINED + (UNTRAINED_ASSOCIATION if preset.similarity == "cosine" else ""),
    )


def preset_name(preset: Preset) -> str:
    """The preset of this image model and these thresholds, whatever the classes; `custom` when there is none."""

    def facts(one: Preset) -> tuple[object, ...]:
        return one.image_model, one.image, *(getattr(one, name) for name in OVIS if name != "num_classes")

    return next((name for name, known in PRESETS.items() if facts(known) == facts(preset)), "custom")
