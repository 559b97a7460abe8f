"""What a method that mixes memory into the deepest feature map asks of an image model: candidates on one frame.

CondInst on FCOS and Mask R-CNN answer it. They take the maps of a backbone, not images, so that a map can be replaced
on the way. What they find is raw: thresholds, suppression of doubles and identities are for the method. Masks are
computed on demand, for the few rows that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Candidates on one frame, before any threshold; row p of the first six is one candidate. N may be 0."""

    class_scores: Tensor  # (P, K) probabilities, without background
    id_scores: Tensor  # (P, N) probabilities of identities, without background; the last one means "new"
    quality: Tensor  # (P,) centerness in [0, 1]; ones where a model has none
    boxes: Tensor  # (P, 4) corners in pixels of the padded input, not clipped
    levels: Tensor  # int64 (P,), which map of the pyramid a row comes from, 0 the finest
    handles: Tensor  # (P, …), what `Detector.masks` needs of a row
    pixels: Tensor | tuple[Tensor, ...]  # what masks are made of: for all rows the same


@dataclass(frozen=True, slots=True, eq=False)
class DetectorTargets:
    """The objects that are visible on one frame; row n of all four is the same object."""

    labels: Tensor  # int64 (n,), row of `categories`
    ids: Tensor  # int64 (n,), what the id head must say: 0 … N - 2 seen before, N - 1 new; N: nobody
    boxes: Tensor  # (n, 4) corners in pixels, tight boxes of the masks
    masks: Tensor  # bool (n, H, W), at the size of the network's input


class Detector(Protocol):
    """A network (`nn.Module`). Maps are those of a backbone at strides 4, 8, 16 and 32, fine to coarse."""

    @property
    def in_channels(self) -> tuple[int, ...]:
        """Channels of the maps."""
        ...

    def detect(self, maps: tuple[Tensor, ...], size_hw: tuple[int, int]) -> Detections:
        """maps (1, C_i, h_i, w_i) of one frame → candidates; size_hw: the part of the input that is no padding."""
        ...

    def masks(self, found: Detections, rows: Tensor) -> Tensor:
        """rows int64 (n,) of `found` → mask probabilities (n, H / 4, W / 4) of the padded input."""
        ...

    def losses(self, maps: tuple[Tensor, ...], targets: Sequence[DetectorTargets]) -> Mapping[str, Tensor]:
        """maps (B, C_i, h_i, w_i), one target a frame → named scalar terms, not weighted."""
        ...
