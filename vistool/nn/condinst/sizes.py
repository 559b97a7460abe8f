"""The sizes of CondInst: as published, and a small one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MaskNorm = Literal["batch", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CondInstSizes:
    """Sizes of pyramid, head and mask branch. Defaults as published."""

    num_classes: int = 40
    num_ids: int = 20
    """Identities that the head tells apart, the last one being "new"; 0: a detector without identities."""
    dim: int = 256
    """Channels of the pyramid and of the towers."""
    groups: int = 32
    """Of the group norms."""
    tower_depth: int = 4
    """Convolutions before the outputs, for classes and for boxes."""
    tower_bias: bool = False
    """Whether convolutions that a norm follows have a bias: not in IAI, but in other projects' CondInst."""
    id_depth: int = 1
    """Convolutions before the output, for identities."""
    mask_width: int = 128
    """Channels of the mask branch before the last convolution."""
    mask_depth: int = 4
    mask_features: int = 8
    """Channels that dynamic masks are made of, beside the two coordinates."""
    mask_hidden: int = 8
    """Channels between the layers of the dynamic mask head."""
    mask_norm: MaskNorm = "batch"
    """Norms of the mask branch. Batch norms use the frames of a step, of which they need more than one."""


PUBLISHED = CondInstSizes()

PRESETS = {
    "r50": PUBLISHED,
    "r101": PUBLISHED,
    "tiny": CondInstSizes(
        num_classes=8,
        dim=64,
        groups=8,
        tower_depth=2,
        mask_width=32,
        mask_depth=2,
        mask_norm="group",
    ),
}
"""By the backbone that they stand on. `tiny` is of a size that trains on two CPU cores."""
