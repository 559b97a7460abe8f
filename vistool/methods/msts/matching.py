"""Which query answers for which object of a clip: one to one, by class and by the boxes of all frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn.boxes import mask_boxes, pairwise_giou, to_cxcywh, to_xyxy
from ...nn.matching import cheapest
from ...nn.ota import focal_cost
from ...nn.targets import ClipTargets
from .learning import LearningRules

LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ClipTruth:
    """The objects of a clip; row n of everything is the same object."""

    labels: Tensor  # int64 (N,)
    boxes: Tensor  # (N, T, 4) cx cy w h, shares of the frame; out of sight a speck in the corner
    masks: Tensor  # bool (N, T, H, W)
    shares: Tensor  # (N, T), how much the box of a frame counts; on average over the frames of an object 1

    @classmethod
    def of(cls, target: ClipTargets, rules: LearningRules) -> ClipTruth:
        """Out of sight the mask is empty, which is learned like any other. Whether the box is, the rules say (S14)."""
        height, width = target.masks.shape[-2:]
        corners = mask_boxes(target.masks)
        boxes = to_cxcywh(corners / corners.new_tensor([width, height, width, height]))
        counts = torch.ones_like(boxes[..., 0])
        if rules.absent_boxes == "ignored":
            seen = target.masks.flatten(2).any(-1).float()
            counts = seen / seen.mean(1, keepdim=True).clamp(min=LEAST_SHARE)
        return cls(target.labels, boxes.clamp(min=LEAST_SHARE), target.masks, counts)


@torch.no_grad()
def match(class_logits: Tensor, boxes: Tensor, truths: Sequence[ClipTruth], rules: LearningRules) -> list[Tensor]:
    """The query of every object, for each of L layers; -1 where there are more objects than queries.

    class_logits (L, B, Q, K), boxes (L, B, T, Q, 4), B truths → B tensors int64 (L, N_b).
    """
    with torch.autocast(class_logits.device.type, enabled=False):
        costs = [
            clip_costs(class_logits[:, b].float(), boxes[:, b].float(), truth, rules) for b, truth in enumerate(truths)
        ]
    return cheapest([cost.nan_to_num(0.0) for cost in costs])


def clip_costs(class_logits: Tensor, boxes: Tensor, truth: ClipTruth, rules: LearningRules) -> Tensor:
    """Of one clip: class_logits (L, Q, K), boxes (L, T, Q, 4) → (L, Q, N)."""
    shares, wanted = truth.shares.T[:, None], truth.boxes.transpose(0, 1)  # (T, 1, N), (T, N, 4)
    differences = boxes[:, :, :, None] - wanted[:, None]  # (L, T, Q, N, 4)
    if rules.box_cost == "euclidean":
        apart = (differences.square().sum(-1) * shares).sum(1).sqrt()
    else:
        apart = (differences.abs().sum(-1) * shares).mean(1)
    overlap = (pairwise_giou(to_xyxy(boxes), to_xyxy(wanted)) * shares).mean(1)
    named = focal_cost(class_logits, truth.labels)
    return rules.class_weight * named + rules.box_weight * apart - rules.giou_weight * overlap
