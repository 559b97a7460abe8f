"""Published Mask2Former weights as vistool checkpoints. Image and video weights have the same tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ...nn.published import from_published
from ...weights.checkpoint import Checkpoint
from ..published_info import describe
from .presets import PRESETS


def convert(tensors: Mapping[str, Tensor], layout: str, names: Sequence[str] = ()) -> Checkpoint:
    """Weights in one of `nn.published.LAYOUTS`, or "auto"; `names` are those of the classes, in order.

    WeightsError when a tensor is missing, left over or misshaped, or the number of names is not that of the classes.
    """
    sizes, ours = from_published(tensors, layout)
    return Checkpoint(describe("mask2former-vis", sizes, PRESETS, names), ours)
