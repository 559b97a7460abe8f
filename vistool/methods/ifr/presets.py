"""Sizes and choices of IFR. Where the paper is silent the choice has a field (A1 to A16 of README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ...nn.presets import TINY, Mask2FormerSizes, published


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(Mask2FormerSizes):
    """Mask2Former's sizes, and what IFR decides beyond them. The defaults are the paper where it speaks."""

    attention_mask: Literal["own", "travelling", "clip_open"] = "own"
    """A2. Which mask blocks slot q on frame t: its own of the layer before; the one that its query of frame t-1 draws
    on frame t; or its own for the travelling group while the clip group sees everything."""
    empty_mask: Literal["open", "skip"] = "open"
    """A3. A slot with an empty mask on a frame sees all of it, or skips cross-attention."""
    norm: Literal["post", "pre"] = "post"
    """A4. Mask2Former's order, so that its weights mean the same, or normalisation before each part."""
    clip_ffn: bool = False
    """A5. A feed-forward block in the clip update (zero-initialised)."""
    group_code: bool = False
    """A6. A learned code that tells the two query groups apart (zero-initialised)."""
    temporal_code: Literal["none", "normalised", "absolute"] = "none"
    """A8. Code of the frame's number in the keys of the clip update; none is free of order and of length."""
    share_layers: bool = False
    """A9. One set of weights for all layers."""
    recurrence: Literal["fixed", "scalar", "tanh", "channel"] = "fixed"
    """A10. What gates the recurrence: a constant, a learned number a layer, its tanh, or a learned number a channel."""
    rho: float = 1.0
    """A10. (Initial) gate: 1 is the paper, 0 starts every frame from the clip query."""
    frame_order: Literal["forward", "both"] = "forward"
    """A11. At test time, one pass from first to last, or the mean of both directions."""
    class_head: Literal["sigmoid", "softmax"] = "sigmoid"
    """A12. K independent logits with focal loss, or K+1 with cross-entropy as in Mask2Former."""
    clip_update: Literal["aligned", "literal"] = "aligned"
    """Section 3: how clip queries gather frame queries; see `decoder.ClipUpdate`."""
    clip_source: Literal["ffn", "attention"] = "ffn"
    """A15. Which frame queries the clip update reads: after the FFN, or after self-attention."""
    cross_frame_weight: float = 0.3
    """λ_e of Eq. (7): how much the query of one frame must also segment the object on the others."""
    cross_frame_layers: Literal["all", "last"] = "all"
    """A14. The layers whose predictions carry the cross-frame term; the initial queries never do."""


PRESETS: Mapping[str, Preset] = MappingProxyType({"tiny": Preset(**TINY), **published(Preset)})
