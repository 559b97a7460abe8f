"""Mask2Former's losses (its section 3.3): every prediction is matched anew and answers for classes and masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...nn.losses import cross_entropy, mask_losses, target_classes
from ...nn.masked_decoder import ClipOutput
from ...nn.matching import gather_slots, match, object_count
from ...nn.presets import Mask2FormerSizes
from ...nn.targets import ClipTargets


def losses(output: ClipOutput, targets: Sequence[ClipTargets], sizes: Mask2FormerSizes) -> dict[str, Tensor]:
    """Weighted terms, summed over all predictions.

    Mask terms are taken per (object, frame), summed over both, and divided by the number of objects, not of frames.
    """
    class_logits, mask_logits = output.stacked()
    slots = match(class_logits.softmax(-1)[..., :-1], mask_logits, targets, sizes)
    classes = target_classes(slots, targets, sizes.queries, empty=sizes.num_classes)
    chosen, found = gather_slots(mask_logits, slots)  # (L, M, T, h, w), (L, M)
    truth = torch.cat([target.masks for target in targets])  # (M, T, H, W)
    bce, dice = mask_losses(chosen.flatten(1, 2), truth.flatten(0, 1), sizes.loss_points)
    answered = found.repeat_interleave(truth.shape[1], dim=1)
    objects = object_count(targets, mask_logits.device)
    return {
        "class": sizes.class_weight * cross_entropy(class_logits, classes, sizes.no_object_weight),
        "bce": sizes.bce_weight * (bce * answered).sum() / objects,
        "dice": sizes.dice_weight * (dice * answered).sum() / objects,
    }
