"""Matching and losses of IFR (Eq. 4 to 7): Mask2Former's, with focal classes and the cross-frame mask term."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...nn.losses import cross_entropy, mask_losses, sigmoid_focal, target_classes
from ...nn.matching import gather_slots, match, object_count
from ...nn.targets import ClipTargets
from .network import IfrOutput
from .presets import Preset


def losses(output: IfrOutput, targets: Sequence[ClipTargets], preset: Preset) -> dict[str, Tensor]:
    """Weighted terms, summed over all predictions; every prediction is matched anew (Eq. 4)."""
    predictions = [*output.auxiliary, output.final]
    class_logits = torch.stack([p.class_logits for p in predictions])
    kernels = torch.stack([p.kernels for p in predictions])  # (L, B, T, Q, D)
    with torch.no_grad():
        masks = torch.einsum("lbtqd,btdhw->lbqthw", kernels, output.pixels)
        slots = match(class_probs(class_logits, preset), masks, targets, preset)
    objects = object_count(targets, kernels.device)
    classes = target_classes(slots, targets, preset.queries, empty=preset.num_classes)
    if preset.class_head == "softmax":
        class_term = cross_entropy(class_logits, classes, preset.no_object_weight)
    else:
        class_term = sigmoid_focal(class_logits, classes, objects)
    bce, dice = _mask_terms(output.pixels, kernels, slots, targets, preset)
    return {
        "class": preset.class_weight * class_term,
        "bce": preset.bce_weight * bce / objects,
        "dice": preset.dice_weight * dice / objects,
    }


def class_probs(class_logits: Tensor, preset: Preset) -> Tensor:
    """(…, K or K + 1) → (…, K) in [0, 1]."""
    return class_logits.softmax(-1)[..., :-1] if preset.class_head == "softmax" else class_logits.sigmoid()


def _mask_terms(
    pixels: Tensor, kernels: Tensor, slots: Sequence[Tensor], targets: Sequence[ClipTargets], preset: Preset
) -> tuple[Tensor, Tensor]:
    """Eq. (6) and (7), summed over predictions, objects and both frames.

    The kernel of frame t1 is held against the object on every frame t2: weight one where t2 = t1, λ_e elsewhere.
    An object that is absent on t2 has an empty target there.
    """
    chosen, found = gather_slots(kernels.transpose(2, 3), slots)  # (L, M, T, D), (L, M)
    clips = torch.cat([torch.full_like(slot[0], clip) for clip, slot in enumerate(slots)])
    drawn = torch.einsum("lmad,mbdhw->lmabhw", chosen, pixels[clips])  # a = t1, b = t2
    truth = torch.cat([target.masks for target in targets])  # (M, T, H, W)
    weights = found[:, :, None, None] * cross_frame_weights(len(kernels), truth.shape[1], preset).to(pixels)
    # Planes of one (object, t2) share a target: (L, M, a, b, …) → (L·a, M·b, …)
    planes = drawn.permute(0, 2, 1, 3, 4, 5).flatten(0, 1).flatten(1, 2)
    bce, dice = mask_losses(planes, truth.flatten(0, 1), preset.loss_points)
    rows = weights.permute(0, 2, 1, 3).flatten(0, 1).flatten(1, 2)
    return (bce * rows).sum(), (dice * rows).sum()


def cross_frame_weights(predictions: int, frames: int, preset: Preset) -> Tensor:
    """Weight of every (t1, t2) in every prediction, (L, 1, T, T); A14 says which predictions have the cross term.

    The initial queries never do: their kernels are the same on all frames, so it would repeat the main term.
    """
    own = torch.eye(frames)
    crossed = torch.zeros(predictions, 1, 1, 1)
    crossed[1 if preset.cross_frame_layers == "all" else -1 :] = preset.cross_frame_weight
    return own + crossed * (1 - own)
