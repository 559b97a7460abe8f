"""What a method asks of the network that looks at one frame: objects as queries, their classes, boxes and masks.

MaskDINO, Mask2Former and CondInst on Deformable DETR answer it. Masks are computed on demand, for the few queries that
are kept: a frame's hundreds of masks would be its largest tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from .denoising import NoisedQueries


@dataclass(frozen=True, slots=True)
class FrameObjects:
    """What an image model says of B frames; row q is one query.

    Boxes and references are shares of the frames as they were given, whatever the network pads them to. They may pass
    1 where a network sees something in its own padding.
    """

    embeddings: Tensor  # (B, Q, D), what the class and mask heads read, before their own norm
    class_logits: Tensor  # (B, Q, K), independent sigmoids
    boxes: Tensor  # (B, Q, 4) cx cy w h
    pixels: Tensor  # (B, C, h, w), what mask kernels are applied to
    references: Tensor | None = None  # (B, Q, 2) xy, where masks are drawn relative to a point


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What one layer says of B frames."""

    class_logits: Tensor  # (B, Q, K)
    boxes: Tensor  # (B, Q, 4) cx cy w h
    embeddings: Tensor  # (B, Q, D)


@dataclass(frozen=True, slots=True)
class TrainingOutput:
    """What an image model says in training: of every layer, and of the denoising queries apart from the others."""

    objects: FrameObjects  # of the last layer, without denoising queries
    layers: tuple[LayerOutput, ...]  # the queries before the first layer, where a model has such, then every layer
    selected: LayerOutput | None = None  # of the pixels that the queries were chosen from, in two-stage models
    noised: tuple[LayerOutput, ...] = ()  # every decoder layer, denoising queries only; empty without such


class ImageModel(Protocol):
    """A network (`nn.Module`) in evaluation. In training its call is that of `TrainableImageModel`."""

    def __call__(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        """frames (B, 3, H, W) normalised, padding bool (B, H, W) true where a frame is padded.

        Networks pad on their own to the multiple they need, with zeros on the right and below.
        """
        ...

    def classes(self, embeddings: Tensor) -> Tensor:
        """(…, D) → (…, K) logits."""
        ...

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        """Of one frame: embeddings (N, D), pixels (C, h, w), references (N, 2) → mask logits (N, H / 4, W / 4)."""
        ...

    def association(self, objects: FrameObjects) -> Tensor:
        """What queries of different frames are compared by, (B, Q, D).

        The output of the contrastive head where a network has one, else the normalised queries.
        """
        ...


class TrainableImageModel(ImageModel, Protocol):
    """The same network in training mode."""

    def __call__(  # type: ignore[override]  # a module's output depends on its mode
        self, frames: Tensor, padding: Tensor | None = None, noised: NoisedQueries | None = None
    ) -> TrainingOutput:
        """As in evaluation, with denoising queries beside the others, → every layer."""
        ...
