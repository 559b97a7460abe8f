"""The sizes of IDOL's detector: the published variants and a small one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IdolSizes:
    """Sizes of backbone, encoder, decoder and mask head. Defaults as published."""

    backbone: str
    """A name of `nn.backbones`."""
    num_classes: int = 40
    queries: int = 300
    dim: int = 256
    heads: int = 8
    encoder_layers: int = 6
    encoder_ffn: int = 1024
    encoder_points: int = 4
    """Points that a head reads on every level."""
    decoder_layers: int = 6
    decoder_ffn: int = 1024
    decoder_points: int = 4
    mask_width: int = 64
    """Channels of the mask branch before the last convolution."""
    mask_features: int = 8
    """Channels that dynamic masks are made of, beside the two coordinates."""
    mask_hidden: int = 8
    """Channels between the layers of the dynamic mask head."""
    multiple: int = 32
    """Frames are padded to sides divisible by this, and the padding is masked; 1: never padded."""
    frozen_norms: bool = False
    """Batch norms of the backbone keep their statistics in training (pre-trained ResNets)."""


PRESETS = {
    "r50": IdolSizes(backbone="resnet-50", frozen_norms=True),
    "r101": IdolSizes(backbone="resnet-101", frozen_norms=True),
    "swin-l": IdolSizes(backbone="swin-large"),
    "tiny": IdolSizes(
        backbone="resnet-tiny",
        num_classes=8,
        queries=30,
        dim=64,
        encoder_layers=2,
        encoder_ffn=256,
        decoder_layers=4,
        decoder_ffn=256,
        mask_width=16,
    ),
}
"""`tiny` is of a size that trains on two CPU cores."""
