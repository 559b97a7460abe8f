"""What dynamic masks are made of, from the levels of an encoder (CondInst's mask branch, Tian et al., ECCV 2020)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MaskBranch(nn.Module):
    """The levels at strides 8 to 32, added up from coarse to fine, as one map of few channels."""

    def __init__(self, dim: int, width: int, features: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(dim, dim, 3, padding=1)
        self.middle = nn.Conv2d(dim, dim, 3, padding=1)
        self.fine = nn.Conv2d(dim, dim, 3, padding=1)
        self.narrow = nn.Conv2d(dim, width, 3, padding=1)
        self.last = nn.Conv2d(width, features, 3, padding=1)
        for convolution in (self.coarse, self.middle, self.fine, self.narrow, self.last):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Levels (B, D, h_i, w_i) at strides 8, 16, 32 → (B, features, h, w) at stride 8."""
        x = F.relu(self.coarse(coarse))
        x = F.relu(self.middle(middle + F.interpolate(x, size=middle.shape[-2:])))  # nearest
        x = F.relu(self.fine(fine + F.interpolate(x, size=fine.shape[-2:])))
        return F.relu(self.last(F.relu(self.narrow(x))))
