"""What makes queries of one object alike on different frames, and those of different objects not (RefineVIS, Eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEGATIVES_PER_POSITIVE = 10
_NOWHERE = -1e9  # a logit that adds nothing to a sum of exponentials; finite, so that its gradient is zero and not NaN


def contrastive(anchors: Tensor, keys: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Loss of every anchor: anchors (A, D), keys (M, D), positive and negative bool (A, M) → (A,).

    Zero where an anchor has no positive or no negative key. In float32 whatever the precision around it.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        similarity = anchors.float() @ keys.float().T
        against = similarity.masked_fill(~negative, _NOWHERE).logsumexp(-1)
        towards = (-similarity).masked_fill(~positive, _NOWHERE).logsumexp(-1)
        # The double sum is a product of two: Σ+ Σ- exp(v·k- - v·k+) = Σ- exp(v·k-) · Σ+ exp(-v·k+).
        return F.softplus(against + towards)  # Eq. (3)


def cosine(anchors: Tensor, keys: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean squared distance of an anchor's cosines from 1 (positive) and 0 (negative); shapes of `contrastive`.

    Negative keys are drawn at random, ten for a positive one; ten for an anchor without any; all where there are fewer.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        cosines = F.normalize(anchors.float(), dim=-1) @ F.normalize(keys.float(), dim=-1).T
        chosen = positive | drawn(negative, NEGATIVES_PER_POSITIVE * positive.sum(-1).clamp(min=1))
        squares = (cosines - positive.to(cosines.dtype)).square() * chosen
        return squares.sum(-1) / chosen.sum(-1).clamp(min=1)


def drawn(candidates: Tensor, counts: Tensor) -> Tensor:
    """At most counts (A,) random ones of the candidates bool (A, M) in every row → bool (A, M)."""
    order = torch.where(candidates, torch.rand(candidates.shape, device=candidates.device), 2.0).argsort(-1)
    return candidates & (order.argsort(-1) < counts[:, None])


def assigned_keys(objects: Tensor, few: Tensor, many: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative keys among matched queries, for anchors of the given objects.

    objects int64 (A,); few and many int64 (Q,), the object that the assignment with few and with many candidates gives
    to every query → two of bool (A, Q). Queries that only the generous assignment gives to an object are neither.
    """
    positive = objects[:, None] == few
    return positive, ~positive & (objects[:, None] != many)


def other_objects(anchors: Tensor, keys: Tensor, positive: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative keys among denoising queries, for anchors that are denoising queries themselves.

    anchors int64 (A,) and keys int64 (M,) are numbers of objects, positive bool (M,) says which keys are to be
    restored, usable bool (M,) which are there → two of bool (A, M). Positive keys are the restored ones of the anchor's
    object; negative keys are all of the other objects. The rejected ones of the anchor's own object are neither.
    """
    same = anchors[:, None] == keys
    return same & positive & usable, ~same & usable
