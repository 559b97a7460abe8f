"""Sizes and choices of HITF. Where the paper is silent the choice has a field (D1 to D27 of README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

Norm = Literal["batch", "layer"]
PixelAttention = Literal["axial", "full", "none"]
Aspp = Literal["separable", "dense", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that decides what is said of a video, but for the weights."""

    backbone: str = "resnet-50"
    """A ResNet of `nn.backbones`."""
    backbone_sizes: Mapping[str, Any] = field(default_factory=dict)
    """Of a ResNet that has no name there, as its configuration calls them; empty for the others."""
    frozen_norms: bool = True
    """Batch norms of the backbone keep their statistics in training."""
    num_classes: int = 40
    long_side: int = 641
    """Pixels of the long side of a frame, and of both sides of the table of positions."""

    slots: int = 10
    """L: most objects of a frame."""
    max_slots: int = 32
    """Rows of the learned code, of which the first `slots` are used."""
    output_stride: Literal[16, 32] = 16
    """D1. Pixels from a cell of the coarsest map to the next."""
    rounds: int = 2
    """M: how often looking at the references and looking at the frame take turns."""
    references: int = 3
    """R: frames that are looked back at."""
    ref_stride: int = 1
    """Frames from one of them to the next."""
    inter_code: bool = True
    """Codes look at codes and pixels of the references, Eq. (3)."""
    inter_pixels: bool = True
    """Pixels look at codes of the references, Eq. (4)."""
    pixel_attention: PixelAttention = "axial"
    """D4. How pixels of a frame look at one another, after every block of the last stage."""

    norm: Norm = "batch"
    """D3. Batch norms, of attention logits too; or layer norms, and logits by the root of their width."""
    dim: int = 256
    """Width of the code, and of both paths where they attend."""
    heads: int = 8
    key_width: int = 128
    """Of all heads together."""
    value_width: int = 256
    ffn: int = 2048
    aspp: Aspp = "separable"
    """D8. How the decoder looks around on the coarsest map."""
    dropout: float = 0.1
    """Share of the channels of what it makes there that is left out in training."""
    decoder_width: int = 256
    low_width: int = 48
    """Channels that the decoder takes from the map at stride 4."""
    mask_width: int = 128
    """Channels of the features that filters are held against."""
    mask_gain: float = 0.1
    """What mask logits are multiplied by before anything is learned."""

    pair_matching: bool = True
    """D22. Slots are matched over all supervised frames at once, Eq. (6) to (8); else on each frame for itself."""
    supervised: int = 2
    """D11. Most frames of a clip, from the last one back, that have losses: 2 in the paper."""
    least_weight: float = 1e-5
    """D21. What class and mask of a slot, which weigh each other in the loss, weigh at least."""

    naming: Literal["slots", "motion"] = "slots"
    """D27. Who is who: by slots and overlaps, as in the paper; or by where a track should be now, and its class."""
    overlap: float = 0.5
    """IoU with a mask of the frame before, above which it is the same object whatever its slot; with `motion`, IoU of
    the boxes, times a factor for the class."""
    begin_score: float = 0.0
    """Least score of the class of what begins a track, or ends its absence; with `motion` alone."""
    slot_gap: int | None = None
    """D13. Frames that a slot may be empty, or with `motion` a track out of sight, before it is forgotten whose it was;
    None: never, as in the paper."""
    same_class: bool = False
    """D13. A slot goes on with its object only if the class is the same; with `motion` the class always has a say."""
    empty_weight: float = 1.0
    """D15. What the probability of nothing is multiplied by before a slot is taken for empty."""
    class_threshold: float = 0.0
    """D15. Least probability of the best class for a slot that is not empty."""
    pixel_threshold: float = 0.4
    """D15. Least probability of a slot for a pixel that is its."""
    min_share: float = 0.0
    """D15. Least share of a frame that a mask covers; 0: a pixel."""
    score_average: Literal["detected", "all"] = "detected"
    """D14. Frames whose class scores make the score of a track: those that show it, or all of the video."""

    def __post_init__(self) -> None:
        if self.slots > self.max_slots:
            raise ValueError(f"more slots than rows of the code: {self.slots} of {self.max_slots}")
        if self.key_width % self.heads or self.value_width % self.heads:
            raise ValueError(
                f"widths are no multiples of the heads: {self.key_width}, {self.value_width}, {self.heads}"
            )
        if self.naming == "motion" and self.slot_gap is None:
            raise ValueError("`motion` needs a `slot_gap`: else what is remembered grows with the video")
        if self.rounds < 1 or self.references < 1 or self.ref_stride < 1:
            raise ValueError("`rounds`, `references` and `ref_stride` are 1 or more")


_R50 = Preset()

_TINY = Preset(
    backbone="resnet-tiny",
    frozen_norms=False,
    num_classes=8,
    long_side=225,
    slots=16,
    max_slots=16,
    norm="layer",
    dim=64,
    heads=4,
    key_width=64,
    value_width=64,
    ffn=256,
    dropout=0.0,
    least_weight=1.0,  # or slots that took no object early never would
    decoder_width=64,
    low_width=24,
    mask_width=64,
    pair_matching=False,  # steadier slots were not worth worse masks
    supervised=3,
    naming="motion",  # slots are places: an object that moves goes from one to the next
    overlap=0.4,
    begin_score=0.6,
    slot_gap=24,
    empty_weight=0.25,
    score_average="all",
)
_SLOTS = replace(_TINY, long_side=161, pair_matching=True, supervised=2, naming="slots", overlap=0.1, slot_gap=None)
_ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "slots": {},
    "alone": {"inter_code": False, "inter_pixels": False},  # Table 3
    "pixels": {"inter_code": False},
    "pixels-unpaired": {"inter_code": False, "pair_matching": False},
    "unpaired": {"pair_matching": False},
    **{f"{number}-rounds": {"rounds": number} for number in (1, 3, 4)},  # Table 4
    **{f"{number}-slots": {"slots": number, "max_slots": number} for number in (24, 32)},  # Table 5
    **{f"{number}-references": {"references": number} for number in (1, 2, 4)},  # Table 6
}
"""What the paper leaves out of its network, or does more or less often, to see what it is good for. Its tables tell
objects apart by slots, and so do these: `tiny-slots` is `tiny` as it was matched in pairs and named by slots, with two
frames of a clip in the loss, as in the paper, a smaller frame, and an overlap of 0.1."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": _TINY,
        **{f"tiny-{name}": replace(_SLOTS, **changes) for name, changes in _ABLATIONS.items()},
        "r50-ytvis2019": _R50,
        "r50-ytvis2021": replace(_R50, slots=15),
        "r50-stride32": replace(_R50, output_stride=32, aspp="none"),
    }
)
"""`r50-ytvis2019` is the paper's. In YouTube-VIS 2021 frames have more objects; the paper says no sizes for it.
`r50-stride32` has little more than half the operations, for the CPU. `tiny` trains on two CPU cores; its relatives are
the rows of the paper's ablations."""
