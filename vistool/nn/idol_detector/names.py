"""Published weights of IDOL's detector to ours and back. Strict: every tensor is accounted for, on both sides.

Sizes are read off the tensors. One cannot be, and is as published: the number of attention heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import WeightsError
from ..backbones import RESNETS
from ..deformable_detr import GROUPS, LEVELS
from ..dynamic_masks import DynamicMaskHead
from ..published_names import DETECTRON2, DETECTRON2_BACKBONE, Layout, Row, fused, under
from ..published_tensors import Shapes, from_layout, to_layout
from .network import IdolDetector
from .sizes import IdolSizes

LAYOUT = "idol"
HEADS = 8

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
        *under("encoder.", _DETR, {"input_projections.*": "input_proj.*", "level_embed": "transformer.level_embed"}),
        *under(
            "encoder.layers.#.",
            _DETR + "transformer.encoder.layers.#.",
            {
                "self_attn.*": "self_attn.*",
                "self_attn_norm.*": "norm1.*",
                "ffn.inner.*": "linear1.*",
                "ffn.out.*": "linear2.*",
                "ffn_norm.*": "norm2.*",
            },
        ),
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
        *under(
            "",
            _DETR,
            {
                "decoder.query_embed": "query_embed.weight",
                "decoder.reference_points.*": "transformer.reference_points.*",
                "decoder.box_heads.*": "bbox_embed.*",
                "class_heads.*": "class_embed.*",
            },
        ),
        *under(
            "mask_branch.",
            _TRACKER + "mask_head.",
            {"coarse.*": "lay3.*", "middle.*": "lay4.*", "fine.*": "dcn.*", "narrow.*": "lay1.*", "last.*": "lay2.*"},
        ),
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
    tensors = _with_first_norm(_without_aliases(_with_full_names(tensors)))
    sizes = _sizes(Shapes(tensors, IDOL, _NETWORK))
    with torch.device("meta"):
        expected = IdolDetector(sizes).state_dict()
    return sizes, from_layout(tensors, IDOL, expected, _NETWORK)


def to_published(ours: Tensors) -> dict[str, Tensor]:
    """Our tensors as published files have them: those of the box heads stand there twice."""
    tensors = to_layout(ours, IDOL)
    return tensors | {
        _BOXES_AGAIN + key.removeprefix(_BOXES): tensor for key, tensor in tensors.items() if key.startswith(_BOXES)
    }


def _with_full_names(tensors: Tensors) -> dict[str, Tensor]:
    """Names as in files of the whole tracker, which begin with its attribute; the detector alone goes without."""
    wrapped = any(key.startswith(_DETR) for key in tensors)
    return {key if wrapped else _TRACKER + key: tensor for key, tensor in tensors.items()}


def _without_aliases(tensors: Tensors) -> dict[str, Tensor]:
    """Every tensor once, under its first name, whichever of its names the file has; they must agree to the bit."""
    once: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = _BOXES + key.removeprefix(_BOXES_AGAIN) if key.startswith(_BOXES_AGAIN) else key
        other = once.setdefault(name, tensor)
        if other is not tensor and (other.dtype != tensor.dtype or not torch.equal(other, tensor)):
            again = _BOXES_AGAIN + name.removeprefix(_BOXES)
            raise WeightsError(f"tensors differ: `{name}`, `{again}` (two names of one tensor of {_NETWORK})")
    return once


def _with_first_norm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the norm of Swin's finest map, which the detector does not look at and files may do without."""
    like = tensors.get(_BACKBONE + "backbone.patch_embed.norm.weight")
    if like is None:
        return tensors
    absent = {"weight": torch.ones_like(like), "bias": torch.zeros_like(like)}
    return {f"{_BACKBONE}backbone.norm0.{part}": tensor for part, tensor in absent.items()} | tensors


def _sizes(shapes: Shapes) -> IdolSizes:
    """All sizes of the network that these tensors belong to."""
    backbone = shapes.backbone("backbone.body.")
    dim = shapes.of("decoder.layers.0.ffn.out.bias")[0]
    if dim % GROUPS:
        raise WeightsError(f"unknown width of queries: {dim} (not a multiple of {GROUPS}, of {_NETWORK})")
    mask_width, mask_features = shapes.of("mask_branch.narrow.bias")[0], shapes.of("mask_branch.last.bias")[0]
    return IdolSizes(
        backbone=backbone,
        num_classes=shapes.of("class_heads.0.bias")[0],
        queries=shapes.of("decoder.query_embed")[0],
        dim=dim,
        heads=HEADS,
        encoder_layers=shapes.count("encoder.layers.{}.ffn_norm.weight"),
        encoder_ffn=shapes.of("encoder.layers.0.ffn.inner.bias")[0],
        encoder_points=shapes.of("encoder.layers.0.self_attn.attention_weights.bias")[0] // (HEADS * LEVELS),
        decoder_layers=shapes.count("decoder.layers.{}.ffn_norm.weight"),
        decoder_ffn=shapes.of("decoder.layers.0.ffn.inner.bias")[0],
        decoder_points=shapes.of("decoder.layers.0.cross_attn.attention_weights.bias")[0] // (HEADS * LEVELS),
        mask_width=mask_width,
        mask_features=mask_features,
        mask_hidden=_mask_hidden(mask_features, shapes.of("controller.layers.2.bias")[0]),
        frozen_norms=backbone in RESNETS,
    )


def _mask_hidden(features: int, numbers: int) -> int:
    """Width of the dynamic mask head for which an instance brings so many numbers."""
    for hidden in range(1, numbers):
        if DynamicMaskHead(features, hidden).parameters == numbers:
            return hidden
    raise WeightsError(
        f"tensor does not fit: `{_TRACKER}controller.layers.2.bias` (has {numbers} numbers, "
        f"which is no mask head over {features} features)"
    )
