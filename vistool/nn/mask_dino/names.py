"""Published MaskDINO weights to ours and back. Strict: every tensor is accounted for, on both sides.

Sizes, and which of the releases a file is, are read off the shapes. Some cannot be, and are as published: the number of
attention heads and of queries, and how the first boxes are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ...errors import WeightsError
from ..backbones import RESNETS, SWINS, Backbone
from ..published_names import DETECTRON2, DETECTRON2_BACKBONE, DETECTRON2_PIXELS, Layout, Row, fused, under
from ..published_tensors import Shapes, from_layout, to_layout
from .network import MaskDino
from .sizes import MaskDinoSizes

LAYOUT = "maskdino"
HEADS = 8
QUERIES = 300

Tensors = Mapping[str, Tensor]

_NETWORK = "MaskDINO"
_QUERIES = "sem_seg_head.predictor."
_LAYER = "decoder.layers.#."
_D2_LAYER = _QUERIES + "decoder.layers.#."


def _ours(row: Row) -> Row:
    """A row of Mask2Former, whose backbone and pixel decoder are parts of its trunk."""
    return row._replace(ours=row.ours.replace("trunk.pixel_decoder.", "encoder.").removeprefix("trunk."))


MASK_DINO = Layout(
    rows=(
        *map(_ours, DETECTRON2_BACKBONE),
        *map(_ours, DETECTRON2_PIXELS),
        *fused(_LAYER + "self_attn.to_{}.*", _D2_LAYER + "self_attn.in_proj_*"),
        *under(
            _LAYER,
            _D2_LAYER,
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
            _QUERIES,
            {
                "decoder.position.*": "decoder.ref_point_head.*",
                "selection.project.*": "enc_output.*",
                "selection.norm.*": "enc_output_norm.*",
                "heads.norm.*": "decoder_norm.*",
                "heads.class_embed.*": "class_embed.*",
                "heads.mask_embed.*": "mask_embed.*",
                "heads.box_embed.*": "_bbox_embed.*",
                "label_embed": "label_enc.weight",
            },
        ),
    ),
    ignored=DETECTRON2.ignored,
)


def from_published(tensors: Tensors) -> tuple[MaskDinoSizes, dict[str, Tensor]]:
    """Sizes and our tensors. Of two releases with Swin-L, the one whose first boxes are those of masks is assumed.

    Raises WeightsError when a tensor is missing, left over or of another shape than the rest asks for, and when two
    names of one tensor have different numbers.
    """
    tensors = _without_aliases(tensors, _decoder_layers(tensors))
    sizes = _sizes(tensors)
    with torch.device("meta"):
        expected = MaskDino(sizes).state_dict()
    return sizes, from_layout(tensors, MASK_DINO, expected, _NETWORK)


def to_published(ours: Tensors) -> dict[str, Tensor]:
    """Our tensors as published files have them: what the layers share stands there once a layer."""
    tensors = to_layout(ours, MASK_DINO)
    first = _aliases(_decoder_layers(tensors))
    others = {
        other + key.removeprefix(name): tensor
        for key, tensor in tensors.items()
        for other, name in first.items()
        if key.startswith(name)
    }
    return tensors | others


def _decoder_layers(tensors: Tensors) -> int:
    return Shapes(tensors, MASK_DINO, _NETWORK).count("decoder.layers.{}.ffn_norm.weight")


def _aliases(layers: int) -> dict[str, str]:
    """How names of a tensor begin that is there more than once → how its first name begins."""
    boxes = [f"{_QUERIES}{owner}bbox_embed.{layer}." for owner in ("", "decoder.") for layer in range(layers)]
    return {_QUERIES + "decoder.norm.": _QUERIES + "decoder_norm.", **dict.fromkeys(boxes, _QUERIES + "_bbox_embed.")}


def _without_aliases(tensors: Tensors, layers: int) -> dict[str, Tensor]:
    """Every tensor under its first name, whichever of its names the file has; they must agree to the bit."""
    first = _aliases(layers)
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = next((name + key.removeprefix(other) for other, name in first.items() if key.startswith(other)), key)
        same = found.setdefault(name, tensor)
        if same.dtype != tensor.dtype or not torch.equal(same, tensor):
            raise WeightsError(
                f"tensor is there twice and differs: `{key}` (the layers of {_NETWORK} share `{name}`)",
                hint="the file is damaged, or of a network whose layers have heads of their own",
            )
    return found


def _sizes(tensors: Tensors) -> MaskDinoSizes:
    """All sizes of the network that these tensors belong to; what does not fit them is found out by its shape."""
    shapes = Shapes(tensors, MASK_DINO, _NETWORK)
    backbone = shapes.backbone("backbone.body.")
    with torch.device("meta"):
        channels = Backbone(backbone).channels
    levels = shapes.count("encoder.input_projections.{}.0.weight")
    coarse_first = shapes.of("encoder.input_projections.0.0.weight")[1] == channels[-1]
    extra_level = shapes.of(f"encoder.input_projections.{max(levels - 1, 0)}.0.weight")[-1] == 3  # of the kernel
    finest_stride: Literal[4, 8] = 4 if levels - extra_level == len(channels) else 8
    return MaskDinoSizes(
        backbone=backbone,
        num_classes=shapes.of("heads.class_embed.weight")[0],
        queries=QUERIES,
        dim=shapes.of("encoder.level_embed")[1],
        heads=HEADS,
        finest_stride=finest_stride,
        extra_level=extra_level,
        coarse_first=coarse_first,
        encoder_layers=shapes.count("encoder.layers.{}.ffn_norm.weight"),
        encoder_ffn=shapes.of("encoder.layers.0.ffn.inner.weight")[0],
        decoder_layers=shapes.count("decoder.layers.{}.ffn_norm.weight"),
        decoder_ffn=shapes.of("decoder.layers.0.ffn.inner.weight")[0],
        points=shapes.of("encoder.layers.0.self_attn.attention_weights.bias")[0] // (HEADS * levels),
        anchors="bitmask" if coarse_first or finest_stride == 4 else "mask2box",
        frozen_norms=backbone in RESNETS,
        noised_queries=500 if backbone in SWINS else 100,
    )
