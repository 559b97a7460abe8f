"""Published Mask2Former weights to ours and back. Strict: every tensor is accounted for, on both sides.

Sizes are read off the tensors. One cannot be, and is as published: the number of attention heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .backbones import RESNETS, SWINS
from .masked_decoder import MaskedDecoder
from .presets import Mask2FormerSizes
from .published_names import DETECTRON2, TRANSFORMERS_FILE, TRANSFORMERS_MEMORY, Layout
from .trunk import FrameTrunk

LAYOUTS = ("transformers-mask2former", "detectron2-mask2former")
HEADS = 8
_LEVELS = 3
_SHOWN = 3  # names in a message

Tensors = Mapping[str, Tensor]


def from_published(tensors: Tensors, layout: str = "auto") -> tuple[Mask2FormerSizes, dict[str, Tensor]]:
    """Sizes and our tensors; `layout` is one of LAYOUTS, or "auto" to tell it by the names.

    Raises WeightsError when a tensor is missing, left over or of another shape than the rest asks for.
    """
    tensors = {
        key.replace(".encoder.model.", ".encoder."): value for key, value in tensors.items()
    }  # early conversions
    names = _layout(layout, tensors)
    sizes = _Reader(names, tensors).sizes()
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    missing = []
    for name, expected in _expected(sizes).items():
        source = names.source(name)
        if source is None:
            ours[name] = torch.zeros(expected.shape, dtype=expected.dtype)
        elif source.key not in tensors:
            missing.append(source.key)
        else:
            used.add(source.key)
            ours[name] = _part(source.key, tensors[source.key], source.part, expected)
    _require_none(missing, "misses")
    _require_none((key for key in tensors if key not in used and not names.ignores(key)), "has unknown")
    return sizes, ours


def to_published(ours: Tensors, layout: str) -> dict[str, Tensor]:
    """Our tensors under the names of `layout`, one of LAYOUTS, as its files have them."""
    names = DETECTRON2 if layout == LAYOUTS[1] else TRANSFORMERS_FILE
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in ours.items():  # in the order of the network: queries, keys, values
        source = names.source(name)
        if source is not None:
            parts.setdefault(source.key, []).append(tensor)
    return {key: torch.cat(blocks) if len(blocks) > 1 else blocks[0] for key, blocks in parts.items()}


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


def _part(key: str, published: Tensor, part: int | None, expected: Tensor) -> Tensor:
    """The tensor, or its block of rows, after a look at the shape."""
    shape = tuple(expected.shape)
    whole = shape if part is None else (3 * shape[0], *shape[1:])
    if tuple(published.shape) != whole:
        raise WeightsError(f"tensor does not fit: `{key}` (has shape {tuple(published.shape)}, expected {whole})")
    block = published if part is None else published.chunk(3)[part]
    return block.to(expected.dtype).contiguous()


def _require_none(keys: Iterable[str], what: str) -> None:
    found = sorted(keys)
    if found:
        named = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        raise WeightsError(f"checkpoint {what} tensors: `{named}` (of Mask2Former)")


class _Reader:
    """Reads sizes off published tensors, by our names."""

    def __init__(self, names: Layout, tensors: Tensors) -> None:
        self._names = names
        self._tensors = tensors

    def sizes(self) -> Mask2FormerSizes:
        """All sizes of the network that these tensors belong to."""
        backbone = self._backbone()
        queries, dim = self._shape("decoder.query_feat")
        return Mask2FormerSizes(
            backbone=backbone,
            num_classes=self._shape("decoder.heads.class_embed.weight")[0] - 1,
            queries=queries,
            dim=dim,
            heads=HEADS,
            encoder_layers=self._count("trunk.pixel_decoder.layers.{}.ffn_norm.weight"),
            encoder_ffn=self._shape("trunk.pixel_decoder.layers.0.ffn.inner.weight")[0],
            encoder_points=self._shape("trunk.pixel_decoder.layers.0.self_attn.attention_weights.bias")[0]
            // (HEADS * _LEVELS),
            decoder_layers=self._count("decoder.layers.{}.ffn_norm.weight"),
            decoder_ffn=self._shape("decoder.layers.0.ffn.inner.weight")[0],
            frozen_norms=backbone in RESNETS,
        )

    def _backbone(self) -> str:
        body = "trunk.backbone.body."
        if self._has(body + "embedder.embedder.convolution.weight"):
            depths = [self._count(f"{body}encoder.stages.{s}.layers.{{}}.layer.0.convolution.weight") for s in range(4)]
            found = [name for name, sizes in RESNETS.items() if sizes["depths"] == depths]
            described = f"a ResNet of depths {depths}"
        else:
            swin = body + "swin."
            depths = [self._count(f"{swin}encoder.layers.{s}.blocks.{{}}.layernorm_before.weight") for s in range(4)]
            width = self._shape(swin + "embeddings.norm.weight")[0]
            first_table = "encoder.layers.0.blocks.0.attention.relative_position_bias.relative_position_bias_table"
            offsets = self._shape(swin + first_table)[0]
            window = (round(offsets**0.5) + 1) // 2  # a table holds (2·window - 1)² offsets
            facts = {"embed_dim": width, "depths": depths, "window_size": window}
            found = [name for name, sizes in SWINS.items() if facts.items() <= sizes.items()]
            described = f"a Swin of width {width}, depths {depths}, window {window}"
        if not found:
            raise WeightsError(f"unknown backbone: {described}", hint=f"one of: {', '.join([*RESNETS, *SWINS])}")
        return found[0]

    def _key(self, ours: str) -> str:
        source = self._names.source(ours)
        assert source is not None, ours
        return source.key

    def _has(self, ours: str) -> bool:
        return self._key(ours) in self._tensors

    def _shape(self, ours: str) -> tuple[int, ...]:
        key = self._key(ours)
        if key not in self._tensors:
            _require_none([key], "misses")
        return tuple(self._tensors[key].shape)

    def _count(self, ours: str) -> int:
        """Consecutive numbers from 0 for which the tensor exists."""
        count = 0
        while self._has(ours.format(count)):
            count += 1
        return count
