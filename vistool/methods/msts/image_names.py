"""Published weights of Deformable DETR as a SeqFormer that says of a single frame what they do.

Its queries become those of boxes and of instances alike, and all frames count the same. It knows no masks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ...nn.deformable_names import encoder_rows, query_rows, query_sizes, without_aliases
from ...nn.published_names import Layout, Row, under
from ...nn.published_tensors import Shapes, from_layout
from ...nn.resnet_names import torchvision_rows
from .names import preset_of, stream_rows
from .network import Msts
from .presets import Preset

Tensors = Mapping[str, Tensor]

NETWORK = "Deformable DETR"
MASK_PARTS = ("mask_branch.", "controller.")
"""What it lacks, by the beginning of our names."""

_OURS = "decoder.layers.#."
_LACKING = (*(Row(f"{part}*", None) for part in MASK_PARTS), Row(f"{_OURS}frame_weights.*", None))
_BOXES = "bbox_embed."


@dataclass(frozen=True, slots=True)
class Source:
    """What its files look like somewhere."""

    heads: tuple[Row, ...]  # of all but the backbone
    body: str  # what the names of the backbone begin with
    boxes_again: str  # other names of the box heads, where they refine
    spellings: Sequence[tuple[str, str]] = ()  # patterns and what stands in their places now


def _makers() -> tuple[Row, ...]:
    layer = "transformer.decoder.layers.#."
    return (
        *encoder_rows("encoder.", ""),
        *stream_rows("", layer, ""),
        *stream_rows("box_", layer, ""),
        *under(_OURS, layer, {"box_output.*": "cross_attn.output_proj.*", "cross_attn.*": "cross_attn.*"}),
        *query_rows("decoder.", ""),
    )


def _hub() -> tuple[Row, ...]:
    norms_and_ffn = {
        "self_attn_norm.*": "self_attn_layer_norm.*",
        "ffn.inner.*": "mlp.fc1.*",
        "ffn.out.*": "mlp.fc2.*",
        "ffn_norm.*": "final_layer_norm.*",
    }
    stream = {
        **{f"self_attn.to_{letter}.*": f"self_attn.{letter}_proj.*" for letter in "qkv"},
        "self_attn.out.*": "self_attn.o_proj.*",
        "cross_attn_norm.*": "encoder_attn_layer_norm.*",
        **norms_and_ffn,
    }
    layer = "model.decoder.layers.#."
    return (
        *under("encoder.", "model.", {"input_projections.*": "input_proj.*", "level_embed": "level_embed"}),
        *under("encoder.layers.#.", "model.encoder.layers.#.", {"self_attn.*": "self_attn.*", **norms_and_ffn}),
        *under(_OURS, layer, stream),
        *under(f"{_OURS}box_", layer, {"output.*": "encoder_attn.output_proj.*", **stream}),
        Row(f"{_OURS}cross_attn.*", f"{layer}encoder_attn.*"),
        Row("decoder.query_embed", "model.query_position_embeddings.weight"),
        Row("decoder.reference_points.*", "model.reference_points.*"),
        Row("decoder.box_heads.*", f"{_BOXES}*"),
    )


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "deformable-detr": Source(_makers(), "backbone.0.body.", f"transformer.decoder.{_BOXES}"),
        "transformers-deformable-detr": Source(
            _hub(),
            "model.backbone.model.",
            f"model.decoder.{_BOXES}",
            (  # in files, and in the library
                (r"^model\.backbone\.conv_encoder\.", "model.backbone."),
                (r"\.out_proj\.", ".o_proj."),
                (r"(layers\.\d+)\.fc(\d)\.", r"\1.mlp.fc\2."),
            ),
        ),
    }
)


def from_images(tensors: Tensors, layout: str) -> tuple[Preset, dict[str, Tensor], bool]:
    """Sizes, our tensors, and whether boxes are refined from layer to layer; `layout` is one of SOURCES.

    What makes masks is zero, of published sizes. Raises WeightsError when a tensor is missing, left over or of another
    shape than the rest asks for, and when two names of one tensor have different numbers.
    """
    source = SOURCES[layout]
    tensors = {_spelt(key, source.spellings): tensor for key, tensor in tensors.items()}
    refines = any(key.startswith(source.boxes_again) for key in tensors)
    tensors = without_aliases(tensors, _BOXES, source.boxes_again, NETWORK)
    names = Layout(
        (*_backbone_rows(tensors, source.body), *source.heads, Row("class_heads.*", "class_embed.*"), *_LACKING),
        ("*.num_batches_tracked",),
    )
    shapes = Shapes(tensors, names, NETWORK)
    preset = preset_of(shapes, query_sizes(shapes, NETWORK), swin=False)
    with torch.device("meta"):
        expected = Msts(preset).state_dict()
    return preset, from_layout(tensors, names, expected, NETWORK), refines


def _spelt(key: str, spellings: Sequence[tuple[str, str]]) -> str:
    for pattern, name in spellings:
        key = re.sub(pattern, name, key)
    return key


def _backbone_rows(tensors: Tensors, body: str) -> tuple[Row, ...]:
    """By the names of torchvision, or by those of the library, which are ours."""
    if f"{body}embedder.embedder.convolution.weight" in tensors:
        return Row("backbone.body.*.num_batches_tracked", None), Row("backbone.body.*", f"{body}*")
    return torchvision_rows("backbone.body.", body)
