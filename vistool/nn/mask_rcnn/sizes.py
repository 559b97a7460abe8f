"""The sizes of Mask R-CNN: as published, and a small one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRcnnSizes:
    """Sizes of pyramid and heads, and how many boxes go from one stage to the next. Defaults as published."""

    num_classes: int = 40
    num_ids: int = 20
    """Identities that the box head tells apart, the last one being "new"; 0: a detector without identities."""
    dim: int = 256
    """Channels of the pyramid."""
    anchor_scale: float = 8.0
    """Side of a square anchor, in strides of its level."""
    proposals_per_level: int = 1000
    """Best anchors of a level that are compared with each other."""
    proposals: int = 1000
    """Boxes a frame that the heads look at."""
    canonical_side: float = 224.0
    """Side in pixels of the boxes that are read from the map at stride 16; half of it: from the next finer one."""
    box_dim: int = 1024
    """Width of the box head."""
    mask_convolutions: int = 4
    mask_dim: int = 256
    """Channels of the mask head."""
    training_proposals_per_level: int = 2000
    training_proposals: int = 2000
    """As the two above, in training."""
    anchor_samples: int = 256
    """Anchors a frame that the proposals learn from."""
    proposal_samples: int = 512
    """Boxes a frame that the heads learn from."""


PUBLISHED = MaskRcnnSizes()

PRESETS = {
    "r50": PUBLISHED,
    "r101": PUBLISHED,
    "tiny": MaskRcnnSizes(
        num_classes=8,
        dim=64,
        anchor_scale=4.0,
        proposals_per_level=200,
        proposals=200,
        canonical_side=112.0,
        box_dim=128,
        mask_convolutions=2,
        mask_dim=64,
        training_proposals_per_level=300,
        training_proposals=300,
        anchor_samples=128,
        proposal_samples=64,
    ),
}
"""By the backbone that they stand on. `tiny` is of a size that trains on two CPU cores."""
