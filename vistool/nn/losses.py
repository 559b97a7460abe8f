"""Class and mask losses, for all predictions of a step at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from .points import sample, uncertain_points
from .targets import ClipTargets

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def target_classes(slots: Sequence[Tensor], targets: Sequence[ClipTargets], count: int, empty: int) -> Tensor:
    """Class that every slot should name; slots: B tensors (L, N_b) of `matching.match` → int64 (L, B, count).

    Slots that no object was given to should name `empty`.
    """
    predictions = slots[0].shape[0]
    classes = torch.full((predictions, len(slots), count + 1), empty, device=slots[0].device)
    for clip, (chosen, target) in enumerate(zip(slots, targets, strict=True)):
        classes[:, clip].scatter_(1, chosen % (count + 1), target.labels.expand(predictions, -1))  # -1: spare column
    return classes[..., :count]


def cross_entropy(class_logits: Tensor, classes: Tensor, no_object_weight: float) -> Tensor:
    """Sum over predictions of the weighted mean; class_logits (L, B, Q, K + 1), classes (L, B, Q) → ()."""
    weights = torch.ones(class_logits.shape[-1], device=class_logits.device)
    weights[-1] = no_object_weight
    losses = [
        F.cross_entropy(x.flatten(0, 1), y.flatten(), weights) for x, y in zip(class_logits, classes, strict=True)
    ]
    return torch.stack(losses).sum()


def sigmoid_focal(class_logits: Tensor, classes: Tensor, objects: Tensor | float) -> Tensor:
    """Sum over predictions, slots and classes, divided by the number of objects; classes equal to K name nothing.

    class_logits (L, B, Q, K), classes (L, B, Q) → ().
    """
    truth = F.one_hot(classes, class_logits.shape[-1] + 1)[..., :-1].to(class_logits.dtype)
    return focal(class_logits, truth).sum() / objects


def focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Of every number for itself; logits (…) and truth (…) in [0, 1] → (…). α and γ of RetinaNet."""
    probs = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    missed = probs * (1 - truth) + (1 - probs) * truth
    alpha = FOCAL_ALPHA * truth + (1 - FOCAL_ALPHA) * (1 - truth)
    return alpha * missed**FOCAL_GAMMA * entropy


def mask_losses(logits: Tensor, truth: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy and 1 - dice of every plane; logits (R, M, h, w), truth (M, H, W) → two of (R, M).

    Each plane is read at points of its own; R predictions share a truth plane, which is read once for all of them.
    Dice is smoothed by one.
    """
    repeats, rows = logits.shape[:2]
    planes = logits.flatten(0, 1).float()
    where = uncertain_points(planes.detach(), points)
    at_points = sample(planes[:, None], where)[:, 0].view(repeats, rows, points)
    shared = where.view(repeats, rows, points, 2).transpose(0, 1).flatten(1, 2)
    wanted = sample(truth[:, None].to(planes.dtype), shared)[:, 0].view(rows, repeats, points).transpose(0, 1)
    bce = F.binary_cross_entropy_with_logits(at_points, wanted, reduction="none").mean(-1)
    probs = at_points.sigmoid()
    dice = 1 - (2 * (probs * wanted).sum(-1) + 1) / (probs.sum(-1) + wanted.sum(-1) + 1)
    return bce, dice


def process_mean(values: Tensor) -> Tensor:
    """In distributed training the mean over all processes, which must ask for the same; else `values` as they are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    values = values.detach().clone()
    distributed.all_reduce(values)
    return values / distributed.get_world_size()
