"""What a code says: a class, and a filter that is held against features of every place, Eq. (5)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, convolution, map_block, map_norm, token_block, token_norm
from .presets import Preset

_EMPTY_PROB = 0.9  # of a slot before anything is learned
_LAST_STD = 0.01  # of the weights of the last layers for classes and features


class MaskNorm(nn.Module):
    """One gain and one shift for all mask logits; with norm "batch" after they are made standard."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(preset.mask_gain))
        self.shift = nn.Parameter(torch.tensor(0.0))
        batch = preset.norm == "batch"
        self.standard = nn.BatchNorm1d(1, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, affine=False) if batch else None

    def forward(self, logits: Tensor) -> Tensor:
        """(B, L, h, w) → (B, L, h, w)."""
        if self.standard is not None:
            logits = self.standard(logits.reshape(1, 1, -1)).view_as(logits)
        return logits * self.gain + self.shift


class Heads(nn.Module):
    """Class head, filter head and the features that filters are held against."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        dim, norm, classes, features = preset.dim, preset.norm, preset.num_classes, preset.mask_width
        self.cls = nn.Sequential(token_block(dim, dim, norm), _class_layer(dim, classes))
        self.filter = nn.Sequential(
            token_block(dim, dim, norm), nn.Linear(dim, features, bias=False), token_norm(features, norm)
        )
        to_features = convolution(preset.decoder_width, features)
        nn.init.normal_(to_features.weight, std=_LAST_STD)
        self.pixel = nn.Sequential(_around(preset.decoder_width, preset), to_features, map_norm(features, norm))
        self.mask_norm = MaskNorm(preset)

    def forward(self, code: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """code (B, L, D), decoded (B, W, h, w) → classes (B, L, K + 1), masks (B, L, h, w), features (B, F, h, w).

        Classes and masks are logits. Masks are the softmax over the slots, Eq. (5), and in single precision throughout.
        """
        filters = self.filter(code).float()
        features = F.normalize(self.pixel(decoded).float(), dim=1)
        with torch.autocast(features.device.type, enabled=False):
            mask_logits = self.mask_norm(torch.einsum("blf,bfhw->blhw", filters, features))
        return self.cls(code), mask_logits, features


class SemanticHead(nn.Module):
    """Classes of places, the last one the background; for training."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.around = _around(preset.decoder_width, preset)
        self.classes = nn.Conv2d(preset.decoder_width, preset.num_classes + 1, 1)

    def forward(self, decoded: Tensor) -> Tensor:
        """(B, W, h, w) → logits (B, K + 1, h, w)."""
        logits: Tensor = self.classes(self.around(decoded))
        return logits


def _class_layer(dim: int, classes: int) -> nn.Linear:
    """Says "nothing" of nearly every slot at first."""
    layer = nn.Linear(dim, classes + 1)
    nn.init.normal_(layer.weight, std=_LAST_STD)
    nn.init.zeros_(layer.bias)
    nn.init.constant_(layer.bias[-1:], math.log(classes * _EMPTY_PROB / (1 - _EMPTY_PROB)))
    return layer


def _around(width: int, preset: Preset) -> nn.Sequential:
    """A separable convolution of 5 x 5."""
    return nn.Sequential(map_block(width, width, preset.norm, 5, groups=width), map_block(width, width, preset.norm))
