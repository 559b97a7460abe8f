"""Published weights as an IAI: released files of IAI, and image models, which then give their own quality.

An image model knows no identities and has nothing to mix in. Its pyramid reads C5 through one convolution, so there is
a start at which nothing changes: that convolution becomes the encoder projector, and the pyramid passes on what this
makes and nothing else. Objects are followed by the overlap of their masks until a head for identities is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isqrt
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from ...errors import WeightsError
from ...nn.backbones import MSRA
from ...nn.published_tensors import Shapes, from_layout
from ...types import Category
from ...weights.categories import category_list
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.foreign import Foreign
from .association import GROUPS, HybridAssociation
from .layout import ASSOCIATION, OURS, Tensors, parted
from .presets import FOLLOWED, PRESETS, Preset, without_counts

LAYOUTS = ("iai", "mmdet-condinst", "adelaidet-condinst", "torchvision-maskrcnn")
CONF = 0.2
UNTRAINED = "the association adds nothing, and objects are followed by the overlap of their masks"
SHORT_SIDE = 360  # pixels
IMAGE_SIDES: Mapping[str, tuple[int, int]] = MappingProxyType({"condinst": (480, 853), "maskrcnn": (800, 1333)})
"""Short and long side of what image models see: those of CondInst were trained on larger frames than IAI, and the
published quality of Mask R-CNN was measured at this size."""

_NETWORK = "IAI"
_SELF_HEADS = 4  # not to be seen in a shape
_CATEGORY_IDS = 90  # of COCO, with gaps: classes of a file that has one for each number

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _ImageModel:
    """A published file without IAI's modules, as a backbone and an image model of ours."""

    name: Literal["condinst", "maskrcnn"]
    backbone: str
    backbone_sizes: Mapping[str, Any]
    in_channels: tuple[int, ...]  # the last is what the file's pyramid reads in the place of C5
    sizes: Any  # of the image model, with its numbers of classes and identities
    tensors: dict[str, Tensor]  # `backbone.…` and `detector.…`
    lateral: str  # our name, without its end, of the convolution that the pyramid reads C5 through
    pixels: tuple[Triple, Triple]  # mean and standard deviation, RGB of 0..255


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is one of LAYOUTS; WeightsError when a tensor is missing, left over or of another shape."""
    if layout not in LAYOUTS:
        raise WeightsError(f"unknown layout: `{layout}`", hint=f"one of: {', '.join(LAYOUTS)}")
    if layout == "torchvision-maskrcnn":
        return _started(_mask_rcnn(foreign.tensors))
    association, others = parted(foreign.tensors) if layout == "iai" else ({}, foreign.tensors)
    image = _condinst(others, layout)
    return _released(image, association) if association else _started(image)


def _condinst(tensors: Tensors, layout: str) -> _ImageModel:
    from ...nn.condinst.layouts import PIXELS
    from ...nn.condinst.names import from_published

    read = from_published(tensors, layout)
    return _ImageModel(
        "condinst",
        read.backbone,
        read.backbone_sizes,
        read.in_channels,
        read.sizes,
        read.tensors,
        "detector.fpn.lateral.2",  # C3, C4, C5
        PIXELS[layout],
    )


def _mask_rcnn(tensors: Tensors) -> _ImageModel:
    from ...nn.mask_rcnn.names import PIXEL_MEAN, PIXEL_STD, from_published, of_classes

    read = from_published(tensors)
    if read.sizes.num_classes == _CATEGORY_IDS:
        read = of_classes(read, [category.id - 1 for category in category_list("coco")])
    return _ImageModel(
        "maskrcnn",
        read.backbone,
        read.backbone_sizes,
        read.in_channels,
        read.sizes,
        read.tensors,
        "detector.fpn.lateral.3",  # C2 to C5
        (PIXEL_MEAN, PIXEL_STD),
    )


def _released(image: _ImageModel, association: Tensors) -> Checkpoint:
    """The whole network, sizes read off the tensors."""
    shapes = Shapes(association, ASSOCIATION, _NETWORK)
    channels = shapes.of(OURS + "encoder_projector.weight")[1]
    heads, _, places = _three(shapes.of(OURS + "local_attention.place_values"))
    dim, painted = shapes.of(OURS + "id_bank.weight")[:2]
    if painted - 1 != image.sizes.num_ids:
        raise WeightsError(
            f"identities do not agree: `lstt.patch_wise_id_bank.weight` has {painted - 1} and the background, "
            f"`bbox_head.conv_id.weight` {image.sizes.num_ids}"
        )
    projected = shapes.of(OURS + "class_projector.bias")[0]
    preset = replace(
        _preset(image),
        max_ids=painted - 1,
        class_channels=None if projected == channels - 2 * dim else projected,
        dim=dim,
        self_heads=_SELF_HEADS,
        memory_heads=heads,
        local_window=isqrt(places),
        ffn=shapes.of(OURS + "ffn.inner.bias")[0],
    )
    if preset.ffn % GROUPS or dim % _SELF_HEADS:
        raise WeightsError(
            f"unknown widths: {dim} and {preset.ffn} (not multiples of {_SELF_HEADS} and {GROUPS}, of {_NETWORK})"
        )
    with torch.device("meta"):
        block = HybridAssociation(preset, channels)
    if block.out_channels != image.in_channels[-1]:
        raise WeightsError(
            f"widths do not agree: the association makes {block.out_channels} channels in the place of C5, "
            f"the pyramid reads {image.in_channels[-1]}"
        )
    wanted = {OURS + name: tensor for name, tensor in block.state_dict().items()}
    ours = from_layout(association, ASSOCIATION, wanted, _NETWORK)
    return Checkpoint(_describe(preset, image, SHORT_SIDE), image.tensors | ours)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Heads, channels of each and places of a window."""
    if len(shape) != 3 or isqrt(shape[2]) ** 2 != shape[2]:
        raise WeightsError(
            f"tensor does not fit: `lstt.LSTT.layers.0.short_term_attn.V_bias` (has shape {shape}, "
            "expected heads, channels and the places of a square window)"
        )
    return shape[0], shape[1], shape[2]


def _started(image: _ImageModel) -> Checkpoint:
    """The image model with an association that changes nothing."""
    weight, bias = image.tensors[f"{image.lateral}.weight"], image.tensors[f"{image.lateral}.bias"]
    dim, channels = weight.shape[:2]
    short_side, long_side = IMAGE_SIDES[image.name]
    preset = replace(_preset(image), class_projector=channels > 2 * dim, dim=dim, long_side=long_side, **FOLLOWED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = HybridAssociation(preset, channels)
    passes = torch.zeros(dim, fresh.out_channels, 1, 1)
    passes[:, :dim, 0, 0] = torch.eye(dim)
    tensors = {
        **image.tensors,
        f"{image.lateral}.weight": passes,
        f"{image.lateral}.bias": torch.zeros(dim),
        **{OURS + name: tensor for name, tensor in fresh.state_dict().items()},
        f"{OURS}encoder_projector.weight": weight,
        f"{OURS}encoder_projector.bias": bias,
    }
    return Checkpoint(_describe(preset, image, short_side, UNTRAINED), tensors)


_LARGE: Mapping[str, Any] = MappingProxyType({"class_threshold": 0.05, "nms_pre": 1000})
_CROWDED: Mapping[str, Any] = MappingProxyType({"max_per_frame": 50})


def _preset(image: _ImageModel) -> Preset:
    """What the image model decides, with the thresholds that the release uses for it."""
    large = _LARGE if image.backbone.startswith("resnet-101") else {}
    crowded = _CROWDED if image.sizes.num_classes == PRESETS["r50-ovis"].num_classes else {}
    return Preset(
        image_model=image.name,
        image=without_counts(image.sizes),
        backbone=image.backbone,
        backbone_sizes=image.backbone_sizes,
        num_classes=image.sizes.num_classes,
        **large,
        **crowded,
    )


def _describe(preset: Preset, image: _ImageModel, short_side: int, untrained: str = "") -> CheckpointInfo:
    """Classes are numbered: `class_0`, `class_1` and so on."""
    mean, std = image.pixels
    return CheckpointInfo(
        method="iai",
        preset=preset_name(preset),
        sizes=asdict(preset),
        categories=tuple(Category(label + 1, f"class_{label}") for label in range(preset.num_classes)),
        pixel_mean=mean,
        pixel_std=std,
        short_side=short_side,
        conf=CONF,
        training_data="not stated by the converted file",
        licence="that of the converted file",
        untrained=untrained,
    )


def preset_name(preset: Preset) -> str:
    """The preset of these sizes, wherever the stride of its bottlenecks stands; `custom` where there is none."""

    def facts(one: Preset) -> tuple[object, ...]:
        image = {**one.image, "tower_bias": None}
        counts = one.num_classes, one.max_ids, one.dim, one.ffn, one.local_window
        parts = one.association, one.class_projector, one.identities, one.id_bank, one.loss_rules
        return one.image_model, one.backbone.removesuffix(MSRA), image, parts, counts

    return next((name for name, known in PRESETS.items() if facts(known) == facts(preset)), "custom")
