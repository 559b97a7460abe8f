"""Tensors of a published file under our names, and back. Strict: every tensor is accounted for, on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..errors import WeightsError
from .backbones import RESNETS, SWINS
from .published_names import Layout

_SHOWN = 3  # names in a message

Tensors = Mapping[str, Tensor]


def from_layout(tensors: Tensors, names: Layout, expected: Tensors, network: str) -> dict[str, Tensor]:
    """All of `expected` (ours, with shapes, on any device) out of a published file; `network` is for messages.

    Raises WeightsError when a tensor is missing, left over or of another shape.
    """
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    missing = []
    for name, wanted in expected.items():
        source = names.source(name)
        if source is None:
            ours[name] = torch.zeros(wanted.shape, dtype=wanted.dtype)
        elif source.key not in tensors:
            missing.append(source.key)
        else:
            used.add(source.key)
            ours[name] = _fitting(source.key, tensors[source.key], source.part, wanted)
    require_none(missing, "misses", network)
    require_none((key for key in tensors if key not in used and not names.ignores(key)), "has unknown", network)
    return ours


def to_layout(ours: Tensors, names: Layout) -> dict[str, Tensor]:
    """Our tensors, in the order of their network, under the names of a layout."""
    parts: dict[str, list[Tensor]] = {}
    for name, tensor in ours.items():
        source = names.source(name)
        if source is not None:
            parts.setdefault(source.key, []).append(tensor)
    return {key: torch.cat(blocks) if len(blocks) > 1 else blocks[0] for key, blocks in parts.items()}


def require_none(keys: Iterable[str], what: str, network: str) -> None:
    """WeightsError that names the first of `keys`, unless there are none."""
    found = sorted(keys)
    if found:
        named = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        raise WeightsError(f"checkpoint {what} tensors: `{named}` (of {network})")


def _fitting(key: str, published: Tensor, part: int | None, wanted: Tensor) -> Tensor:
    """The tensor, or its block of rows, after a look at the shape."""
    shape = tuple(wanted.shape)
    whole = shape if part is None else (3 * shape[0], *shape[1:])
    if tuple(published.shape) != whole:
        raise WeightsError(f"tensor does not fit: `{key}` (has shape {tuple(published.shape)}, expected {whole})")
    block = published if part is None else published.chunk(3)[part]
    return block.to(wanted.dtype).contiguous()


class Shapes:
    """Reads the sizes of a network off published tensors, by our names."""

    def __init__(self, tensors: Tensors, names: Layout, network: str) -> None:
        self._tensors = tensors
        self._names = names
        self._network = network

    def of(self, ours: str) -> tuple[int, ...]:
        """The shape of a tensor in the file; WeightsError when it is missing."""
        key = self._key(ours)
        if key not in self._tensors:
            require_none([key], "misses", self._network)
        return tuple(self._tensors[key].shape)

    def count(self, ours: str) -> int:
        """Consecutive numbers from 0, in the place of `{}`, for which the tensor exists."""
        count = 0
        while self._has(ours.format(count)):
            count += 1
        return count

    def backbone(self, body: str) -> str:
        """The name, in `nn.backbones`, of the backbone whose tensors begin with `body`."""
        if self._has(body + "embedder.embedder.convolution.weight"):
            depths = [self.count(f"{body}encoder.stages.{s}.layers.{{}}.layer.0.convolution.weight") for s in range(4)]
            found = [name for name, sizes in RESNETS.items() if sizes["depths"] == depths]
            described = f"a ResNet of depths {depths}"
        else:
            swin = body + "swin."
            depths = [self.count(f"{swin}encoder.layers.{s}.blocks.{{}}.layernorm_before.weight") for s in range(4)]
            width = self.of(swin + "embeddings.norm.weight")[0]
            first_table = "encoder.layers.0.blocks.0.attention.relative_position_bias.relative_position_bias_table"
            offsets = self.of(swin + first_table)[0]
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
