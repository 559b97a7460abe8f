"""Published weights of SeqFormer to ours and back. Strict: every tensor is accounted for, on both sides.

Files of MSSTS-VIS are SeqFormer's with a part that never runs. Sizes are read off the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...nn.deformable_names import (
    encoder_rows,
    mask_branch_rows,
    mask_sizes,
    query_rows,
    query_sizes,
    with_aliases,
    with_first_norm,
    without_aliases,
)
from ...nn.published_names import DETECTRON2, DETECTRON2_BACKBONE, Layout, Row, fused, under
from ...nn.published_tensors import Shapes, from_layout, to_layout
from ...nn.resnet_names import resnet_of, torchvision_rows
from ...nn.resnext import RESNEXTS
from .class_columns import WITH_IDS
from .network import Msts
from .presets import CLASSES_WITH_IDS, Preset

Tensors = Mapping[str, Tensor]

NETWORK = "SeqFormer"
DETR = "detr."
BODY = DETR + "backbone.0.body."
BOXES, BOXES_AGAIN = DETR + "bbox_embed.", DETR + "transformer.decoder.bbox_embed."
KERNEL = "controller.layers.2.bias"
_OF_VNEXT = DETR + "backbone.0.backbone."
_LAYER = DETR + "transformer.decoder.layers.#."
_UNUSED = DETR + "transformer.encoder.layers.#.self_attn.output_proj_box.*"
"""A second projection that only decoders read."""
NEVER_RUN = ".temp_attn_box."
"""Attention over frames in files of MSSTS-VIS, which its code builds and does not call; a part of the names."""


def _swin_and_resnet(body: str) -> list[Row]:
    """Rows of a backbone by the names of its makers: Swin's own, or detectron2's."""
    return [
        row._replace(
            ours=row.ours.removeprefix("trunk."), theirs=row.theirs and body + row.theirs.removeprefix("backbone.")
        )
        for row in DETECTRON2_BACKBONE
    ]


def stream_rows(ours: str, layer: str, end: str) -> list[Row]:
    """Rows of what both streams of a decoder layer have: our names of parts begin with `ours`, theirs end in `end`."""
    parts = {
        "self_attn.out": f"self_attn{end}.out_proj",
        "self_attn_norm": f"norm2{end}",
        "cross_attn_norm": f"norm1{end}",
        "ffn.inner": f"linear1{end}",
        "ffn.out": f"linear2{end}",
        "ffn_norm": f"norm3{end}",
    }
    return [
        *fused(f"decoder.layers.#.{ours}self_attn.to_{{}}.*", f"{layer}self_attn{end}.in_proj_*"),
        *(Row(f"decoder.layers.#.{ours}{part}.*", f"{layer}{name}.*") for part, name in parts.items()),
    ]


_HEADS = (
    *encoder_rows("encoder.", DETR),
    *stream_rows("", _LAYER, ""),
    *stream_rows("box_", _LAYER, "_box"),
    *under(
        "decoder.layers.#.",
        _LAYER,
        {
            "box_output.*": "cross_attn.output_proj_box.*",
            "cross_attn.*": "cross_attn.*",
            "frame_weights.*": "time_attention_weights.*",
        },
    ),
    *query_rows("decoder.", DETR),
    Row("class_heads.*", DETR + "class_embed.*"),
    *mask_branch_rows("mask_branch.", "mask_head."),
    Row("controller.*", "controller.*"),
)
_IGNORED = ("*.num_batches_tracked", *DETECTRON2.ignored, _UNUSED, f"*{NEVER_RUN}*")

SEQFORMER = Layout((*torchvision_rows("backbone.body.", BODY), *_swin_and_resnet(BODY), *_HEADS), _IGNORED)
VNEXT = Layout((*_swin_and_resnet(_OF_VNEXT), *_HEADS), _IGNORED)
"""The same network in the library that followed, whose ResNets are detectron2's."""


def from_published(tensors: Tensors) -> tuple[Preset, dict[str, Tensor]]:
    """Sizes and our tensors.

    Raises WeightsError when a tensor is missing, left over or of another shape than the rest asks for, and when two
    names of one tensor have different numbers.
    """
    tensors = without_aliases(_with_plain_names(tensors), BOXES, BOXES_AGAIN, NETWORK)
    names = VNEXT if f"{_OF_VNEXT}stem.conv1.weight" in tensors else SEQFORMER
    tensors = with_first_norm(tensors, BODY)
    shapes = Shapes(tensors, names, NETWORK)
    sizes = query_sizes(shapes, NETWORK) | mask_sizes(shapes, KERNEL)
    preset = preset_of(shapes, sizes, swin=f"{BODY}patch_embed.proj.weight" in tensors)
    with torch.device("meta"):
        expected = Msts(preset).state_dict()
    return preset, from_layout(tensors, names, expected, NETWORK)


def to_published(ours: Tensors) -> dict[str, Tensor]:
    """Our tensors as published files have them: those of the box heads twice, and zeros that nothing reads."""
    tensors = with_aliases(to_layout(ours, SEQFORMER), BOXES, BOXES_AGAIN)
    unused = {
        key.replace(".output_proj.", ".output_proj_box."): torch.zeros_like(tensor)
        for key, tensor in tensors.items()
        if re.fullmatch(r".*\.encoder\..*\.output_proj\.\w+", key)
    }
    return tensors | unused


def _with_plain_names(tensors: Tensors) -> dict[str, Tensor]:
    """Names without those of wrappers: of parallel training, of VNext's model, and of whatever holds a Swin."""
    plain = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    if any(key.startswith(DETR + DETR) for key in plain):
        plain = {key.removeprefix(DETR): tensor for key, tensor in plain.items()}
    first = "patch_embed.proj.weight"
    swin = next((key.removesuffix(first) for key in plain if key.endswith(first)), BODY)
    return {BODY + key.removeprefix(swin) if key.startswith(swin) else key: tensor for key, tensor in plain.items()}


def preset_of(shapes: Shapes, sizes: Mapping[str, Any], *, swin: bool) -> Preset:
    """All sizes of the network that these tensors belong to; `sizes` are those of all but backbone and classes."""
    body, count = "backbone.body.", shapes.of("class_heads.0.bias")[0]
    if swin:
        backbone, own = shapes.backbone(body), dict[str, Any]()
    else:
        backbone, own = resnet_of(shapes, body)
        width, inputs = shapes.of(f"{body}encoder.stages.0.layers.0.layer.1.convolution.weight")[:2]
        grouped = (backbone, width // inputs)
        backbone = next((name for name, facts in RESNEXTS.items() if facts == grouped), backbone)
    ids = next((name for name, (columns, _) in WITH_IDS.items() if columns == count), None)
    return Preset(
        backbone=backbone,
        backbone_sizes=own,
        frozen_norms=not swin,
        num_classes=CLASSES_WITH_IDS[ids] if ids else count,
        class_columns=ids or "classes",
        **sizes,
    )
