"""What Mask R-CNN says of a box: its class, its identity, where it should be instead, and the object's mask in it."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .sizes import MaskRcnnSizes

BACKGROUND = 0
"""Column of the class outputs that names nothing; label k has column k + 1. Of identities it is the last column."""
BOX_BINS, MASK_BINS = 7, 14
LOGIT_STD = 0.001  # of the fresh weights that masks end in: all start at one half


class BoxOutput(NamedTuple):
    """Of R boxes."""

    class_logits: Tensor  # (R, K + 1), background first
    id_logits: Tensor  # (R, N + 1), background last; (R, 0) without identities
    deltas: Tensor  # (R, K + 1, 4), relative to the box, one for each class


class BoxHead(nn.Module):
    """Two linear layers on what a box shows, and three outputs."""

    def __init__(self, sizes: MaskRcnnSizes) -> None:
        super().__init__()
        self.first = nn.Linear(sizes.dim * BOX_BINS**2, sizes.box_dim)
        self.second = nn.Linear(sizes.box_dim, sizes.box_dim)
        self.class_logits = nn.Linear(sizes.box_dim, sizes.num_classes + 1)
        self.deltas = nn.Linear(sizes.box_dim, 4 * (sizes.num_classes + 1))
        self.id_logits = nn.Linear(sizes.box_dim, sizes.num_ids + 1) if sizes.num_ids else None

    def forward(self, shown: Tensor) -> BoxOutput:
        """shown (R, dim, 7, 7)."""
        features = F.relu(self.second(F.relu(self.first(shown.flatten(1)))))
        return BoxOutput(
            class_logits=self.class_logits(features),
            id_logits=features[:, :0] if self.id_logits is None else self.id_logits(features),
            deltas=self.deltas(features).unflatten(-1, (-1, 4)),
        )


class MaskHead(nn.Module):
    """Convolutions on what a box shows, and a mask of twice that size for each class."""

    def __init__(self, sizes: MaskRcnnSizes) -> None:
        super().__init__()
        widths = [sizes.dim] + [sizes.mask_dim] * sizes.mask_convolutions
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.enlarge = nn.ConvTranspose2d(widths[-1], sizes.mask_dim, 2, stride=2)
        self.logits = nn.Conv2d(sizes.mask_dim, sizes.num_classes + 1, 1)
        for convolution in (*self.convolutions, self.enlarge):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
        nn.init.normal_(self.logits.weight, std=LOGIT_STD)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, shown: Tensor) -> Tensor:
        """shown (R, dim, 14, 14) → logits (R, K + 1, 28, 28), those of background unused."""
        for convolution in self.convolutions:
            shown = F.relu(convolution(shown))
        logits: Tensor = self.logits(F.relu(self.enlarge(shown)))
        return logits
