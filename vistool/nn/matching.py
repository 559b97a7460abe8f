"""Which slot answers for which object in training: the Hungarian assignment over class and mask costs.

All predictions of a step (initial queries and every layer) are matched together, with one transfer to the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .points import sample
from .presets import Mask2FormerSizes
from .targets import ClipTargets


@torch.no_grad()
def match(
    class_probs: Tensor, mask_logits: Tensor, targets: Sequence[ClipTargets], sizes: Mask2FormerSizes
) -> list[Tensor]:
    """The slot of every object, for each of L predictions; -1 where there are more objects than slots.

    class_probs (L, B, Q, K), mask_logits (L, B, Q, T, h, w), B targets → B tensors int64 (L, N_b). Masks are compared
    on the same random points for all slots, objects and frames; the values of all frames count as one row. In float32
    whatever the precision around it: sums over thousands of points need it.
    """
    with torch.autocast(mask_logits.device.type, enabled=False):
        points = torch.rand(1, sizes.loss_points, 2, device=mask_logits.device)
        planes = mask_logits.float().flatten(0, 1).flatten(1, 2)
        sampled = sample(planes, points.expand(len(planes), -1, -1))  # (L·B, Q·T, P)
        sampled = sampled.unflatten(0, mask_logits.shape[:2]).unflatten(2, mask_logits.shape[2:4]).flatten(-2)
        costs = [
            _costs(class_probs[:, clip].float(), sampled[:, clip], target, points, sizes)
            for clip, target in enumerate(targets)
        ]
    return cheapest(costs)


def cheapest(costs: Sequence[Tensor]) -> list[Tensor]:
    """Costs of B clips (L, Q, N_b) → the slots that cost least all together: of every object one, B tensors (L, N_b).

    -1 where there are more objects than slots. One transfer to the CPU for all.
    """
    columns = torch.cat(list(costs), dim=-1).cpu().split([cost.shape[-1] for cost in costs], dim=-1)
    return [_assign(cost).to(costs[0].device) for cost in columns]


def _costs(
    class_probs: Tensor, sampled: Tensor, target: ClipTargets, points: Tensor, sizes: Mask2FormerSizes
) -> Tensor:
    """Of one clip: class_probs (L, Q, K), sampled logits (L, Q, T·P), points (1, P, 2) → (L, Q, N)."""
    truth = sample(target.masks.flatten(0, 1)[None].float(), points)[0]  # (N·T, P)
    truth = truth.view(len(target.labels), sampled.shape[-1])
    cost = -sizes.class_weight * class_probs[..., target.labels]
    return cost + sizes.bce_weight * bce_cost(sampled, truth) + sizes.dice_weight * dice_cost(sampled, truth)


def bce_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy of every pair; logits (L, Q, P), truth (N, P) in [0, 1] → (L, Q, N)."""
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ truth.T) / truth.shape[1]


def dice_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - dice of every pair, smoothed by one; logits (L, Q, P), truth (N, P) in [0, 1] → (L, Q, N)."""
    probs = logits.sigmoid()
    return 1 - (2 * probs @ truth.T + 1) / (probs.sum(-1, keepdim=True) + truth.sum(-1) + 1)


def _assign(costs: Tensor) -> Tensor:
    """costs (L, Q, N) on the CPU → slot of every object, int64 (L, N)."""
    slots = torch.full((costs.shape[0], costs.shape[2]), -1)
    for row, cost in zip(slots, costs, strict=True):
        chosen, objects = linear_sum_assignment(cost.numpy())
        row[torch.from_numpy(objects)] = torch.from_numpy(chosen)
    return slots


def object_count(targets: Sequence[ClipTargets], device: torch.device) -> Tensor:
    """Objects in the batch, averaged over processes in distributed training; at least one."""
    count = torch.tensor(float(sum(len(target.labels) for target in targets)), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)


def gather_slots(per_slot: Tensor, slots: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What answers for every object, clip after clip: per_slot (L, B, Q, …) → (L, M, …), with M = ΣN_b objects.

    The second tensor, bool (L, M), is false for objects that no slot was left for; their rows are those of slot 0.
    """
    rows = torch.arange(per_slot.shape[0], device=per_slot.device)[:, None]
    chosen = [per_slot[rows, clip, slot.clamp(min=0)] for clip, slot in enumerate(slots)]
    return torch.cat(chosen, dim=1), torch.cat(list(slots), dim=1) >= 0
