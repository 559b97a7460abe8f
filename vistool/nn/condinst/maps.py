"""What CondInst says in training, between its network and its losses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TrainingMaps:
    """What the network says of B frames, at all P points of all levels, the finest level first, row by row."""

    class_logits: Tensor  # (B, P, K), independent sigmoids
    id_logits: Tensor  # (B, P, N), independent sigmoids
    boxes: Tensor  # (B, P, 4) corners in pixels of the padded input, not clipped
    centerness: Tensor  # (B, P) logits
    kernels: Tensor  # (B, P, parameters of the mask head)
    points: Tensor  # (P, 2) xy in pixels of the input
    strides: Tensor  # int64 (P,), of the level that a point lies on
    levels: Tensor  # int64 (P,), 0 the finest
    features: Tensor  # (B, mask_features, H / 8, W / 8), what masks are made of
