"""How MS-STS starts from other weights: of its own kind, or of networks that look at single frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...errors import WeightsError
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import check_fit
from .class_columns import columns
from .image_names import MASK_PARTS
from .network import Msts
from .presets import Preset

Tensors = Mapping[str, Tensor]

BACKBONE, CLASS_HEADS = "backbone.", "class_heads."
ADDED = ("encoder.split.", ".temporal.", ".temporal.place.")
"""What is added to SeqFormer, by parts of the names. It starts as nothing."""
LAYERS = ("decoder.layers.", "decoder.box_heads.", CLASS_HEADS)
"""What every layer of the decoder has for itself, by what stands before its number."""
PARTS = ("encoder.", "decoder.", CLASS_HEADS, "mask_branch.", "controller.")
"""What IDOL's detector has like SeqFormer, by the beginning of the names."""
BOTH_STREAMS = ("self_attn", "self_attn_norm", "cross_attn_norm", "ffn", "ffn_norm")
"""Parts of a decoder layer that boxes have on their own here."""


def start(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """Tensors for `Msts(preset)`; WeightsError when `parent` does not fit.

    From an msts checkpoint all, but for class heads of another number of classes; what the paper adds to the release
    may be missing, what makes masks may be zero, and a decoder of fewer layers goes on with copies of its last one.
    From IDOL's detector, which is SeqFormer for single frames, every part of the same sizes. From other methods the
    backbone.
    """
    if parent.info.method == "msts":
        return _of_family(preset, parent)
    return _of_images(preset, parent)


def _of_family(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    expected, tensors = _shapes(preset), dict(parent.tensors)
    absent = [part for part in ADDED if not any(part in name for name in tensors)]
    expected = {name: tensor for name, tensor in expected.items() if not any(part in name for part in absent)}
    fresh = _dead(tensors)
    theirs = Preset(**parent.info.sizes)
    if theirs.num_classes == preset.num_classes:
        own = columns(theirs)
        tensors |= {name: tensor[own] for name, tensor in tensors.items() if name.startswith(CLASS_HEADS)}
    else:
        fresh = (*fresh, CLASS_HEADS)
    expected, tensors = (
        {name: tensor for name, tensor in each.items() if not name.startswith(fresh)} for each in (expected, tensors)
    )
    tensors |= _more_layers(tensors, theirs.decoder_layers, preset.decoder_layers)
    check_fit(expected, tensors, name=parent.name)
    return tensors


def _more_layers(tensors: Tensors, present: int, wanted: int) -> dict[str, Tensor]:
    """The layers from `present` to `wanted` of a decoder that has so many: each is its last one once more."""
    lasts = [f"{part}{present - 1}." for part in LAYERS]
    return {
        f"{part}{number}.{name.removeprefix(last)}": tensor
        for part, last in zip(LAYERS, lasts, strict=True)
        for name, tensor in tensors.items()
        if name.startswith(last)
        for number in range(present, wanted)
    }


def _dead(tensors: Tensors) -> tuple[str, ...]:
    """Parts that make masks and are all zeros, as in weights that know none: they could not learn anything."""
    parts = {name: _part(tensors, name).values() for name in MASK_PARTS}
    return tuple(name for name, part in parts.items() if part and not any(tensor.any() for tensor in part))


def _of_images(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """The backbone, which must fit, and what else fits as a whole part."""
    given = {
        BACKBONE + name.partition(BACKBONE)[2]: tensor for name, tensor in parent.tensors.items() if BACKBONE in name
    }
    if not given:
        raise WeightsError(
            f"cannot start from `{parent.name}` (it belongs to `{parent.info.method}`, and has no backbone like ours)",
            hint="start `msts` from an msts checkpoint, or from one of another method with the preset's backbone",
        )
    expected = _shapes(preset)
    check_fit(_part(expected, BACKBONE), given, name=parent.name)
    if parent.info.sizes.get("image_model") == "idol":
        own = dict(_of_idol(parent.tensors))
        for name in PARTS:
            part, wanted = _part(own, name), _part(expected, name)
            wanted = {each: tensor for each, tensor in wanted.items() if not any(added in each for added in ADDED)}
            if {n: tensor.shape for n, tensor in part.items()} == {n: tensor.shape for n, tensor in wanted.items()}:
                given |= part
    return given


def _of_idol(tensors: Tensors) -> Iterator[tuple[str, Tensor]]:
    """Its tensors by our names. Boxes begin as copies of the instances, which weigh all frames alike."""
    for theirs, tensor in tensors.items():
        name = theirs.removeprefix("image.")
        yield name, tensor
        begin, layers, rest = name.partition("decoder.layers.")
        number, _, place = rest.partition(".")
        if begin or not layers:
            continue
        layer = f"{layers}{number}."
        if place.split(".")[0] in BOTH_STREAMS:
            yield f"{layer}box_{place}", tensor
        if place.startswith("cross_attn.output_proj."):
            yield f"{layer}box_output.{place.rpartition('.')[2]}", tensor
        if place == "ffn_norm.weight":
            yield f"{layer}frame_weights.weight", tensor.new_zeros(1, len(tensor))
            yield f"{layer}frame_weights.bias", tensor.new_zeros(1)


def _part(tensors: Tensors, beginning: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(beginning)}


def _shapes(preset: Preset) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Msts(preset).state_dict()
