"""Sizes and choices of RefineVIS. Where the paper is silent the choice has a field (R1 to R21 of README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ...nn.idol_detector import sizes as idol_detector
from ...nn.mask_dino import sizes as mask_dino
from ...nn.presets import Mask2FormerSizes
from .association import AssociationRules

ImageModelName = Literal["maskdino", "mask2former", "idol"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(AssociationRules):
    """The rules of the tracker, and what RefineVIS decides beyond them. The defaults are the paper where it speaks."""

    image_model: ImageModelName
    """What looks at one frame; see `network.IMAGE_MODELS`."""
    image: Mapping[str, Any]
    """Its sizes, as its own dataclass has them, but for the classes."""
    num_classes: int = 40
    contrastive_head: bool = True
    """A head of ours on the image model's queries for association; IDOL's detector brings its own."""

    window: int = 10
    """W: frames of a tracklet that are seen at once online. 0 or 1: no refinement, online or offline."""
    missing: Literal["null", "hold", "refine"] = "refine"
    """What is told of a tracklet on a frame without a detection of it: nothing, what its last embedding says of the
    frame, or what the refinement does."""
    hold_decay: float = 0.9
    """What a held score loses with every frame."""
    tar_heads: int = 8
    tar_ffn: int = 1024
    """R5. Width of the feed-forward layer."""
    norm: Literal["pre", "post"] = "pre"
    """R1. Before each part, residual, starting as the identity; or after each part, starting at random."""
    position: Literal["attention", "input"] = "attention"
    """R2. The code of the frame's number joins queries and keys, or the tokens themselves."""
    times: Literal["absolute", "relative"] = "absolute"
    """R3. Number of the frame in the source, or counted from the tracklet's first token."""
    missing_keys: Literal["attended", "masked"] = "attended"
    """R4. Whether tokens of missing frames are looked at."""
    refined: Literal["all", "sure"] = "all"
    """R7. All tracklets, or those whose latest detection scored more than `new_score`."""
    write_back: bool = True
    """R8. Online, what is refined for a missing frame is what later frames see of it; else they see zeros."""
    recovered_score: float = 0.1
    """R10. Best class score above which a mask without a detection is told."""
    recovered_quality: bool = False
    """R10. Multiply that score by the mean probability of the mask's pixels."""
    recovered_overlap: float = 1.0
    """IoU with the mask of a detection above which a mask without one is dropped; 1: never."""
    before_birth: bool = True
    """R11. Offline, frames of a clip before a tracklet's first detection are told too."""
    score_of: Literal["matched", "shown"] = "matched"
    """R12. Frames whose class scores make the score of the track."""
    learning: Mapping[str, Any] = field(default_factory=dict)
    """R13 to R18. What training decides otherwise than `learning.LearningRules` and the image model's sizes do."""


OVIS: Mapping[str, Any] = MappingProxyType({"num_classes": 25, "mask_nms": 0.3, "new_score": 0.3})
"""What is different for OVIS, whose videos are long and crowded."""


def without_classes(sizes: Any) -> dict[str, Any]:
    """The sizes of an image model, as `Preset.image` holds them."""
    return {name: value for name, value in asdict(sizes).items() if name != "num_classes"}


def _mask_dino(name: str, **others: Any) -> Preset:
    return Preset(image_model="maskdino", image=without_classes(mask_dino.PRESETS[name]), **others)


def _mask2former(backbone: str) -> Preset:
    return Preset(image_model="mask2former", image=without_classes(Mask2FormerSizes(backbone=backbone)))


def _idol(name: str, **others: Any) -> Preset:
    sizes = without_classes(idol_detector.PRESETS[name])
    return Preset(image_model="idol", image=sizes, contrastive_head=False, **others)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": _mask_dino("tiny", num_classes=8, learning={"forgotten": 0.25, "online_share": 0.5}),
        "r50": _mask_dino("r50-hid2048"),
        "r50-ovis": _mask_dino("r50-hid2048", **OVIS),
        "r50-hid1024": _mask_dino("r50-hid1024"),
        "swin-l": _mask_dino("swin-l"),
        "swin-l-ovis": _mask_dino("swin-l", **OVIS),
        "swin-l-unenhanced": _mask_dino("swin-l-unenhanced"),
        "r50-idol": _idol("r50"),
        "r50-idol-ovis": _idol("r50", **OVIS),
        "r101-idol": _idol("r101"),
        "swin-l-idol": _idol("swin-l"),
        "swin-l-idol-ovis": _idol("swin-l", **OVIS),
        "mask2former-swin-t": _mask2former("swin-tiny"),
    }
)
