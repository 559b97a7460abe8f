"""The sizes of MaskDINO: three published variants, which differ in more than their widths, and a small one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Anchors = Literal["proposal", "mask2box", "bitmask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskDinoSizes:
    """Sizes of backbone, encoder and decoder, constants of noise and loss. Defaults as published for R50 `hid2048`."""

    backbone: str
    """A name of `nn.backbones`."""
    num_classes: int = 80
    queries: int = 300
    dim: int = 256
    heads: int = 8
    finest_stride: Literal[4, 8] = 8
    """Stride of the finest map that the encoder attends to."""
    extra_level: bool = True
    """The encoder also attends to a map at stride 64, made from that at 32."""
    coarse_first: bool = False
    """Order of the encoder's maps. The decoder sees them in the opposite order, and the anchors grow along that one."""
    encoder_layers: int = 6
    encoder_ffn: int = 2048
    decoder_layers: int = 9
    decoder_ffn: int = 2048
    points: int = 4
    """Points that a head reads on every level, in encoder and decoder."""
    anchors: Anchors = "mask2box"
    """First boxes of the queries: as selected, or the boxes of their masks in one of two published spellings."""
    class_prior: float | None = None
    """Probability that every class starts at; None: as published, near a half, which makes the first losses huge."""
    frozen_norms: bool = False
    """Batch norms of the backbone keep their statistics in training (pre-trained ResNets)."""
    noised_queries: int = 100
    """Denoising queries a frame in training, about; 0: none."""
    label_flip: float = 0.25
    """Probability that a denoising query's label is drawn anew."""
    box_scale: float = 0.4
    """Greatest movement of a denoising query's box, as a share of half its side."""
    loss_points: int = 12544
    """Points a mask at which matching and mask losses are taken."""
    class_weight: float = 4.0
    bce_weight: float = 5.0
    dice_weight: float = 5.0
    box_weight: float = 5.0
    giou_weight: float = 2.0

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the encoder's maps, in the encoder's order."""
        strides = [stride for stride in (4, 8, 16, 32) if stride >= self.finest_stride] + [64] * self.extra_level
        return tuple(reversed(strides)) if self.coarse_first else tuple(strides)


PRESETS = {
    "r50-hid1024": MaskDinoSizes(
        backbone="resnet-50",
        extra_level=False,
        coarse_first=True,
        encoder_ffn=1024,
        anchors="bitmask",
        frozen_norms=True,
    ),
    "r50-hid2048": MaskDinoSizes(backbone="resnet-50", frozen_norms=True),
    "swin-l": MaskDinoSizes(backbone="swin-large", finest_stride=4, anchors="bitmask", noised_queries=500),
    "swin-l-unenhanced": MaskDinoSizes(backbone="swin-large", finest_stride=4, anchors="proposal", noised_queries=500),
    "tiny": MaskDinoSizes(
        backbone="resnet-tiny",
        num_classes=8,
        queries=30,
        dim=64,
        extra_level=False,
        coarse_first=True,
        encoder_layers=2,
        encoder_ffn=256,
        decoder_layers=4,
        decoder_ffn=256,
        anchors="bitmask",
        class_prior=0.01,
        noised_queries=30,
        loss_points=512,
    ),
}
"""`tiny` trains on two CPU cores; its tensors take less than 8 MB in half precision."""
