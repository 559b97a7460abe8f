"""The losses of a clip: classes, boxes and masks of every layer, and what the discriminator says of the last one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ...nn.boxes import paired_giou, to_xyxy
from ...nn.losses import focal, sigmoid_focal, target_classes
from ...nn.matching import gather_slots, object_count
from ...nn.targets import ClipTargets
from .discriminator import MASK_STRIDE, Discriminator, adversarial_losses
from .learning import LearningRules
from .matching import ClipTruth, match
from .network import ClipOutput, Msts

Terms = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What L layers say of all M objects of a batch, clip after clip, through the queries that answer for them."""

    boxes: Tensor  # (L, M, T, 4) cx cy w h
    masks: Tensor  # (L, M, T, h, w), logits at stride 4
    found: Tensor  # bool (L, M), false where no query was left for the object


def losses(network: Msts, frames: Tensor, targets: Sequence[ClipTargets], rules: LearningRules) -> Terms:
    """Weighted terms, summed over layers; frames (B, T, 3, H, W) normalised. Every layer is matched anew.

    A discriminator of the network is asked about clips of several frames.
    """
    output: ClipOutput = network(frames)
    targets = [_by_column(network, target) for target in targets]
    truths = [ClipTruth.of(target, rules) for target in targets]
    class_logits = torch.stack([layer.class_logits for layer in output.layers]).float()
    boxes = torch.stack([layer.boxes for layer in output.layers]).float()
    slots = match(class_logits, boxes, truths, rules)
    count = object_count(targets, frames.device)
    queries, columns = class_logits.shape[2:]
    wanted = target_classes(slots, targets, queries, empty=columns)
    said = _matched(network, output, boxes, slots)
    masks = torch.cat([at_stride(truth.masks, said.masks.shape[-2:]) for truth in truths]).float()
    terms = {
        "class": rules.class_weight * sigmoid_focal(class_logits, wanted, count),
        **_object_terms(said, truths, masks, count, rules),
    }
    if rules.adversarial and frames.shape[1] > 1:
        drawn = said.masks[-1].sigmoid() * said.found[-1, :, None, None, None]
        counts = [len(truth.labels) for truth in truths]
        terms |= adversarial_losses(
            cast(Discriminator, network.discriminator),
            frames.flatten(0, 1),
            output.maps,
            foreground(drawn, counts).flatten(0, 1),
            foreground(masks, counts).flatten(0, 1),
            rules,
        )
    return terms


def _by_column(network: Msts, target: ClipTargets) -> ClipTargets:
    """With the columns of the class heads instead of the classes."""
    return replace(target, labels=target.labels.new_tensor(network.columns)[target.labels])


def _matched(network: Msts, output: ClipOutput, boxes: Tensor, slots: Sequence[Tensor]) -> Matched:
    """boxes (L, B, T, Q, 4), and the query of every object as `match` gives it."""
    embeddings, found = gather_slots(torch.stack([layer.queries for layer in output.layers]), slots)
    references = torch.stack([layer.references for layer in output.layers])
    points, _ = gather_slots(references.transpose(2, 3), slots)  # (L, M, T, 2)
    own, _ = gather_slots(boxes.transpose(2, 3), slots)
    layers, counts = len(boxes), [slot.shape[1] for slot in slots]
    clips = zip(embeddings.split(counts, dim=1), points.split(counts, dim=1), output.features, strict=True)
    planes = []
    for number, (kernels, places, features) in zip(counts, clips, strict=True):
        logits = network.masks(kernels.flatten(0, 1), places.flatten(0, 1), features)
        planes.append(logits.view(layers, number, *logits.shape[1:]))
    return Matched(own, torch.cat(planes, dim=1).float(), found)


def _object_terms(
    said: Matched, truths: Sequence[ClipTruth], masks: Tensor, count: Tensor, rules: LearningRules
) -> Terms:
    """masks (M, T, h, w) are the truth at the size of what is said. An object counts once, however long the clip is."""
    boxes = torch.cat([truth.boxes for truth in truths])  # (M, T, 4)
    shares = torch.cat([truth.shares for truth in truths])  # (M, T)
    apart = ((said.boxes - boxes).abs().sum(-1) * shares).mean(-1)  # (L, M)
    overlap = (paired_giou(to_xyxy(said.boxes), to_xyxy(boxes)) * shares).mean(-1)
    wanted = masks.expand_as(said.masks)
    pixels = focal(said.masks, wanted).mean((2, 3, 4))
    terms = {
        "box": rules.box_weight * apart,
        "giou": rules.giou_weight * (1 - overlap),
        "mask": rules.mask_weight * pixels,
        "dice": rules.dice_weight * dice(said.masks, wanted),
    }
    return {name: (values * said.found).sum() / count for name, values in terms.items()}


def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - dice of volumes, smoothed by one: logits and truth (L, M, T, h, w) → (L, M)."""
    probs, volume = logits.sigmoid(), (2, 3, 4)
    return 1 - (2 * (probs * truth).sum(volume) + 1) / (probs.sum(volume) + truth.sum(volume) + 1)


def at_stride(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Every fourth pixel from the third on: masks (…, H, W) → (…, *size); beyond the right and lower edges nothing."""
    height, width = masks.shape[-2:]
    room = (0, size[1] * MASK_STRIDE - width, 0, size[0] * MASK_STRIDE - height)
    first = MASK_STRIDE // 2
    return F.pad(masks, room)[..., first::MASK_STRIDE, first::MASK_STRIDE]


def foreground(masks: Tensor, counts: Sequence[int]) -> Tensor:
    """One mask of all objects: masks in [0, 1] (M, T, h, w) of B clips with so many each → (B, T, h, w)."""
    nothing = masks.new_zeros(1, *masks.shape[1:])
    return torch.stack([torch.cat([nothing, own]).amax(0) for own in masks.split(list(counts))])
