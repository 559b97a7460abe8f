"""Published weights of IDOL's detector to ours and back. Strict: every tensor is accounted for, on both sides.

Sizes are read off the tensors. One cannot be, and is as published: the number of attention heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..backbones import RESNETS
from ..deformable_names import (
    encoder_rows,
    mask_branch_rows,
    mask_sizes,
    query_rows,
    query_sizes,
    with_aliases,
    with_first_norm,
    without_aliases,
)
from ..published_names import DETECTRON2, DETECTRON2_BACKBONE, Layout, Row, fused, under
from ..published_tensors import Shapes, from_layout, to_layout
from .network import IdolDetector
from .sizes import IdolSizes

LAYOUT = "idol"

Tensors = Mapping[str, Tensor]

_NETWORK = "IDOL's detector"
_TRACKER = "detr."
_DETR = _TRACKER + "detr."
_BACKBONE = _DETR + "backbone.0."
_BOXES, _BOXES_AGAIN = _DETR + "bbox_embed.", _DETR + "transformer.decoder.bbox_embed."


def _ours(row: Row) -> Row:
    """A row of Mask2Former, whose backbone is a part of its trunk."""
    theirs = None if row.theirs is None else _BACKBONE + row.theirs
    return row._replace(ours=row.ours.removeprefix("trunk."), theirs=theirs)


IDOL = Layout(
    rows=(
        *map(_ours, DETECTRON2_BACKBONE),
        *encoder_rows("encoder.", _DETR),
        *fused("decoder.layers.#.self_attn.to_{}.*", _DETR + "transformer.decoder.layers.#.self_attn.in_proj_*"),
        *under(
            "decoder.layers.#.",
            _DETR + "transformer.decoder.layers.#.",
            {
                "self_attn.out.*": "self_attn.out_proj.*",
                "self_attn_norm.*": "norm2.*",
                "cross_attn.*": "cross_attn.*",
                "cross_attn_norm.*": "norm1.*",
                "ffn.inner.*": "linear1.*",
                "ffn.out.*": "linear2.*",
                "ffn_norm.*": "norm3.*",
            },
        ),
        *query_rows("decoder.", _DETR),
        *under("", _DETR, {"class_heads.*": "class_embed.*"}),
        *mask_branch_rows("mask_branch.", _TRACKER + "mask_head."),
        *under("", _TRACKER, {"controller.*": "controller.*", "reid_head.*": "reid_embed_head.*"}),
    ),
    ignored=(
        "*.num_batches_tracked",
        *DETECTRON2.ignored,
        *(_TRACKER + name for name in DETECTRON2.ignored),
    ),
)


def from_published(tensors: Tensors) -> tuple[IdolSizes, dict[str, Tensor]]:
    """Sizes and our tensors.

    Raises WeightsError when a tensor is missing, left over or of another shape than the rest asks for, and when two
    names of one tensor have different numbers.
    """
    tensors = without_aliases(_with_full_names(tensors), _BOXES, _BOXES_AGAIN, _NETWORK)
    tensors = with_first_norm(tensors, _BACKBONE + "backbone.")
    sizes = _sizes(Shapes(tensors, IDOL, _NETWORK))
    with torch.device("meta"):
        expected = IdolDetector(sizes).state_dict()
    return sizes, from_layout(tensors, IDOL, expected, _NETWORK)


def to_published(ours: Tensors) -> dict[str, Tensor]:
    """Our tensors as published files have them: those of the box heads stand there twice."""
    return with_aliases(to_layout(ours, IDOL), _BOXES, _BOXES_AGAIN)


def _with_full_names(tensors: Tensors) -> dict[str, Tensor]:
    """Names as in files of the whole tracker, which begin with its attribute; the detector alone goes without."""
    wrapped = any(key.startswith(_DETR) for key in tensors)
    return {key if wrapped else _TRACKER + key: tensor for key, tensor in tensors.items()}


def _sizes(shapes: Shapes) -> IdolSizes:
    """All sizes of the network that these tensors belong to."""
    backbone = shapes.backbone("backbone.body.")
    return IdolSizes(
        backbone=backbone,
        num_classes=shapes.of("class_heads.0.bias")[0],
        frozen_norms=backbone in RESNETS,
        **query_sizes(shapes, _NETWORK),
        **mask_sizes(shapes, _TRACKER + "controller.layers.2.bias"),
    )
