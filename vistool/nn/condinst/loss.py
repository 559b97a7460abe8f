"""What CondInst learns from labelled frames: classes, identities, boxes, centerness and masks.

Each is weighed by the points that answer for objects. Where identities come from is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import paired_giou
from ..detector import DetectorTargets
from ..dynamic_masks import DynamicMaskHead
from ..losses import process_mean, sigmoid_focal
from .assignment import assign, sides
from .maps import TrainingMaps
from .masks import MASK_STRIDE, mask_logits


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRules:
    """What may be chosen. The defaults are those of the published training."""

    id_loss: Literal["focal", "cross-entropy"] = "focal"
    """Of the identities; in both every one of them is a yes or no of its own."""
    most_masks: int | None = None
    """Points a step that learn masks, chosen at random among those of objects; None: all of them."""


def losses(
    maps: TrainingMaps, targets: Sequence[DetectorTargets], head: DynamicMaskHead, rules: LossRules
) -> dict[str, Tensor]:
    """Terms `class`, `id`, `box`, `centerness` and `mask`, not weighted; one target for each of the B frames.

    Counts are those of a process on average. An id of N, where N are learned, is nobody's: no identity is named.
    """
    objects = assign(maps.points, maps.strides, maps.levels, targets)
    frames, points = (objects >= 0).nonzero(as_tuple=True)  # (n,) each: the points of objects
    count = process_mean(torch.tensor(float(len(frames)), device=frames.device)).clamp(min=1)
    before = torch.tensor([0, *(len(target.labels) for target in targets)], device=frames.device).cumsum(0)
    rows = objects[frames, points] + before[frames]  # of the targets of all frames, one after another

    def wanted(values: Sequence[Tensor], nothing: int) -> Tensor:
        """What every point must name, int64 (B, P); values of the targets, int64 (n_b,), at most `nothing`."""
        own = torch.cat(list(values))[rows].clamp(max=nothing)  # a network without identities learns none of them
        return torch.full_like(objects, nothing).index_put((frames, points), own)

    classes = wanted([target.labels for target in targets], maps.class_logits.shape[-1])
    ids = wanted([target.ids for target in targets], maps.id_logits.shape[-1])
    boxes = torch.cat([target.boxes for target in targets])[rows]
    central = centerness(sides(maps.points[points], boxes))
    overlaps = paired_giou(maps.boxes[frames, points].float(), boxes)
    masks = torch.cat([target.masks for target in targets])
    chosen = torch.arange(len(rows), device=rows.device)
    if rules.most_masks is not None and len(rows) > rules.most_masks:
        chosen = torch.randperm(len(rows), device=rows.device)[: rules.most_masks]
    return {
        "class": sigmoid_focal(maps.class_logits.float(), classes, count),
        "id": identity_loss(maps.id_logits.float(), ids, count, rules),
        "box": ((1 - overlaps) * central).sum() / process_mean(central.sum()).clamp(min=1e-6),
        "centerness": _cross_entropy(maps.centerness[frames, points].float(), central) / count,
        "mask": mask_loss(maps, head, frames[chosen], points[chosen], masks, rows[chosen]),
    }


def identity_loss(id_logits: Tensor, ids: Tensor, count: Tensor, rules: LossRules) -> Tensor:
    """Over all points: id_logits (B, P, N), ids int64 (B, P) with N for none, count () of points of objects."""
    if rules.id_loss == "focal":
        return sigmoid_focal(id_logits, ids, count)
    return _cross_entropy(id_logits, F.one_hot(ids, id_logits.shape[-1] + 1)[..., :-1].to(id_logits)) / count


def centerness(distances: Tensor) -> Tensor:
    """How near to the middle of its box a point lies: distances (…, 4), left, top, right and bottom → (…) in [0, 1]."""
    first, last = distances[..., :2], distances[..., 2:]
    return (torch.minimum(first, last) / torch.maximum(first, last)).prod(-1).sqrt()


def mask_loss(
    maps: TrainingMaps, head: DynamicMaskHead, frames: Tensor, points: Tensor, truth: Tensor, rows: Tensor
) -> Tensor:
    """Mean dice loss of the masks of points, int64 (n,) in frames (n,), whose objects are in rows (n,) of the truth.

    truth bool (M, H, W) is read at every fourth pixel, as the masks are made.
    """
    kernels, features = maps.kernels[frames, points], maps.features.index_select(0, frames)
    logits = mask_logits(head, kernels, features, maps.points[points], maps.strides[points])
    first = MASK_STRIDE // 2
    wanted = truth[:, first::MASK_STRIDE, first::MASK_STRIDE][rows].to(logits.dtype)
    return dice_loss(logits.sigmoid(), wanted).sum() / max(1, len(rows))


def dice_loss(probs: Tensor, truth: Tensor) -> Tensor:
    """1 - dice of every plane, squares in the denominator: probs (n, h, w), truth (n, h, w) in [0, 1] → (n,)."""
    shared = (probs * truth).sum((-2, -1))
    return 1 - 2 * shared / (probs.square().sum((-2, -1)) + truth.square().sum((-2, -1)) + 1e-5)


def _cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
