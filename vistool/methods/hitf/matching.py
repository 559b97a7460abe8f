"""Which slot answers for which object: the assignment of greatest similarity, over all supervised frames at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...nn.matching import cheapest
from .slot_truth import Scene, SlotTruth, by_slots

_EMPTY = 2e-5  # keeps the Dice coefficient of two empty masks finite


@torch.no_grad()
def match(class_probs: Tensor, mask_probs: Tensor, scenes: Sequence[Scene], *, paired: bool) -> SlotTruth:
    """class_probs (B, F, L, K + 1), mask_probs (B, F, L, h, w), B scenes of F frames → what every slot should say.

    `paired`: an object has one slot on all frames. Otherwise every frame is matched on its own.
    """
    if not paired:
        frames = range(class_probs.shape[1])
        apart = [
            match(class_probs[:, f : f + 1], mask_probs[:, f : f + 1], [one.frame(f) for one in scenes], paired=True)
            for f in frames
        ]
        parts = zip(*((one.classes, one.owners, one.kinds) for one in apart), strict=True)
        classes, owners, kinds = (torch.cat(part, dim=1) for part in parts)
        return SlotTruth(classes, owners, kinds)
    # Eq. (6): the permutation of greatest similarity is the cheapest one for its negative.
    costs = [-similarity(c, m, one)[None] for c, m, one in zip(class_probs, mask_probs, scenes, strict=True)]
    slots = [chosen[0] for chosen in cheapest(costs)]
    return by_slots(scenes, slots, count=class_probs.shape[2], nothing=class_probs.shape[3] - 1)


def similarity(class_probs: Tensor, mask_probs: Tensor, one: Scene) -> Tensor:
    """Of every slot to every object; class_probs (F, L, K + 1), mask_probs (F, L, h, w) → (L, N), in [0, 1]."""
    truth = one.masks.to(mask_probs.dtype)
    shared = torch.einsum("flhw,nfhw->ln", mask_probs, truth)
    sizes = mask_probs.sum((0, 2, 3))[:, None] + truth.sum((1, 2, 3))
    dice = 2 * shared / (sizes + _EMPTY)  # Eq. (7): the frames of a mask are one row
    classes = torch.where(one.visible, one.labels[:, None], class_probs.shape[-1] - 1)  # absent: nothing
    wanted = classes.T[:, None].expand(-1, class_probs.shape[1], -1)  # (F, L, N)
    named = class_probs.gather(2, wanted).mean(0)  # Eq. (8), as a mean over the frames
    return dice * named
