"""A box told by how it differs from another one, which is what networks predict (Girshick et al., CVPR 2014).

All boxes are corners; of the other one only the centre and the sides matter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..boxes import to_cxcywh, to_xyxy

Weights = tuple[float, float, float, float]

PROPOSALS: Weights = (1.0, 1.0, 1.0, 1.0)
REFINED: Weights = (10.0, 10.0, 5.0, 5.0)
"""Factors of the four differences: for proposals relative to anchors, and for boxes relative to proposals."""
MOST_GROWTH = math.log(1000 / 16)
"""Of a side, as a logarithm, before it is cut: a wild prediction stays finite."""


def encode(boxes: Tensor, others: Tensor, weights: Weights) -> Tensor:
    """boxes and others (…, 4) → differences (…, 4): of centres in sides of the other, of sides as logarithms."""
    own, other = to_cxcywh(boxes), to_cxcywh(others)
    shift = (own[..., :2] - other[..., :2]) / other[..., 2:]
    growth = (own[..., 2:] / other[..., 2:]).log()
    return torch.cat([shift, growth], dim=-1) * own.new_tensor(weights)


def decode(deltas: Tensor, others: Tensor, weights: Weights) -> Tensor:
    """What `encode` undoes: deltas and others (…, 4) → boxes (…, 4)."""
    shift, growth = (deltas / deltas.new_tensor(weights)).split(2, dim=-1)
    centres, sides = to_cxcywh(others).split(2, dim=-1)
    return to_xyxy(torch.cat([shift * sides + centres, growth.clamp(max=MOST_GROWTH).exp() * sides], dim=-1))


def clipped(boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """The parts of boxes (…, 4) within a frame of that size; without an area where they lie beside it."""
    height, width = size_hw
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
