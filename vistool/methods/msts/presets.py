"""Sizes and choices of MS-STS. Where the paper is silent, or the released code parts ways with it, the choice has a
field (S1 to S12 of README.md).

The defaults are the release, which is SeqFormer. `PAPER` holds what makes it MS-STS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

ClassColumns = Literal["classes", "ytvis-ids", "coco-ids"]
CLASSES_WITH_IDS: Mapping[ClassColumns, int] = MappingProxyType({"ytvis-ids": 40, "coco-ids": 80})


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that decides what is said of a clip, but for the weights. Sizes are as published."""

    backbone: str
    """A name of `nn.backbones` or of `nn.resnext`."""
    backbone_sizes: Mapping[str, Any] = field(default_factory=dict)
    """Of a ResNet that has no name there, as its configuration calls them; empty for the others."""
    frozen_norms: bool = False
    """Batch norms of the backbone keep their statistics in training (pre-trained ResNets)."""
    num_classes: int = 40
    class_columns: ClassColumns = "classes"
    """S12. What the class heads have a column for: a class; ids of YouTube-VIS, 1 to 40, and two that mean nothing; or
    ids of COCO, from 0 on."""
    queries: int = 300
    dim: int = 256
    heads: int = 8
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    encoder_points: int = 4
    """Points that a head reads on every level."""
    decoder_layers: int = 6
    decoder_ffn: int = 1024
    decoder_points: int = 4
    mask_width: int = 64
    """Channels of the mask branch before the last convolution."""
    mask_features: int = 8
    """Channels that dynamic masks are made of, beside the two coordinates."""
    mask_hidden: int = 8
    """Channels between the layers of the dynamic mask head."""
    dropout: float = 0.1
    """Share of what a part adds to its input that is left out in training."""

    encoder_attention: bool = False
    """Split attention over frames and scales beside every layer of the encoder (section 3.2)."""
    decoder_attention: bool = False
    """Attention over the frames among the box queries of an instance, from the second layer on (section 3.3)."""
    temporal_place: bool = False
    """S10. Queries, keys and values of that attention know on which frame a box is, and where."""
    split_heads: int = 8
    """S1. Heads of split attention; 1 is the literal reading of the equations."""
    split_mlp_ratio: int = 4
    """S2. Width of its multi-layer perceptrons, in widths of a query."""
    split_levels: int = 4
    """S3. Levels that it works on, counted from the coarsest; 3 leaves out stride 8."""
    share_layers: bool = False
    """S4. One set of its weights for all layers of the encoder."""
    position: Literal["none", "qk"] = "none"
    """S5. What queries and keys of all attention over frames know of place, level and frame number: nothing, as in the
    equations, or sine codes."""
    inter_scale_window: int | None = None
    """S6. Most tokens, of all frames together, that joint attention puts side by side; None: all of a level."""
    mask_geometry: Literal["stretched", "exact"] = "stretched"
    """S11. Masks that reach beyond the frame are squeezed into it, as in the release, or cut off at its edge."""
    learning: Mapping[str, Any] = field(default_factory=dict)
    """What training decides otherwise than `learning.LearningRules` does."""

    def __post_init__(self) -> None:
        if self.class_columns != "classes" and self.num_classes != CLASSES_WITH_IDS[self.class_columns]:
            raise ValueError(f"{self.num_classes} classes, but columns are {self.class_columns}")


PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "encoder_attention": True,
        "decoder_attention": True,
        "mask_geometry": "exact",
        "learning": {"adv_weight": 0.1},
    }
)
"""What the paper has and the release has not."""

_R50 = Preset(backbone="resnet-50", frozen_norms=True)
_RELEASE: Mapping[str, Preset] = {
    "r50": _R50,
    "r101": replace(_R50, backbone="resnet-101"),
    "x101": replace(_R50, backbone="resnext-101-32x8d"),
    "swin-l": Preset(backbone="swin-large"),
}
_TINY = Preset(
    backbone="resnet-tiny",
    num_classes=8,
    queries=30,
    dim=64,
    heads=4,
    encoder_layers=2,
    encoder_ffn=128,
    decoder_layers=5,
    decoder_ffn=128,
    mask_width=16,
    dropout=0.0,
    split_heads=4,
    split_mlp_ratio=2,
    temporal_place=True,
    mask_geometry="exact",
    learning={"absent_boxes": "ignored"},
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": replace(_TINY, **{**PAPER, "learning": {**_TINY.learning, **PAPER["learning"]}}),
        "tiny-baseline": _TINY,
        "tiny-encoder": replace(_TINY, encoder_attention=True),
        "tiny-decoder": replace(_TINY, decoder_attention=True),
        "tiny-attention": replace(_TINY, encoder_attention=True, decoder_attention=True),
        **_RELEASE,
        **{f"{name}-paper": replace(preset, **PAPER) for name, preset in _RELEASE.items()},
    }
)
"""`tiny` trains on two CPU cores. The others of its size are the steps of the paper's ablation: neither attention nor
discriminator, the encoder's attention, and that and the decoder's. `tiny-decoder` has the decoder's alone, whose steps
cost less; `tiny` can start from it."""
