"""Test-time augmentation: several input sizes, slots matched to a pivot's, probabilities averaged (section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ...nn.matching import bce_cost, dice_cost
from .presets import Preset

SHORT_SIDES = (0.75, 0.875, 1.0, 1.125)
"""Of the checkpoint's own input size. The paper does not list its four; these are 360, 420, 480 and 540 for 480."""
PIVOT = 2
"""The paper draws the pivot at random; the checkpoint's own size keeps runs repeatable."""
PIVOT_SLOTS = 50
POINTS = 12544


@dataclass(frozen=True, slots=True)
class SizeResult:
    """The result at one input size, brought to the pivot's."""

    class_probs: Tensor  # (Q, K)
    mask_probs: Tensor  # (Q, T, h, w), the same h and w for all sizes


def merge(results: Sequence[SizeResult], preset: Preset, *, pivot: int = PIVOT) -> SizeResult:
    """Means over the slots that belong together; the rows are the pivot's best slots, best first."""
    anchor = results[pivot]
    kept = anchor.class_probs.amax(1).topk(min(PIVOT_SLOTS, len(anchor.class_probs))).indices
    anchor = SizeResult(anchor.class_probs[kept], anchor.mask_probs[kept])
    class_sum, mask_sum = anchor.class_probs.clone(), anchor.mask_probs.clone()
    for index, result in enumerate(results):
        if index != pivot:
            slots = matched_slots(anchor, result, preset)
            class_sum += result.class_probs[slots]
            mask_sum += result.mask_probs[slots]
    return SizeResult(class_sum / len(results), mask_sum / len(results))


def matched_slots(anchor: SizeResult, other: SizeResult, preset: Preset) -> Tensor:
    """The slot of `other` for every row of `anchor`, by the cost of Eq. (4) with the anchor as soft ground truth."""
    flat = anchor.mask_probs.flatten(1)
    generator = torch.Generator().manual_seed(0)
    points = torch.randperm(flat.shape[1], generator=generator)[:POINTS].to(flat.device)
    truth = flat[:, points]
    logits = torch.logit(other.mask_probs.flatten(1)[:, points], eps=1e-6)[None]
    cost = -preset.class_weight * other.class_probs[:, anchor.class_probs.argmax(1)]
    cost = cost + preset.bce_weight * bce_cost(logits, truth)[0] + preset.dice_weight * dice_cost(logits, truth)[0]
    rows, columns = linear_sum_assignment(cost.cpu().numpy(), maximize=False)
    slots = torch.empty(len(truth), dtype=torch.long)
    slots[torch.from_numpy(columns)] = torch.from_numpy(rows)
    return slots.to(flat.device)
