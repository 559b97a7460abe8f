"""What published files of networks on Deformable DETR have in common: names of shared parts, odd habits, and sizes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import WeightsError
from .deformable_detr import GROUPS, LEVELS
from .dynamic_masks import DynamicMaskHead
from .published_names import Row, under
from .published_tensors import Shapes

HEADS = 8
"""Of attention. No tensor tells their number; it is as published."""

Tensors = Mapping[str, Tensor]


def encoder_rows(ours: str, theirs: str) -> tuple[Row, ...]:
    """Rows of a `DeformableEncoder`; `theirs` is the whole detector. Both names end with a dot."""
    return (
        *under(ours, theirs, {"input_projections.*": "input_proj.*", "level_embed": "transformer.level_embed"}),
        *under(
            f"{ours}layers.#.",
            f"{theirs}transformer.encoder.layers.#.",
            {
                "self_attn.*": "self_attn.*",
                "self_attn_norm.*": "norm1.*",
                "ffn.inner.*": "linear1.*",
                "ffn.out.*": "linear2.*",
                "ffn_norm.*": "norm2.*",
            },
        ),
    )


def query_rows(ours: str, theirs: str) -> tuple[Row, ...]:
    """Rows of `BoxQueries`; `theirs` is the whole detector. Both names end with a dot."""
    return tuple(
        under(
            ours,
            theirs,
            {
                "query_embed": "query_embed.weight",
                "reference_points.*": "transformer.reference_points.*",
                "box_heads.*": "bbox_embed.*",
            },
        )
    )


def mask_branch_rows(ours: str, theirs: str) -> tuple[Row, ...]:
    """Rows of a `MaskBranch`. Both names end with a dot."""
    return tuple(
        under(
            ours,
            theirs,
            {"coarse.*": "lay3.*", "middle.*": "lay4.*", "fine.*": "dcn.*", "narrow.*": "lay1.*", "last.*": "lay2.*"},
        )
    )


def without_aliases(tensors: Tensors, first: str, again: str, network: str) -> dict[str, Tensor]:
    """Every tensor once, under the name that begins with `first`, whichever of its two names the file has.

    WeightsError unless those that stand under both agree to the bit.
    """
    once: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = first + key.removeprefix(again) if key.startswith(again) else key
        other = once.setdefault(name, tensor)
        if other is not tensor and (other.dtype != tensor.dtype or not torch.equal(other, tensor)):
            alias = again + name.removeprefix(first)
            raise WeightsError(f"tensors differ: `{name}`, `{alias}` (two names of one tensor of {network})")
    return once


def with_aliases(tensors: Tensors, first: str, again: str) -> dict[str, Tensor]:
    """Those that begin with `first` also under names that begin with `again`."""
    return dict(tensors) | {
        again + key.removeprefix(first): tensor for key, tensor in tensors.items() if key.startswith(first)
    }


def with_first_norm(tensors: dict[str, Tensor], body: str) -> dict[str, Tensor]:
    """With the norm of Swin's finest map, which such detectors do not look at and files may do without.

    `body` is what the names of the backbone begin with.
    """
    like = tensors.get(f"{body}patch_embed.norm.weight")
    if like is None:
        return tensors
    absent = {"weight": torch.ones_like(like), "bias": torch.zeros_like(like)}
    return {f"{body}norm0.{part}": tensor for part, tensor in absent.items()} | tensors


def query_sizes(shapes: Shapes, network: str) -> dict[str, int]:
    """Sizes of encoder and decoder, by the names that presets give them, read off our names.

    WeightsError for a width that no such network has.
    """
    dim = shapes.of("decoder.layers.0.ffn.out.bias")[0]
    if dim % GROUPS:
        raise WeightsError(f"unknown width of queries: {dim} (not a multiple of {GROUPS}, of {network})")
    return {
        "queries": shapes.of("decoder.query_embed")[0],
        "dim": dim,
        "heads": HEADS,
        "encoder_layers": shapes.count("encoder.layers.{}.ffn_norm.weight"),
        "encoder_ffn": shapes.of("encoder.layers.0.ffn.inner.bias")[0],
        "encoder_points": shapes.of("encoder.layers.0.self_attn.attention_weights.bias")[0] // (HEADS * LEVELS),
        "decoder_layers": shapes.count("decoder.layers.{}.ffn_norm.weight"),
        "decoder_ffn": shapes.of("decoder.layers.0.ffn.inner.bias")[0],
        "decoder_points": shapes.of("decoder.layers.0.cross_attn.attention_weights.bias")[0] // (HEADS * LEVELS),
    }


def mask_sizes(shapes: Shapes, kernel: str) -> dict[str, int]:
    """Sizes of mask branch and dynamic mask head, likewise. `kernel`: how they call the last bias of the controller.

    WeightsError where the two do not fit one another.
    """
    features = shapes.of("mask_branch.last.bias")[0]
    return {
        "mask_width": shapes.of("mask_branch.narrow.bias")[0],
        "mask_features": features,
        "mask_hidden": _mask_hidden(features, shapes.of("controller.layers.2.bias")[0], kernel),
    }


def _mask_hidden(features: int, numbers: int, key: str) -> int:
    """Width of the dynamic mask head for which an instance brings so many numbers."""
    for hidden in range(1, numbers):
        if DynamicMaskHead(features, hidden).parameters == numbers:
            return hidden
    raise WeightsError(
        f"tensor does not fit: `{key}` (has {numbers} numbers, which is no mask head over {features} features)"
    )
