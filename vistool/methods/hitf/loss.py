"""How HITF learns: the last frames of a clip are fused with those before them, and share one assignment (Eq. 9)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...nn.frame_sizes import unpadded
from ...nn.targets import ClipTargets
from . import auxiliary
from .encoder import Encoded
from .grid import MASK_STRIDE
from .matching import match
from .network import FrameOutput, Hitf
from .slot_truth import VOID, SlotTruth, scene
from .temporal import Reference

POSITIVE = 0.75
"""λ_inst: share of slots with an object in the main loss."""
MAIN, DISCRIMINATION, MASK_IDENTITY, SEMANTIC = 3.0, 1.0, 0.3, 1.0
"""Weights of the terms, those of MaX-DeepLab."""


def losses(network: Hitf, frames: Tensor, targets: Sequence[ClipTargets]) -> dict[str, Tensor]:
    """The weighted terms of a step; frames (B, T, 3, H, W) normalised, T of any length.

    The last `supervised` frames have losses. How far back the last one looks is drawn: the clip begins 1 to R frames
    before it, so that the network also knows the first frames of a video.
    """
    count = min(frames.shape[1], network.preset.supervised)
    outputs = look(network, frames[:, -_drawn_length(network, frames.shape[1], count) :], count)
    with torch.autocast(frames.device.type, enabled=False):
        class_logits = torch.stack([one.class_logits for one in outputs], 1).float()
        mask_logits = _stacked([one.mask_logits for one in outputs], frames)
        mask_probs = mask_logits.softmax(2)  # Eq. (5)
        truth = match(
            class_logits.softmax(-1),
            mask_probs,
            [scene(target, count) for target in targets],
            paired=network.preset.pair_matching,
        )
        terms = main_terms(class_logits, mask_probs, truth, network.preset.least_weight)
        features = _stacked([one.features for one in outputs], frames)
        terms["discrimination"] = DISCRIMINATION * auxiliary.discrimination(features, truth)
        terms["mask_identity"] = MASK_IDENTITY * auxiliary.mask_identity(mask_logits, truth)
        kinds = [one.semantic_logits for one in outputs if one.semantic_logits is not None]
        terms["semantic"] = SEMANTIC * auxiliary.semantic(_stacked(kinds, frames), truth)
    return terms


def _drawn_length(network: Hitf, length: int, least: int) -> int:
    """Frames of a clip that are used, from the last one back."""
    most = min(length, network.preset.references + least)
    shortest = min(max(2, least), most)
    return int(torch.randint(shortest, most + 1, ()))


def look(network: Hitf, frames: Tensor, count: int) -> list[FrameOutput]:
    """The last `count` of the frames (B, T, 3, H, W), oldest first. Each is fused with all that R allows before it."""
    clips, length = frames.shape[:2]
    seen = network.encode(frames.flatten(0, 1))
    alone = [_frame(seen, clips, t) for t in range(length)]
    reach = network.preset.references
    before = [[one.reference for one in alone[max(0, t - reach) : t]][::-1] for t in range(length)]
    return [network.fuse(alone[t], before[t]) for t in range(length - count, length)]


def _frame(seen: Encoded, clips: int, t: int) -> Encoded:
    """Frame t of all clips, of frames that lie clip after clip."""

    def part(tensor: Tensor) -> Tensor:
        by_clip: Tensor = tensor.unflatten(0, (clips, -1))
        return by_clip[:, t]

    reference = Reference(part(seen.reference.code), part(seen.reference.pixels))
    return Encoded(part(seen.code), part(seen.pixels), part(seen.fine), reference)


def _stacked(maps: Sequence[Tensor], frames: Tensor) -> Tensor:
    """F maps (B, C, h, w) → float32 (B, F, C, h, w), as far as they cover the frames."""
    return unpadded(torch.stack(list(maps), 1).float(), frames, MASK_STRIDE)


def main_terms(class_logits: Tensor, mask_probs: Tensor, truth: SlotTruth, least: float) -> dict[str, Tensor]:
    """L_pos, by mask and class, and L_neg of Eq. (9), means over slots, frames and clips.

    class_logits (B, F, L, K + 1), mask_probs (B, F, L, h, w). Class and mask of a slot weigh each other, as in panoptic
    quality: what is well placed learns its name, what is well named learns its place. A slot that is neither would
    learn nothing, so both weigh `least` at least.
    """
    valid = (truth.owners != VOID)[:, :, None]
    probs, masks = mask_probs * valid, truth.masks
    dice = (2 * (probs * masks).sum((3, 4)) + 1) / (probs.sum((3, 4)) + masks.sum((3, 4)) + 1)
    named = class_logits.log_softmax(-1).gather(-1, truth.classes[..., None])[..., 0]
    there = truth.classes != class_logits.shape[-1] - 1
    by_class, by_mask = named.detach().exp().clamp(min=least), dice.detach().clamp(min=least)
    mask = torch.where(there, by_class * (1 - dice), 0)
    positive = torch.where(there, -by_mask * named, 0)
    negative = torch.where(there, 0, -named)
    return {
        "mask": MAIN * POSITIVE * mask.mean(),
        "class": MAIN * POSITIVE * positive.mean(),
        "empty": MAIN * (1 - POSITIVE) * negative.mean(),
    }
