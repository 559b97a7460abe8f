"""What Mask R-CNN learns from labelled frames: to propose boxes, to name and refine them, to tell identities, masks.

The network says how it comes to its outputs; this says what they should be. Terms are means over what was sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..boxes import pairwise_iou
from ..detector import DetectorTargets
from .deltas import PROPOSALS, REFINED, encode
from .heads import BACKGROUND, BoxOutput
from .roi_align import crops
from .rpn import Proposed
from .sampling import matched, sampled

ANCHOR_IOU = (0.3, 0.7)
ANCHOR_SHARE = 0.5
PROPOSAL_IOU = (0.5, 0.5)
PROPOSAL_SHARE = 0.25
"""IoU below which a box answers for nothing and from which it answers for an object; most that do, of those sampled."""
BETA = 1 / 9
"""Difference of boxes up to which their loss is a parabola."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Boxes of all frames of a batch that the heads learn from."""

    boxes: Tensor  # (R, 4) corners in pixels
    frames: Tensor  # int64 (R,), row of the batch
    objects: Tensor  # int64 (R,), row of all frames' targets one after another; negative: nothing


def proposal_losses(said: Proposed, targets: Sequence[DetectorTargets], count: int) -> dict[str, Tensor]:
    """Terms `objectness` and `proposal`, from at most `count` anchors of every frame."""
    objectness, deltas = torch.cat(said.objectness, dim=1).float(), torch.cat(said.deltas, dim=1).float()
    anchors = torch.cat(said.anchors)
    logits, truth, moved, wanted = [], [], [], []
    for frame, target in enumerate(targets):
        matches = matched(pairwise_iou(target.boxes, anchors), *ANCHOR_IOU, best_too=True)
        rows = sampled(matches, count, ANCHOR_SHARE)
        positive = rows[matches[rows] >= 0]
        logits.append(objectness[frame, rows])
        truth.append((matches[rows] >= 0).float())
        moved.append(deltas[frame, positive])
        wanted.append(encode(target.boxes[matches[positive]], anchors[positive], PROPOSALS))
    seen = torch.cat(logits)
    return {
        "objectness": F.binary_cross_entropy_with_logits(seen, torch.cat(truth)),
        "proposal": _box_loss(torch.cat(moved), torch.cat(wanted)) / len(seen),
    }


@torch.no_grad()
def sample_boxes(proposed: Sequence[Tensor], targets: Sequence[DetectorTargets], count: int) -> Sampled:
    """At most `count` boxes of each frame out of its proposals (P_b, 4) and the true boxes."""
    boxes, frames, objects = [], [], []
    before = 0  # objects of the frames before
    for frame, (own, target) in enumerate(zip(proposed, targets, strict=True)):
        candidates = torch.cat([own, target.boxes])
        matches = matched(pairwise_iou(target.boxes, candidates), *PROPOSAL_IOU, best_too=False)
        rows = sampled(matches, count, PROPOSAL_SHARE)
        boxes.append(candidates[rows])
        frames.append(torch.full_like(rows, frame))
        objects.append(torch.where(matches[rows] >= 0, matches[rows] + before, matches[rows]))
        before += len(target.labels)
    return Sampled(torch.cat(boxes), torch.cat(frames), torch.cat(objects))


def box_losses(output: BoxOutput, taken: Sampled, targets: Sequence[DetectorTargets]) -> dict[str, Tensor]:
    """Terms `class`, `id` and `box`; `id` is zero where no identities are told apart.

    A box that answers for nothing is background, to both. An id of N, where N are told apart, is nobody's: background.
    """
    positive = taken.objects >= 0
    objects = taken.objects[positive]

    def wanted(values: Sequence[Tensor], nothing: int) -> Tensor:
        """What every box must name, int64 (R,); values of the targets, int64 (n_b,)."""
        return torch.full_like(taken.objects, nothing).masked_scatter(positive, torch.cat(list(values))[objects])

    classes = wanted([target.labels + 1 for target in targets], BACKGROUND)
    ids = wanted([target.ids for target in targets], output.id_logits.shape[-1] - 1)
    boxes = torch.cat([target.boxes for target in targets])[objects]
    own = output.deltas.float()[positive, classes[positive]]
    told = output.id_logits.float()
    return {
        "class": F.cross_entropy(output.class_logits.float(), classes),
        "id": F.cross_entropy(told, ids) if told.shape[1] else told.sum(),
        "box": _box_loss(own, encode(boxes, taken.boxes[positive], REFINED)) / len(classes),
    }


def mask_loss(logits: Tensor, boxes: Tensor, objects: Tensor, targets: Sequence[DetectorTargets]) -> Tensor:
    """Cross-entropy of logits (R, m, m) within boxes (R, 4) of objects int64 (R,), rows of all frames' targets → ()."""
    truth = crops(torch.cat([target.masks for target in targets]), objects, boxes, logits.shape[-1])
    return F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="sum") / max(1, truth.numel())


def _box_loss(deltas: Tensor, wanted: Tensor) -> Tensor:
    return F.smooth_l1_loss(deltas, wanted, beta=BETA, reduction="sum")
