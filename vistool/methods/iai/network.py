"""The network: a backbone, the association that replaces its coarsest map, and an image model on the maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor, nn

from ...nn.backbones import Backbone
from ...nn.detector import Detector
from .association import Associated, FrameTokens, HybridAssociation, NoAssociation
from .memory import Memory, Remembered
from .presets import Preset


def _condinst(preset: Preset, in_channels: Sequence[int]) -> Detector:
    from ...nn.condinst.loss import LossRules
    from ...nn.condinst.network import CondInst
    from ...nn.condinst.sizes import CondInstSizes

    sizes = CondInstSizes(**preset.image, num_classes=preset.num_classes, num_ids=num_ids(preset))
    return CondInst(sizes, in_channels, LossRules(**preset.loss_rules))


def _mask_rcnn(preset: Preset, in_channels: Sequence[int]) -> Detector:
    from ...nn.mask_rcnn.network import MaskRcnn
    from ...nn.mask_rcnn.sizes import MaskRcnnSizes

    sizes = MaskRcnnSizes(**preset.image, num_classes=preset.num_classes, num_ids=num_ids(preset))
    return MaskRcnn(sizes, in_channels)


IMAGE_MODELS: Mapping[str, Callable[[Preset, Sequence[int]], Detector]] = MappingProxyType(
    {"condinst": _condinst, "maskrcnn": _mask_rcnn}
)
"""Name in a preset → a fresh network for maps of these channels."""


def num_ids(preset: Preset) -> int:
    """Identities that the image model is asked for."""
    return preset.max_ids if preset.id_head else 0


class Iai(nn.Module):
    """Holds weights only: what is remembered of a video belongs to who goes through it."""

    detector: Detector

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.backbone = Backbone(preset.backbone, frozen_norms=preset.frozen_norms, sizes=preset.backbone_sizes)
        channels = self.backbone.channels
        mixing = NoAssociation if preset.association == "none" else HybridAssociation
        self.association = mixing(preset, channels[-1])
        self.detector = IMAGE_MODELS[preset.image_model](preset, (*channels[:-1], self.association.out_channels))

    def look(self, frames: Tensor) -> tuple[Tensor, ...]:
        """frames (B, 3, H, W) normalised, sides multiples of 32 → C2 to C5 of each, on its own."""
        maps: tuple[Tensor, ...] = self.backbone(frames)
        return maps

    def associate(self, c5: Tensor, memory: Memory | None) -> Associated:
        """c5 (B, C, h, w) of the next frame of B clips, and what is remembered of these; None on their first frame."""
        seen: Associated = self.association(c5, memory)
        return seen

    def remember(self, seen: FrameTokens, id_masks: Tensor) -> Remembered:
        """What to add to the memory: id_masks (B, N + 1, H, W), the last channel the background."""
        return self.association.remember(seen, id_masks)
