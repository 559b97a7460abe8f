"""The network: an image model, a head that tells objects apart, and the temporal refinement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ...nn.image_model import FrameObjects, ImageModel
from ...nn.mlp import Mlp
from .presets import Preset
from .tar import TemporalRefinement


def _mask_dino(sizes: Mapping[str, Any]) -> ImageModel:
    from ...nn.mask_dino.network import MaskDino
    from ...nn.mask_dino.sizes import MaskDinoSizes

    return MaskDino(MaskDinoSizes(**sizes))


def _mask2former(sizes: Mapping[str, Any]) -> ImageModel:
    from ...nn.mask2former_image import Mask2FormerImage
    from ...nn.presets import Mask2FormerSizes

    return Mask2FormerImage(Mask2FormerSizes(**sizes))


def _idol(sizes: Mapping[str, Any]) -> ImageModel:
    from ...nn.idol_detector.network import IdolDetector
    from ...nn.idol_detector.sizes import IdolSizes

    return IdolDetector(IdolSizes(**sizes))


IMAGE_MODELS: Mapping[str, Callable[[Mapping[str, Any]], ImageModel]] = MappingProxyType(
    {"maskdino": _mask_dino, "mask2former": _mask2former, "idol": _idol}
)
"""Name in a preset → the network of these sizes, fresh."""


class RefineVis(nn.Module):
    """`image` looks at frames, `tar` at tracklets; what both see is told by the class and mask heads of `image`."""

    image: ImageModel

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.image = IMAGE_MODELS[preset.image_model]({**preset.image, "num_classes": preset.num_classes})
        dim = preset.image["dim"]
        self.reid_head = Mlp(dim, dim, dim, 3) if preset.contrastive_head else None
        self.tar = TemporalRefinement(preset, dim)

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        """frames (B, 3, H, W) normalised, padding bool (B, H, W) → the objects of each frame, on its own."""
        return self.image(frames, padding)

    @property
    def tells_apart(self) -> bool:
        """Whether there is a head that was made for association."""
        return self.preset.contrastive_head or self.preset.image_model == "idol"

    def association(self, objects: FrameObjects) -> Tensor:
        """What queries of different frames are compared by, (B, Q, D)."""
        if self.reid_head is None:
            return self.image.association(objects)
        looks: Tensor = self.reid_head(objects.embeddings)
        return looks
