"""Reading masks at points instead of everywhere (PointRend), which is what matching and mask losses are taken on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OVERSAMPLING = 3
UNCERTAIN_SHARE = 0.75


def sample(planes: Tensor, points: Tensor) -> Tensor:
    """planes (M, C, h, w), points (M, P, 2) xy in [0, 1] → bilinear values (M, C, P)."""
    return F.grid_sample(planes, 2 * points[:, None] - 1, mode="bilinear", align_corners=False)[:, :, 0]


def uncertain_points(logits: Tensor, count: int) -> Tensor:
    """Points near the decision border of each plane, and some anywhere; logits (M, h, w) → (M, count, 2).

    Of 3·count random points the 75 % · count with the smallest |logit| are kept; the rest is drawn anew.
    """
    rows, near = len(logits), int(UNCERTAIN_SHARE * count)
    drawn = torch.rand(rows, OVERSAMPLING * count, 2, device=logits.device)
    certainty = sample(logits[:, None], drawn)[:, 0].abs()
    closest = certainty.topk(near, dim=1, largest=False).indices
    kept = drawn.gather(1, closest[..., None].expand(-1, -1, 2))
    return torch.cat([kept, torch.rand(rows, count - near, 2, device=logits.device)], dim=1)
