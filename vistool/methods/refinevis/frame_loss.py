"""What the image model learns on the key frames (L_frame): classes, boxes and masks of every layer, and to denoise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, distributed

from ...nn.boxes import mask_boxes, paired_giou, pairwise_giou, to_cxcywh, to_xyxy
from ...nn.denoising import NoisedQueries
from ...nn.image_model import ImageModel, LayerOutput, TrainingOutput
from ...nn.losses import mask_losses, sigmoid_focal
from ...nn.matching import bce_cost, dice_cost
from ...nn.ota import Assignment, assign, focal_cost
from ...nn.points import sample
from ...nn.targets import ClipTargets
from .learning import LearningRules

MASK_STRIDE = 4


@dataclass(frozen=True, slots=True, eq=False)
class ClipTruth:
    """The objects of a clip; row n of everything is the same object."""

    labels: Tensor  # int64 (N,)
    masks: Tensor  # bool (N, T, H, W)
    boxes: Tensor  # (N, T, 4) cx cy w h, shares of the frame; zeros where the object is out of sight
    visible: Tensor  # bool (N, T)

    @classmethod
    def of(cls, target: ClipTargets) -> ClipTruth:
        height, width = target.masks.shape[-2:]
        corners = mask_boxes(target.masks)
        boxes = to_cxcywh(corners / corners.new_tensor([width, height, width, height]))
        return cls(target.labels, target.masks, boxes, target.masks.flatten(2).any(-1))

    def assign(self, class_logits: Tensor, boxes: Tensor, t: int, *, candidates: int = 10) -> Assignment:
        """One-to-many assignment on frame t, by rows of the clip; class_logits (L, Q, K), boxes (L, Q, 4)."""
        rows = self.visible[:, t].nonzero()[:, 0]
        found = assign(class_logits, boxes, self.labels[rows], self.boxes[rows, t], candidates=candidates)
        cheapest = found.cheapest.new_full((len(boxes), len(self.labels)), -1)
        cheapest[:, rows] = found.cheapest
        return Assignment(_looked_up(rows, found.objects, -1), cheapest)


@dataclass(frozen=True, slots=True, eq=False)
class KeyPredictions:
    """What L layers say of the key frames of B clips."""

    class_logits: Tensor  # (L, B, Q, K)
    boxes: Tensor  # (L, B, Q, 4)
    embeddings: Tensor  # (L, B, Q, D)
    references: Tensor | None  # (L, B, Q, 2)
    pixels: Tensor  # (B, C, h, w)

    def masks(self, image: ImageModel, b: int, layers: Tensor, queries: Tensor) -> Tensor:
        """Mask logits (R, h, w) of R queries of frame b, each of a layer of its own; layers and queries int64 (R,)."""
        points = None if self.references is None else self.references[layers, b, queries]
        return image.masks(self.embeddings[layers, b, queries], self.pixels[b], points)


class _Pointed(Protocol):
    """An image model whose masks are drawn relative to points, and which knows those of every layer."""

    def layer_references(self, layers: Sequence[LayerOutput]) -> tuple[Tensor, ...]: ...


def frame_losses(
    image: ImageModel, output: TrainingOutput, truths: Sequence[ClipTruth], rules: LearningRules
) -> dict[str, Tensor]:
    """Weighted terms of the matched queries, summed over layers; `output` is of B·T frames, the first of T is key."""
    said = _at_keys(image, output, _layers(output), len(truths))
    rows = [
        truth.assign(said.class_logits[:, b], said.boxes[:, b], 0).objects
        if rules.assignment == "ota"
        else one_to_one(image, said, b, truth, rules)
        for b, truth in enumerate(truths)
    ]
    objects = torch.stack(rows, dim=1)
    counts = averaged((objects >= 0).sum((1, 2)))
    return _terms(image, said, objects, torch.ones_like(objects[0], dtype=torch.bool), counts, truths, rules)


def denoising_losses(
    image: ImageModel,
    output: TrainingOutput,
    noised: NoisedQueries | None,
    truths: Sequence[ClipTruth],
    rules: LearningRules,
) -> dict[str, Tensor]:
    """The same of the denoising queries: positive ones restore their object, negative ones name nothing.

    No terms where there are no such queries.
    """
    if noised is None:
        averaged(output.objects.boxes.new_zeros(()))  # the other processes wait for it
        return {}
    said = _at_keys(image, output, output.noised, len(truths))
    told = ~noised.padded[:: len(noised.padded) // len(truths)]
    restored = torch.where(told & noised.positive, noised.objects, -1)
    layers = len(output.noised)
    counts = averaged((restored >= 0).sum()).expand(layers)
    return _terms(image, said, restored.expand(layers, -1, -1), told, counts, truths, rules)


def one_to_one(image: ImageModel, said: KeyPredictions, b: int, truth: ClipTruth, rules: LearningRules) -> Tensor:
    """Mask2Former's and MaskDINO's assignment on key frame b: the cheapest of all → object of every query, (L, Q)."""
    count, _, queries = said.boxes.shape[:3]
    objects = torch.full((count, queries), -1)
    rows = truth.visible[:, 0].nonzero()[:, 0]
    for layer in range(count):
        costs = _costs(image, said, b, layer, truth, rows, rules).nan_to_num(0).cpu()
        chosen, found = linear_sum_assignment(costs.numpy())
        objects[layer, torch.from_numpy(chosen)] = rows.cpu()[torch.from_numpy(found)]
    return objects.to(rows.device)


@torch.no_grad()
def _costs(
    image: ImageModel, said: KeyPredictions, b: int, layer: int, truth: ClipTruth, rows: Tensor, rules: LearningRules
) -> Tensor:
    """Of one layer: (Q, N) with the weights of the losses; masks on the same random points for all."""
    logits, boxes = said.class_logits[layer, b].float(), said.boxes[layer, b].float()
    queries = torch.arange(len(boxes), device=boxes.device)
    masks = said.masks(image, b, torch.full_like(queries, layer), queries).float()
    points = torch.rand(1, rules.loss_points, 2, device=boxes.device)
    drawn = sample(within(masks, truth.masks)[None], points)[0]  # (Q, P)
    wanted = sample(truth.masks[None, rows, 0].float(), points)[0]
    true = truth.boxes[rows, 0]
    cost = rules.class_weight * focal_cost(logits, truth.labels[rows])
    cost = cost + rules.box_weight * torch.cdist(boxes, true, p=1)
    cost = cost - rules.giou_weight * pairwise_giou(to_xyxy(boxes), to_xyxy(true))
    return cost + rules.bce_weight * bce_cost(drawn, wanted) + rules.dice_weight * dice_cost(drawn, wanted)


def _layers(output: TrainingOutput) -> tuple[LayerOutput, ...]:
    """The selection and every layer: all are held against the truth."""
    return (output.selected, *output.layers) if output.selected is not None else output.layers


def _at_keys(image: ImageModel, output: TrainingOutput, layers: Sequence[LayerOutput], clips: int) -> KeyPredictions:
    step = len(output.objects.boxes) // clips
    references = None
    if output.objects.references is not None:
        references = torch.stack(cast(_Pointed, image).layer_references(layers))[:, ::step]
    return KeyPredictions(
        torch.stack([layer.class_logits[::step] for layer in layers]),
        torch.stack([layer.boxes[::step] for layer in layers]),
        torch.stack([layer.embeddings[::step] for layer in layers]),
        references,
        output.objects.pixels[::step],
    )


def _terms(
    image: ImageModel,
    said: KeyPredictions,
    objects: Tensor,
    told: Tensor,
    counts: Tensor,
    truths: Sequence[ClipTruth],
    rules: LearningRules,
) -> dict[str, Tensor]:
    """objects int64 (L, B, Q): what every query must say, -1: nothing; told bool (B, Q): who learns classes at all.

    counts (L,): what the losses of a layer are divided by.
    """
    classes = said.class_logits.shape[-1]
    wanted = torch.stack([_looked_up(t.labels, objects[:, b], classes) for b, t in enumerate(truths)], dim=1)
    layers = zip(said.class_logits.float(), wanted, counts, strict=True)
    named = torch.stack([sigmoid_focal(logits[told], label[told], count) for logits, label, count in layers]).sum()
    bce = dice = box = giou = named.new_zeros(())
    for b, truth in enumerate(truths):
        layer, query = (objects[:, b] >= 0).nonzero(as_tuple=True)
        if not len(layer):
            continue
        own, share = objects[layer, b, query], 1 / counts[layer]
        boxes, true = said.boxes[layer, b, query].float(), truth.boxes[own, 0]
        box = box + ((boxes - true).abs().sum(-1) * share).sum()
        giou = giou + ((1 - paired_giou(to_xyxy(boxes), to_xyxy(true))) * share).sum()
        planes = plane_losses(said.masks(image, b, layer, query), own, truth.masks[:, 0], rules.loss_points)
        bce, dice = bce + (planes[0] * share).sum(), dice + (planes[1] * share).sum()
    return {
        "class": rules.class_weight * named,
        "bce": rules.bce_weight * bce,
        "dice": rules.dice_weight * dice,
        "box": rules.box_weight * box,
        "giou": rules.giou_weight * giou,
    }


def plane_losses(logits: Tensor, objects: Tensor, truth: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy and 1 - dice of R masks, each against its own object's; two of (R,).

    logits (R, h, w), objects int64 (R,), truth bool (N, H, W); -1: there should be nothing. Masks of one object are
    read together, so that its truth, the largest plane here, is read once.
    """
    logits = within(logits, truth)
    order = objects.argsort(stable=True)
    counts = torch.bincount(objects + 1, minlength=len(truth) + 1).tolist()
    empty = truth.new_zeros(1, *truth.shape[1:])
    pairs = [
        mask_losses(rows[:, None], empty if n == 0 else truth[n - 1 : n], points)
        for n, rows in enumerate(logits[order].split(counts))
        if len(rows)
    ]
    back = order.argsort()
    bce, dice = (torch.cat([pair[i][:, 0] for pair in pairs])[back] for i in (0, 1))
    return bce, dice


def within(logits: Tensor, truth: Tensor) -> Tensor:
    """Masks without what they have of the network's own padding; logits (…, h, w), truth (…, H, W)."""
    height, width = truth.shape[-2:]
    return logits[..., : -(-height // MASK_STRIDE), : -(-width // MASK_STRIDE)]


def averaged(counts: Tensor) -> Tensor:
    """Counts averaged over processes in distributed training; at least one."""
    counts = counts.float()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(counts)
        counts = counts / distributed.get_world_size()
    return counts.clamp(min=1)


def _looked_up(values: Tensor, rows: Tensor, otherwise: int) -> Tensor:
    """values (N,), rows int64 (…) → values of the rows; `otherwise` for row -1."""
    return torch.cat([values, values.new_tensor([otherwise])])[rows]
