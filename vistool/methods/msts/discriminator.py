"""The foreground-background discriminator (section 3.4 of the paper): are these masks drawn by hand or predicted?

It looks at a frame, at what the encoder makes of it, and at one mask of all objects, and answers patch by patch. The
encoder learns to leave it without an answer. It is a part of training alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ...nn.training_only import TrainingOnly
from .learning import LearningRules

STRIDE = 8  # of the finest features
MASK_STRIDE = 4
COLOURS, MASKS = 3, 1
SLOPE = 0.2  # of the rectifiers, below zero


class Norm(nn.LayerNorm):
    """Over the channels of every pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(F, C, h, w) → (F, C, h, w)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Discriminator(TrainingOnly):
    """Convolutions over patches of three scales; features of the coarser scales are added on the way down.

    At first the mask, one channel of many, counts in the first convolution as much as all others together: else what
    tells masks apart is lost among what both sides have in common, and is not found for hundreds of steps.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (dim, dim // 4, dim // 2, dim, 2 * dim, 1)
        self.fine = _convolution(COLOURS + dim + MASKS, dim)
        self.middle = _convolution(dim, dim)
        self.coarse = nn.ModuleList(_convolution(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(Norm(width, eps=1e-6) for width in widths[2:-1])
        with torch.no_grad():
            self.fine.weight[:, -MASKS:] *= math.sqrt(COLOURS + dim)

    def forward(self, frames: Tensor, features: Sequence[Tensor], masks: Tensor) -> Tensor:
        """frames (F, 3, h, w), masks (F, 1, h, w), features (F, D, h_i, w_i) with h = h_0 → logits (F, h_2, w_2).

        Above 0: drawn by hand. A map of features has half the sides of the one before, rounded up.
        """
        fine, middle, coarse = features
        x = _halved(self.fine(torch.cat([frames, fine, masks], dim=1))) + middle
        x = _halved(self.middle(x)) + coarse
        first, *between, last = self.coarse
        x = first(x)
        for convolution, norm in zip(between, self.norms, strict=True):
            x = norm(convolution(F.leaky_relu(x, SLOPE)))
        logits: Tensor = last(F.leaky_relu(x, SLOPE))
        return logits[:, 0]


def adversarial_losses(
    discriminator: Discriminator,
    frames: Tensor,
    features: Sequence[Tensor],
    predicted: Tensor,
    true: Tensor,
    rules: LearningRules,
) -> dict[str, Tensor]:
    """Weighted terms of both sides, to be minimised together: none has a gradient for the weights of the other side.

    frames (F, 3, H, W), features (F, D, h_i, w_i) of three levels, masks in [0, 1] of all objects (F, H / 4, W / 4).
    """
    size = (features[0].shape[-2], features[0].shape[-1])
    pictures = _at(frames, STRIDE, size)
    predicted, true = (_at(each[:, None], STRIDE // MASK_STRIDE, size) for each in (predicted, true))
    maps = features[:3]

    # The discriminator learns: features and masks are given.
    given = [each.detach() for each in maps]
    of_true = discriminator(pictures, given, true).float()
    of_predicted = discriminator(pictures, given, predicted.detach()).float()
    told_apart = F.softplus(-of_true).mean() + F.softplus(of_predicted).mean()

    # The encoder learns, and what draws the masks: the discriminator is given.
    weights = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    of_predicted = functional_call(discriminator, weights, (pictures, maps, predicted)).float()
    fooled = F.softplus(-of_predicted).mean()
    terms = {"discriminator": rules.adv_weight * told_apart, "adversarial": rules.adv_weight * fooled}
    if rules.l1_weight > 0:
        of_true = functional_call(discriminator, weights, (pictures, maps, true)).float()
        differ = (of_true.sigmoid() - of_predicted.sigmoid()).abs().mean()
        terms["adversarial_l1"] = rules.adv_weight * rules.l1_weight * differ
    return terms


def _convolution(channels: int, out: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
    return convolution


def _halved(x: Tensor) -> Tensor:
    """(F, C, h, w) → (F, C, ⌈h / 2⌉, ⌈w / 2⌉)."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


def _at(pictures: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Means of `stride` x `stride` pixels: (F, C, H, W) → (F, C, *size); beyond the right and lower edges are zeros."""
    height, width = pictures.shape[-2:]
    room = (0, size[1] * stride - width, 0, size[0] * stride - height)
    return F.avg_pool2d(F.pad(pictures.float(), room), stride)
