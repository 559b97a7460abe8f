"""Published Mask2Former weights as vistool checkpoints. Image and video weights have the same tensors."""

from __future__ import annotations

from ...nn.published import from_published
from ...weights.checkpoint import Checkpoint
from ...weights.foreign import Foreign
from ..published_info import describe
from .presets import PRESETS


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is one of `nn.published.LAYOUTS`, or "auto"; WeightsError when a tensor is missing or left over."""
    sizes, ours = from_published(foreign.tensors, layout)
    return Checkpoint(describe("mask2former-vis", sizes, PRESETS), ours)
