"""What training decides beyond the sizes of the network. Where the paper is silent: R13 to R18 of README.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal

from ...nn.denoising import Kind, Noise
from .presets import ImageModelName, Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRules:
    """Weights of the losses, who answers for whom, and which denoising there is. Defaults as in MaskDINO and IDOL."""

    assignment: Literal["ota", "hungarian"] = "ota"
    """R16. Queries that learn an object on the key frame: as many as fit, or one (to train an image model alone)."""
    class_weight: float = 4.0
    bce_weight: float = 5.0
    dice_weight: float = 5.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    loss_points: int = 12544
    """Points a mask at which matching and mask losses are taken."""

    association_weight: float = 2.0
    """Of Eq. (3), for matched and for denoising queries."""
    cosine_weight: float = 3.0
    """R15. Of IDOL's term on cosines; 0: none."""
    refine_weight: float = 1.0
    """Of all that is learned through the temporal refinement; 0: none."""
    unmatched: int = 100
    """Most queries a frame that no object has and that become tracklets of nothing, the surest first."""
    least_iou: float = 0.1
    """Overlap with the object's box below which its query is no token: the object counts as missed."""
    least_score: float = 0.01
    """Best class score below which it counts as missed, too."""
    forgotten: float = 0.0
    """Share of the tokens of objects taken away, as if the detector had missed them; one of an object stays."""
    online_share: float = 0.0
    """Share of the steps in which tracklets are refined as online, from what was refined before; else all at once."""
    absent_class: Literal["none", "own"] = "none"
    """R14. What a refined embedding must say where its object is out of sight."""

    noised_queries: int = 100
    """Denoising queries a frame, about; 0: none of any kind."""
    noise: Kind = "contrastive"
    """R18. DINO's pairs, or positive queries alone as in MaskDINO."""
    label_flip: float = 0.25
    box_scale: float = 0.4
    frame_denoising: bool = True
    """Denoising queries of the key frame restore their objects."""
    association_denoising: bool = True
    """Denoising queries of both frames are told apart by Eq. (3)."""
    temporal_denoising: bool = True
    """Denoising queries of both frames make tracklets that the temporal refinement restores or rejects."""

    @property
    def denoises(self) -> bool:
        """Whether denoising queries are made at all."""
        return self.noised_queries > 0 and (
            self.frame_denoising or self.association_denoising or self.temporal_denoising
        )

    @property
    def disturbance(self) -> Noise:
        return Noise(queries=self.noised_queries, kind=self.noise, label_flip=self.label_flip, box_scale=self.box_scale)


PUBLISHED: Mapping[ImageModelName, Mapping[str, Any]] = MappingProxyType(
    {
        "maskdino": {},
        "mask2former": {"noised_queries": 0, "box_weight": 0.0, "giou_weight": 0.0},
        "idol": {"noised_queries": 0, "class_weight": 2.0, "bce_weight": 2.0},
    }
)
"""Where image models are trained otherwise: only MaskDINO denoises, and Mask2Former's boxes are those of its masks."""


def rules_of(preset: Preset) -> LearningRules:
    """The rules of a preset: what it says itself counts first, then what its image model's sizes say."""
    known = {item.name for item in fields(LearningRules)}
    own = {name: value for name, value in preset.image.items() if name in known}
    return LearningRules(**{**PUBLISHED[preset.image_model], **own, **preset.learning})
