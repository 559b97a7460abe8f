"""CondInst as a detector that sees one frame at a time and knows nothing of tracks, but may be asked for identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..detector import Detections, DetectorTargets
from ..dynamic_masks import DynamicMaskHead
from ..fpn import Fpn
from .head import STRIDES, Head, corners, points
from .loss import LossRules, losses
from .maps import TrainingMaps
from .masks import LEVELS, MaskBranch, mask_logits
from .sizes import CondInstSizes

RULES = LossRules()
"""Of the published training."""


class CondInst(nn.Module):
    """A `Detector`. It does not read the map at stride 4.

    Sides of the input are multiples of 32. A handle is a kernel, then the point it was found at, then that level's
    stride.
    """

    def __init__(self, sizes: CondInstSizes, in_channels: Sequence[int], rules: LossRules = RULES) -> None:
        super().__init__()
        self.sizes = sizes
        self.rules = rules
        self.in_channels = tuple(in_channels)
        self.mask_head = DynamicMaskHead(sizes.mask_features, sizes.mask_hidden)
        self.fpn = Fpn(self.in_channels[1:], sizes.dim, coarser="convolutions")
        self.head = Head(sizes, self.mask_head.parameters)
        self.mask_branch = MaskBranch(sizes)

    def forward(self, maps: tuple[Tensor, ...]) -> TrainingMaps:
        """maps (B, C_i, h_i, w_i) at strides 4 to 32."""
        levels = self.fpn(maps[1:])
        outputs = self.head(levels)
        classes, ids, distances, centerness, kernels = (_over_points(each) for each in zip(*outputs, strict=True))
        grids = points(tuple((level.shape[-2], level.shape[-1]) for level in levels))
        counts = torch.tensor([len(grid) for grid in grids], device=classes.device)
        places = torch.cat(grids).to(classes.device)
        return TrainingMaps(
            class_logits=classes,
            id_logits=ids,
            boxes=corners(places, distances),
            centerness=centerness[..., 0],
            kernels=kernels,
            points=places,
            strides=torch.tensor(STRIDES, device=classes.device).repeat_interleave(counts),
            levels=torch.arange(len(STRIDES), device=classes.device).repeat_interleave(counts),
            features=self.mask_branch(levels[:LEVELS]),
        )

    def detect(self, maps: tuple[Tensor, ...], size_hw: tuple[int, int]) -> Detections:
        """maps (1, C_i, h_i, w_i) of one frame → every point as a candidate, those in the padding too."""
        found = self(maps)
        places = torch.cat([found.points, found.strides[:, None]], dim=1)
        return Detections(
            class_scores=found.class_logits[0].sigmoid(),
            id_scores=found.id_logits[0].sigmoid(),
            quality=found.centerness[0].sigmoid(),
            boxes=found.boxes[0],
            levels=found.levels,
            handles=torch.cat([found.kernels[0].float(), places], dim=1),
            pixels=found.features[0],
        )

    def masks(self, found: Detections, rows: Tensor) -> Tensor:
        """rows int64 (n,) → mask probabilities (n, H / 4, W / 4)."""
        kernels, places, strides = found.handles[rows].split([self.mask_head.parameters, 2, 1], dim=1)
        assert isinstance(found.pixels, Tensor)
        return mask_logits(self.mask_head, kernels, found.pixels, places, strides[:, 0]).sigmoid()

    def losses(self, maps: tuple[Tensor, ...], targets: Sequence[DetectorTargets]) -> Mapping[str, Tensor]:
        """maps (B, C_i, h_i, w_i), one target a frame → the terms of `loss.losses`."""
        return losses(self(maps), targets, self.mask_head, self.rules)


def _over_points(maps: Sequence[Tensor]) -> Tensor:
    """Maps (B, C, h_i, w_i) of all levels → (B, P, C)."""
    return torch.cat([level.flatten(2) for level in maps], dim=-1).transpose(1, 2)
