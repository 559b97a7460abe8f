"""What CondInst's masks are made of, and how they are made: the mask branch, and the masks of chosen points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..dynamic_masks import DynamicMaskHead, aligned_bilinear, relative_coordinates
from .sizes import CondInstSizes

STRIDE = 8  # of the mask features
MASK_STRIDE = 4
LEVELS = 3  # of the pyramid, that the mask branch reads
UNIT = 8  # strides of a point's level that count as one in its coordinates


class MaskBranch(nn.Module):
    """The levels at strides 8 to 32, added up at the finest, as one map of few channels."""

    def __init__(self, sizes: CondInstSizes) -> None:
        super().__init__()
        width = sizes.mask_width
        self.refine = nn.ModuleList(_block(sizes.dim, sizes) for _ in range(LEVELS))
        self.tower = nn.Sequential(
            *(_block(width, sizes) for _ in range(sizes.mask_depth)), nn.Conv2d(width, sizes.mask_features, 1)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, dim, h_i, w_i) at strides 8, 16, 32, sides in the ratio 4 : 2 : 1 → (B, mask_features, h, w)."""
        refined = [refine(level) for refine, level in zip(self.refine, levels, strict=True)]
        fine, *coarser = refined
        for number, x in enumerate(coarser, start=1):
            fine = fine + aligned_bilinear(x.flatten(0, 1), 2**number).view_as(fine)
        out: Tensor = self.tower(fine)
        return out


def _block(channels: int, sizes: CondInstSizes) -> nn.Sequential:
    width = sizes.mask_width
    norm = nn.BatchNorm2d(width) if sizes.mask_norm == "batch" else nn.GroupNorm(sizes.groups, width)
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), norm, nn.ReLU())


def mask_logits(head: DynamicMaskHead, kernels: Tensor, features: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Masks of the objects that points found: (n, 2·h, 2·w), at stride 4.

    kernels (n, head.parameters), features at stride 8, (mask_features, h, w) of one frame or (n, mask_features, h, w)
    of one a row, points xy (n, 2) in pixels of the input, strides (n,) of the levels that the points lie on.
    """
    with torch.autocast(features.device.type, enabled=False):  # coordinates are pixels, too large for half precision
        size = (int(features.shape[-2]), int(features.shape[-1]))
        coordinates = relative_coordinates(points.float(), size, STRIDE, UNIT * strides.float())
        logits = head.masks(kernels.float(), features.float(), coordinates)
    return aligned_bilinear(logits, STRIDE // MASK_STRIDE)
