"""Which queries answer for which object in training, several for one: optimal transport made simple (simOTA, of YOLOX).

An object is answered for by as many queries as fit it well, and no query answers for two objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import pairwise_giou, pairwise_iou, to_xyxy
from .losses import FOCAL_ALPHA, FOCAL_GAMMA

GIOU_WEIGHT = 3.0
NEAR = 2.5 / 32
"""A query is near an object when their centres differ by less than this share of the frame, along x and along y."""
NOT_CENTRAL, FAR = 100.0, 10000.0
"""Added to the cost: of queries whose centre is not both inside the object's box and near its centre; of queries whose
centre is neither inside nor near any object."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who answers for whom, in each of L predictions."""

    objects: Tensor  # int64 (L, Q), the object that every query answers for; -1: none
    cheapest: Tensor  # int64 (L, N), of the queries of every object the cheapest; -1 where it has none


@torch.no_grad()
def assign(
    class_logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor, *, candidates: int = 10
) -> Assignment:
    """class_logits (L, Q, K), boxes (L, Q, 4) of one frame; labels int64 (N,), true_boxes (N, 4), all cx cy w h.

    An object gets as many queries as the sum of its `candidates` greatest IoUs says, at least one. Only where there are
    fewer queries than objects do some objects get none.
    """
    costs, ious = _costs(class_logits.float(), boxes.float(), labels, true_boxes.float())
    objects = _share_out(costs, ious, candidates)
    if not len(labels):
        return Assignment(objects, labels.expand(len(boxes), 0))
    own = objects[..., None] == torch.arange(len(labels), device=objects.device)
    least, cheapest = costs.masked_fill(~own, torch.inf).min(1)
    return Assignment(objects, torch.where(least < torch.inf, cheapest, -1))


def _costs(class_logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Cost and IoU of every pair, both (L, Q, N)."""
    corners, true_corners = to_xyxy(boxes), to_xyxy(true_boxes)
    centres = boxes[..., None, :2]
    inside = ((centres > true_corners[:, :2]) & (centres < true_corners[:, 2:])).all(-1)
    near = ((centres - true_boxes[:, :2]).abs() < NEAR).all(-1)
    somewhere = (inside | near).any(-1, keepdim=True)
    costs = focal_cost(class_logits, labels) - GIOU_WEIGHT * pairwise_giou(corners, true_corners)
    costs = costs + NOT_CENTRAL * ~(inside & near) + FAR * ~somewhere
    return costs.nan_to_num(FAR, FAR, -FAR), pairwise_iou(corners, true_corners)


def focal_cost(class_logits: Tensor, labels: Tensor) -> Tensor:
    """What the focal loss would gain by naming a class: class_logits (…, Q, K), labels (N,) → (…, Q, N)."""
    probs = class_logits.sigmoid()
    named = FOCAL_ALPHA * (1 - probs) ** FOCAL_GAMMA * F.softplus(-class_logits)
    denied = (1 - FOCAL_ALPHA) * probs**FOCAL_GAMMA * F.softplus(class_logits)
    return (named - denied)[..., labels]


def _share_out(costs: Tensor, ious: Tensor, candidates: int) -> Tensor:
    """costs and ious (L, Q, N) → object of every query, int64 (L, Q)."""
    _, queries, count = costs.shape
    if not count:
        return costs.new_full(costs.shape[:2], -1, dtype=torch.long)
    wanted = ious.topk(min(candidates, queries), dim=1).values.sum(1).int().clamp(min=1)  # (L, N)
    ranks = costs.argsort(1).argsort(1)
    taken = ranks < wanted[:, None]
    owner = costs.masked_fill(~taken, torch.inf).argmin(-1)  # a query that several want goes to the cheapest
    objects = torch.where(taken.any(-1), owner, -1)
    return _fill_empty(objects, costs)


def _fill_empty(objects: Tensor, costs: Tensor) -> Tensor:
    """Give objects without a query their cheapest free one, the cheapest pair first; objects (L, Q), costs (L, Q, N).

    Where no query is free, one of an object that has several is taken.
    """
    numbers = torch.arange(costs.shape[-1], device=objects.device)
    while True:
        own = objects[..., None] == numbers
        counts = own.sum(1)  # (L, N)
        free = objects < 0
        spare = (own & (counts > 1)[:, None]).any(-1)
        free = torch.where(free.any(-1, keepdim=True), free, spare)
        pairs = free[..., None] & (counts == 0)[:, None]
        layers = pairs.flatten(1).any(-1).nonzero()[:, 0]
        if not len(layers):
            return objects
        best = costs[layers].masked_fill(~pairs[layers], torch.inf).flatten(1).argmin(-1)
        objects = objects.clone()
        objects[layers, best // len(numbers)] = best % len(numbers)
