"""Published Mask2Former weights to ours and back. Strict: every tensor is accounted for, on both sides.

Sizes are read off the tensors. One cannot be, and is as published: the number of attention heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .backbones import RESNETS
from .masked_decoder import MaskedDecoder
from .presets import Mask2FormerSizes
from .published_names import DETECTRON2, TRANSFORMERS_FILE, TRANSFORMERS_MEMORY, Layout
from .published_tensors import Shapes, from_layout, to_layout
from .trunk import FrameTrunk

LAYOUTS = ("transformers-mask2former", "detectron2-mask2former")
HEADS = 8
_LEVELS = 3
_NETWORK = "Mask2Former"

Tensors = Mapping[str, Tensor]


def from_published(tensors: Tensors, layout: str = "auto") -> tuple[Mask2FormerSizes, dict[str, Tensor]]:
    """Sizes and our tensors; `layout` is one of LAYOUTS, or "auto" to tell it by the names.

    Raises WeightsError when a tensor is missing, left over or of another shape than the rest asks for.
    """
    tensors = {
        key.replace(".encoder.model.", ".encoder."): value for key, value in tensors.items()
    }  # early conversions
    names = _layout(layout, tensors)
    sizes = _sizes(Shapes(tensors, names, _NETWORK))
    return sizes, from_layout(tensors, names, _expected(sizes), _NETWORK)


def to_published(ours: Tensors, layout: str) -> dict[str, Tensor]:
    """Our tensors under the names of `layout`, one of LAYOUTS, as its files have them."""
    return to_layout(ours, DETECTRON2 if layout == LAYOUTS[1] else TRANSFORMERS_FILE)


def _layout(name: str, tensors: Tensors) -> Layout:
    if name == "auto":
        detectron2 = any(key.startswith("sem_seg_head.") for key in tensors)
        name = LAYOUTS[1] if detectron2 else LAYOUTS[0]
    if name == LAYOUTS[1]:
        return DETECTRON2
    if name != LAYOUTS[0]:
        raise WeightsError(f"unknown layout: `{name}`", hint=f"one of: auto, {', '.join(LAYOUTS)}")
    in_memory = any(key.startswith("model.pixel_level_module.encoder.swin.embeddings.") for key in tensors)
    return TRANSFORMERS_MEMORY if in_memory else TRANSFORMERS_FILE


def _expected(sizes: Mask2FormerSizes) -> dict[str, Tensor]:
    """Our tensors by name, with shapes and without memory."""
    with torch.device("meta"):
        return nn.ModuleDict({"trunk": FrameTrunk(sizes), "decoder": MaskedDecoder(sizes)}).state_dict()


def _sizes(shapes: Shapes) -> Mask2FormerSizes:
    """All sizes of the network that these tensors belong to."""
    backbone = shapes.backbone("trunk.backbone.body.")
    queries, dim = shapes.of("decoder.query_feat")
    points = shapes.of("trunk.pixel_decoder.layers.0.self_attn.attention_weights.bias")[0] // (HEADS * _LEVELS)
    return Mask2FormerSizes(
        backbone=backbone,
        num_classes=shapes.of("decoder.heads.class_embed.weight")[0] - 1,
        queries=queries,
        dim=dim,
        heads=HEADS,
        encoder_layers=shapes.count("trunk.pixel_decoder.layers.{}.ffn_norm.weight"),
        encoder_ffn=shapes.of("trunk.pixel_decoder.layers.0.ffn.inner.weight")[0],
        encoder_points=points,
        decoder_layers=shapes.count("decoder.layers.{}.ffn_norm.weight"),
        decoder_ffn=shapes.of("decoder.layers.0.ffn.inner.weight")[0],
        frozen_norms=backbone in RESNETS,
    )
