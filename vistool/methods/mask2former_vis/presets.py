"""The published sizes, and a tiny one that trains on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...nn.presets import TINY, Mask2FormerSizes, published

PRESETS: Mapping[str, Mask2FormerSizes] = MappingProxyType(
    {"tiny": Mask2FormerSizes(**TINY), **published(Mask2FormerSizes)}
)
