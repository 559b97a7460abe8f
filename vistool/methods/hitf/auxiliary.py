"""Auxiliary losses, those of MaX-DeepLab: features that tell objects apart, whose pixel it is, and of what class.

All take B clips of F frames on the grid of the mask logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .slot_truth import BACKGROUND, VOID, SlotTruth

TEMPERATURE = 0.3
_NEVER = -1e4  # a logit; finite, so that what it stands in for has a gradient of zero


def discrimination(features: Tensor, truth: SlotTruth) -> Tensor:
    """Every pixel of an object is most like the mean of its own object; features (B, F, C, h, w) of length 1 → ().

    The mean over the pixels of a frame, then over the frames; 0 on frames without an object.
    """
    masks = truth.masks
    means = F.normalize(torch.einsum("bflhw,bfchw->bflc", masks, features), dim=-1)
    alike = torch.einsum("bflc,bfchw->bflhw", means, features) / TEMPERATURE
    seen = masks.flatten(3).any(-1)[..., None, None]
    surprise = _surprise(alike.masked_fill(~seen, _NEVER), truth.owners)
    inside = (truth.owners >= 0).to(surprise.dtype)
    per_frame = (surprise * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    return per_frame.mean()


def mask_identity(mask_logits: Tensor, truth: SlotTruth) -> Tensor:
    """Whose pixel it is, by cross-entropy; mask_logits (B, F, L, h, w) → (), the mean over pixels.

    Background belongs to all slots without an object on the frame together. Where every slot has one, nobody can take
    it, and it is left out.
    """
    free = (~truth.masks.flatten(3).any(-1))[..., None, None]
    whole = mask_logits.logsumexp(2)
    unused = mask_logits.masked_fill(~free, _NEVER).logsumexp(2)
    background = whole - unused
    surprise = torch.where(truth.owners == BACKGROUND, background, _surprise(mask_logits, truth.owners))
    counts = (truth.owners != VOID) & ((truth.owners != BACKGROUND) | free.any(2))
    return (surprise * counts).sum() / counts.sum().clamp(min=1)


def semantic(semantic_logits: Tensor, truth: SlotTruth) -> Tensor:
    """Of what class a pixel is, nothing included; semantic_logits (B, F, K + 1, h, w) → (), the mean over pixels."""
    return F.cross_entropy(semantic_logits.flatten(0, 1), truth.kinds.flatten(0, 1))


def _surprise(logits: Tensor, owners: Tensor) -> Tensor:
    """-log softmax of the slot that a pixel belongs to, anything where it has none; (B, F, L, h, w) → (B, F, h, w)."""
    own = logits.gather(2, owners.clamp(min=0)[:, :, None])[:, :, 0]
    return torch.logsumexp(logits, 2) - own
