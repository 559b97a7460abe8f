"""Published weights of CondInst and its backbone to ours and back. Strict: all tensors are accounted for.

Sizes are read off the tensors. One cannot be, and is as published: the number of groups of the norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import WeightsError
from ..backbones import MSRA, Backbone
from ..dynamic_masks import DynamicMaskHead
from ..published_tensors import Shapes, from_layout, to_layout
from ..resnet_names import resnet_of
from .layouts import ADELAIDET, BODY, IAI, LAYOUTS
from .network import CondInst
from .sizes import PUBLISHED, CondInstSizes

Tensors = Mapping[str, Tensor]

_NETWORK = "CondInst"
_STEM = BODY + "embedder.embedder.convolution.weight"
_SCALE = ".scale"
_OTHER_SPELLINGS = {
    f"bbox_head.{theirs}.": f"bbox_head.{name}."
    for theirs, name in (("fcos_cls", "conv_cls"), ("fcos_reg", "conv_reg"), ("fcos_centerness", "conv_centerness"))
}


@dataclass(frozen=True, slots=True)
class Published:
    """A file as a backbone and a detector of ours."""

    backbone: str  # name and sizes for `nn.backbones.Backbone`
    backbone_sizes: Mapping[str, Any]
    in_channels: tuple[int, ...]  # of the maps that the detector takes; the last is what the file's pyramid reads
    sizes: CondInstSizes  # with `num_ids` 0 where the file has no head for identities
    tensors: dict[str, Tensor]  # `backbone.…` and `detector.…`


def from_published(tensors: Tensors, layout: str) -> Published:
    """`layout` is one of LAYOUTS; `tensors` are those of backbone and image model alone.

    WeightsError when a tensor is missing, left over or of another shape than the rest asks for.
    """
    names, tensors = LAYOUTS[layout], _one_spelling(tensors, layout)
    shapes = Shapes(tensors, names, _NETWORK)
    backbone, backbone_sizes = resnet_of(shapes, BODY)
    backbone += MSRA if layout == ADELAIDET else ""
    sizes = _sizes(tensors, layout)
    with torch.device("meta"):
        body = Backbone(backbone, sizes=backbone_sizes)
        in_channels = (*body.channels[:-1], shapes.of("detector.fpn.lateral.2.weight")[1])
        detector = CondInst(sizes, in_channels)
    expected = {f"backbone.{name}": tensor for name, tensor in body.state_dict().items()}
    expected |= {f"detector.{name}": tensor for name, tensor in detector.state_dict().items()}
    return Published(backbone, backbone_sizes, in_channels, sizes, from_layout(tensors, names, expected, _NETWORK))


def to_published(ours: Tensors, layout: str) -> dict[str, Tensor]:
    """Our tensors as files of a layout have them; KeyError for one that it has no name for."""
    tensors = to_layout(ours, LAYOUTS[layout])
    if layout != ADELAIDET:
        return tensors
    stem = _key(_STEM, layout)
    return {
        key: tensor.flip(1) if key == stem else tensor[None] if key.endswith(_SCALE) else tensor
        for key, tensor in tensors.items()
    }


def _one_spelling(tensors: Tensors, layout: str) -> dict[str, Tensor]:
    """One name for every output, scales without a dimension, and a stem that reads RGB, whatever the file has."""
    once = {_renamed(key, tensors): tensor for key, tensor in tensors.items()}
    once = {key: t.squeeze() if key.endswith(_SCALE) and t.shape == (1,) else t for key, t in once.items()}
    stem = _key(_STEM, layout)
    if layout == ADELAIDET and stem in once and once[stem].dim() > 1:
        once[stem] = once[stem].flip(1)  # BGR
    return once


def _renamed(key: str, tensors: Tensors) -> str:
    """The usual spelling, unless the file has that, too: then this one is left over."""
    for theirs, name in _OTHER_SPELLINGS.items():
        if key.startswith(theirs) and (usual := name + key.removeprefix(theirs)) not in tensors:
            return usual
    return key


def _sizes(tensors: Tensors, layout: str) -> CondInstSizes:
    """All sizes of the network that these tensors belong to."""
    shapes = Shapes(tensors, LAYOUTS[layout], _NETWORK)
    dim = shapes.of("detector.fpn.lateral.0.bias")[0]
    if dim % PUBLISHED.groups:
        raise WeightsError(f"unknown width of the pyramid: {dim} (not a multiple of {PUBLISHED.groups}, of {_NETWORK})")
    head, masks = "detector.head.", "detector.mask_branch."
    mask_depth = shapes.count(masks + "tower.{}.0.weight")
    features = shapes.of(f"{masks}tower.{mask_depth}.bias")[0]
    controller = head + "controller.bias"
    has_ids = layout == IAI and _key(head + "id_logits.bias", layout) in tensors
    return CondInstSizes(
        num_classes=shapes.of(head + "class_logits.bias")[0],
        num_ids=shapes.of(head + "id_logits.bias")[0] if has_ids else 0,
        dim=dim,
        groups=PUBLISHED.groups,
        tower_depth=shapes.count(head + "class_tower.{}.0.weight"),
        tower_bias=_key(head + "class_tower.0.0.bias", layout) in tensors,
        id_depth=shapes.count(head + "id_tower.{}.0.weight") if has_ids else PUBLISHED.id_depth,
        mask_width=shapes.of(masks + "refine.0.0.weight")[0],
        mask_depth=mask_depth,
        mask_features=features,
        mask_hidden=_mask_hidden(features, shapes.of(controller)[0], _key(controller, layout)),
        mask_norm="batch",
    )


def _mask_hidden(features: int, numbers: int, key: str) -> int:
    """Width of the dynamic mask head for which an instance brings so many numbers."""
    for hidden in range(1, numbers):
        if DynamicMaskHead(features, hidden).parameters == numbers:
            return hidden
    raise WeightsError(
        f"tensor does not fit: `{key}` (has {numbers} numbers, which is no mask head over {features} features)"
    )


def _key(ours: str, layout: str) -> str:
    """What a layout calls one of our tensors."""
    source = LAYOUTS[layout].source(ours)
    assert source is not None, ours
    return source.key
