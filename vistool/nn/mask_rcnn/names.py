"""Torchvision's weights of Mask R-CNN and its backbone to ours and back. Strict: all tensors are accounted for.

Sizes are read off the tensors. Some cannot be, and are as published: the shapes of anchors and how many boxes go from
one stage to the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...errors import WeightsError
from ..backbones import Backbone
from ..published_names import Layout, under
from ..published_tensors import Shapes, from_layout, to_layout
from ..resnet_names import resnet_of, torchvision_rows
from .heads import BACKGROUND, BOX_BINS
from .network import MaskRcnn
from .sizes import MaskRcnnSizes

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of the pixels, RGB of 0..255, that the published weights expect."""

Tensors = Mapping[str, Tensor]

_NETWORK = "Mask R-CNN"
_BODY = "backbone.body."
_DETECTOR = "detector."
_OLDER = [  # the name in older files, as the published one is, and the name since
    (r"backbone\.fpn\.(inner|layer)_blocks\.(\d+)\.(weight|bias)", r"backbone.fpn.\1_blocks.\2.0.\3"),
    (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
]
_OLDER_MASK = r"roi_heads\.mask_head\.mask_fcn(\d+)\.(weight|bias)"  # counts from 1

TORCHVISION = Layout(
    rows=(
        *torchvision_rows(_BODY, _BODY),
        *under(
            _DETECTOR + "fpn.",
            "backbone.fpn.",
            {"lateral.#.*": "inner_blocks.#.0.*", "output.#.*": "layer_blocks.#.0.*"},
        ),
        *under(
            _DETECTOR + "proposal_head.",
            "rpn.head.",
            {"convolution.*": "conv.0.0.*", "objectness.*": "cls_logits.*", "deltas.*": "bbox_pred.*"},
        ),
        *under(
            _DETECTOR + "box_head.",
            "roi_heads.",
            {
                "first.*": "box_head.fc6.*",
                "second.*": "box_head.fc7.*",
                "class_logits.*": "box_predictor.cls_score.*",
                "deltas.*": "box_predictor.bbox_pred.*",
            },
        ),
        *under(
            _DETECTOR + "mask_head.",
            "roi_heads.",
            {
                "convolutions.#.*": "mask_head.#.0.*",
                "enlarge.*": "mask_predictor.conv5_mask.*",
                "logits.*": "mask_predictor.mask_fcn_logits.*",
            },
        ),
    ),
    ignored=("*.num_batches_tracked",),
)


@dataclass(frozen=True, slots=True)
class Published:
    """A file as a backbone and a detector of ours."""

    backbone: str  # name and sizes for `nn.backbones.Backbone`
    backbone_sizes: Mapping[str, Any]
    in_channels: tuple[int, ...]  # of the maps that the detector takes
    sizes: MaskRcnnSizes  # with `num_ids` 0: files have no head for identities
    tensors: dict[str, Tensor]  # `backbone.…` and `detector.…`


def from_published(tensors: Tensors) -> Published:
    """Under any of the names that torchvision reads.

    WeightsError when a tensor is missing, left over or of another shape than the rest asks for.
    """
    tensors = {_current(key): tensor for key, tensor in tensors.items()}
    shapes = Shapes(tensors, TORCHVISION, _NETWORK)
    backbone, backbone_sizes = resnet_of(shapes, _BODY)
    sizes = _sizes(shapes)
    with torch.device("meta"):
        body = Backbone(backbone, sizes=backbone_sizes)
        detector = MaskRcnn(sizes, body.channels)
    expected = {f"backbone.{name}": tensor for name, tensor in body.state_dict().items()}
    expected |= {_DETECTOR + name: tensor for name, tensor in detector.state_dict().items()}
    ours = from_layout(tensors, TORCHVISION, expected, _NETWORK)
    return Published(backbone, backbone_sizes, detector.in_channels, sizes, ours)


def to_published(ours: Tensors) -> dict[str, Tensor]:
    """Our tensors as torchvision has them; KeyError for one that it has no name for: a head for identities."""
    return to_layout(ours, TORCHVISION)


def of_classes(published: Published, labels: Sequence[int]) -> Published:
    """The same network for some of its classes, in this order; what it says of each of them, relative to one another
    and to background, stays the same.

    Published files have a class for every category id up to the greatest, whether a category has it or not: the label
    of id i is i - 1. WeightsError when there are no such classes.
    """
    count = published.sizes.num_classes
    if beyond := [label for label in labels if not 0 <= label < count]:
        raise WeightsError(f"checkpoint has no class in row {beyond[0]} (it has {count})")
    columns = torch.tensor([BACKGROUND, *(label + 1 for label in labels)])
    chosen = dict(published.tensors)
    for name in ("box_head.class_logits", "box_head.deltas", "mask_head.logits"):
        for part in ("weight", "bias"):
            whole = chosen[f"{_DETECTOR}{name}.{part}"]
            chosen[f"{_DETECTOR}{name}.{part}"] = whole.unflatten(0, (count + 1, -1))[columns].flatten(0, 1)
    return replace(published, sizes=replace(published.sizes, num_classes=len(labels)), tensors=chosen)


def _current(key: str) -> str:
    for older, newer in _OLDER:
        key = re.sub(f"^{older}$", newer, key)
    if found := re.fullmatch(_OLDER_MASK, key):
        return f"roi_heads.mask_head.{int(found[1]) - 1}.0.{found[2]}"
    return key


def _sizes(shapes: Shapes) -> MaskRcnnSizes:
    """All sizes of the detector that these tensors belong to."""
    head, masks = _DETECTOR + "box_head.", _DETECTOR + "mask_head."
    dim = shapes.of(_DETECTOR + "fpn.lateral.0.bias")[0]
    box_dim, shown = shapes.of(head + "first.weight")
    if shown != dim * BOX_BINS**2:
        raise WeightsError(
            f"tensor does not fit: `roi_heads.box_head.fc6.weight` (reads {shown} numbers of a box, "
            f"expected {dim * BOX_BINS**2})"
        )
    return MaskRcnnSizes(
        num_classes=shapes.of(head + "class_logits.bias")[0] - 1,
        num_ids=0,
        dim=dim,
        box_dim=box_dim,
        mask_convolutions=shapes.count(masks + "convolutions.{}.bias"),
        mask_dim=shapes.of(masks + "enlarge.bias")[0],
    )
