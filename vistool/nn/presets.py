"""The sizes of Mask2Former, which the methods that stand on it share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask2FormerSizes:
    """Sizes of backbone, pixel decoder and decoder, constants of matching and loss. Defaults as published."""

    backbone: str
    """A name of `nn.backbones`."""
    num_classes: int = 40
    queries: int = 100
    dim: int = 256
    heads: int = 8
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    encoder_points: int = 4
    decoder_layers: int = 9
    decoder_ffn: int = 2048
    frozen_norms: bool = False
    """Batch norms of the backbone keep their statistics in training (pre-trained ResNets)."""
    loss_points: int = 12544
    """Points a mask at which matching and mask losses are taken."""
    class_weight: float = 2.0
    bce_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1


TINY: dict[str, Any] = {
    "backbone": "resnet-tiny",
    "num_classes": 8,
    "queries": 20,
    "dim": 64,
    "encoder_layers": 2,
    "encoder_ffn": 256,
    "decoder_layers": 6,
    "decoder_ffn": 256,
    "loss_points": 512,
    "class_weight": 4.0,  # masks come early at this size, classes late
}
"""Trains on two CPU cores; 4 M parameters."""

S = TypeVar("S", bound=Mask2FormerSizes)


def published(make: Callable[..., S]) -> dict[str, S]:
    """The backbones of the papers, as presets of one method."""
    return {
        "r50": make(backbone="resnet-50", frozen_norms=True),
        "r101": make(backbone="resnet-101", frozen_norms=True),
        "swin-t": make(backbone="swin-tiny"),
        "swin-s": make(backbone="swin-small"),
        "swin-b": make(backbone="swin-base"),
        "swin-l": make(backbone="swin-large"),
        "swin-l-200": make(backbone="swin-large", queries=200),
    }
