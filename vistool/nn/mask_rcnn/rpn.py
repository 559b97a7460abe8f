"""Proposals: boxes that may hold an object of whatever class (Faster R-CNN, Ren et al., NeurIPS 2015, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..boxes import nms
from .anchors import RATIOS, anchors
from .deltas import PROPOSALS, clipped, decode

WEIGHT_STD = 0.01  # of fresh convolutions
OVERLAP = 0.7
"""IoU above which the worse of two proposals of a level goes."""
LEAST_SIDE = 1e-3
"""Of a proposal, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposed:
    """What is said of every anchor; one tensor a level, the finest first."""

    objectness: tuple[Tensor, ...]  # (B, n_i) logits
    deltas: tuple[Tensor, ...]  # (B, n_i, 4), relative to the anchors
    anchors: tuple[Tensor, ...]  # (n_i, 4) corners in pixels of the input


class ProposalHead(nn.Module):
    """One convolution and two outputs, with weights shared by all levels."""

    def __init__(self, dim: int, anchor_scale: float) -> None:
        super().__init__()
        self.anchor_scale = anchor_scale
        self.convolution = nn.Conv2d(dim, dim, 3, padding=1)
        self.objectness = nn.Conv2d(dim, len(RATIOS), 1)
        self.deltas = nn.Conv2d(dim, 4 * len(RATIOS), 1)
        for convolution in (self.convolution, self.objectness, self.deltas):
            nn.init.normal_(convolution.weight, std=WEIGHT_STD)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, levels: Sequence[Tensor], input_hw: tuple[int, int]) -> Proposed:
        """levels (B, dim, h_i, w_i) of an input of that size."""
        sizes = [(int(level.shape[-2]), int(level.shape[-1])) for level in levels]
        features = [F.relu(self.convolution(level)) for level in levels]
        return Proposed(
            objectness=tuple(_by_anchor(self.objectness(x), 1)[..., 0] for x in features),
            deltas=tuple(_by_anchor(self.deltas(x), 4) for x in features),
            anchors=tuple(grid.to(levels[0].device) for grid in anchors(sizes, input_hw, self.anchor_scale)),
        )


@torch.no_grad()
def proposals(said: Proposed, frame: int, size_hw: tuple[int, int], per_level: int, count: int) -> Tensor:
    """The best boxes of one frame of the batch, clipped to its size: corners (P, 4), P at most `count`, best first.

    The `per_level` best anchors of each level are moved; one that then repeats a better one of its level is left out.
    """
    boxes, scores = [], []
    for objectness, deltas, grid in zip(said.objectness, said.deltas, said.anchors, strict=True):
        logits, rows = objectness[frame].float().topk(min(per_level, len(grid)))
        moved = clipped(decode(deltas[frame, rows].float(), grid[rows], PROPOSALS), size_hw)
        filled = (moved[:, 2:] - moved[:, :2] >= LEAST_SIDE).all(-1)
        moved, score = moved[filled], logits.sigmoid()[filled]
        kept = nms(moved, score, torch.zeros_like(score), OVERLAP)
        boxes.append(moved[kept])
        scores.append(score[kept])
    order = torch.cat(scores).argsort(descending=True, stable=True)[:count]
    return torch.cat(boxes)[order]


def _by_anchor(maps: Tensor, numbers: int) -> Tensor:
    """maps (B, anchors·numbers, h, w) → (B, h·w·anchors, numbers), in the order of `anchors`."""
    rows: Tensor = maps.unflatten(1, (-1, numbers)).permute(0, 3, 4, 1, 2).flatten(1, 3)
    return rows
