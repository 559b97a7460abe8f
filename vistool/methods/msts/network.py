"""The network: SeqFormer (Wu et al., ECCV 2022), and what MS-STS adds to it where the preset says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...nn.backbones import Backbone
from ...nn.deformable_detr import Levels
from ...nn.dynamic_masks import DynamicMaskHead, aligned_bilinear, relative_coordinates
from ...nn.mask_branch import MaskBranch
from ...nn.mlp import Mlp
from ...nn.resnext import RESNEXTS, ResNeXt
from .class_columns import columns, outputs
from .decoder import ClipDecoder
from .encoder import ClipEncoder
from .presets import Preset

STRIDE = 8  # of the mask features
MASK_STRIDE = 4
CLASS_PRIOR = 0.01  # probability that every class starts at


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What one layer of the decoder says of B clips."""

    class_logits: Tensor  # (B, Q, columns of the class heads)
    boxes: Tensor  # (B, T, Q, 4) cx cy w h, shares of the part of the frame that is not padded
    references: Tensor  # (B, T, Q, 2) xy, what masks are drawn relative to; pixels of the frame
    queries: Tensor  # (B, Q, D)


@dataclass(frozen=True, slots=True)
class ClipOutput:
    """What the network says of B clips. Masks are made of it on demand: `Msts.masks`."""

    layers: tuple[LayerOutput, ...]  # first to last
    features: Tensor  # (B, T, C, h, w), what masks are made of, at stride 8
    maps: tuple[Tensor, ...]  # what the encoder made of the frames, at strides 8 to 64, (B·T, D, h_i, w_i)


class Msts(nn.Module):
    """Frames in; one class and query a slot for the whole clip, and a box on every frame of it, out."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.backbone = _backbone(preset)
        self.encoder = ClipEncoder(self.backbone.channels[1:], preset)
        self.decoder = ClipDecoder(preset)
        self.class_heads = nn.ModuleList(nn.Linear(preset.dim, outputs(preset)) for _ in range(preset.decoder_layers))
        for name, parameter in self.class_heads.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, math.log(CLASS_PRIOR / (1 - CLASS_PRIOR)))
        self.mask_branch = MaskBranch(preset.dim, preset.mask_width, preset.mask_features)
        self.mask_head = DynamicMaskHead(preset.mask_features, preset.mask_hidden)
        self.controller = Mlp(preset.dim, preset.dim, self.mask_head.parameters, 3)
        self.columns = columns(preset)

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> ClipOutput:
        """frames (B, T, 3, H, W) normalised, padding bool (B, T, H, W), true where padded → what is said of the clips.

        Padding is on the right and below, on all frames of a clip the same.
        """
        count, images = frames.shape[1], frames.flatten(0, 1)
        memory = self.remember(self.look(images), None if padding is None else padding.flatten(0, 1), count)
        if padding is None:
            frame_wh = frames.new_tensor([[frames.shape[-1], frames.shape[-2]]])
        else:
            rows, lines = ~padding[:, 0, 0], ~padding[:, 0, :, 0]
            frame_wh = torch.stack([rows.sum(-1), lines.sum(-1)], dim=-1)
        return self.tell(memory, self.mask_features(memory), frame_wh, count)

    def look(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (F, 3, H, W) → what the backbone makes of each: maps (F, C_i, h_i, w_i) at strides 8, 16, 32."""
        maps: tuple[Tensor, ...] = self.backbone(images)
        return maps[1:]

    def remember(self, maps: Sequence[Tensor], padding: Tensor | None = None, frames: int = 1) -> Levels:
        """Maps of B·T frames, padding bool (B·T, H, W) → what the encoder makes of the clips.

        Without split attention it is the same for a frame whatever the clip.
        """
        memory: Levels = self.encoder(maps, padding, frames)
        return memory

    def mask_features(self, memory: Levels) -> Tensor:
        """What masks are made of, frame by frame, (F, C, h, w) at stride 8."""
        features: Tensor = self.mask_branch(*memory.maps()[:3])
        return features

    def tell(self, memory: Levels, features: Tensor, frame_wh: Tensor, frames: int) -> ClipOutput:
        """Memory and mask features of B·T frames, width and height of a frame without padding (B or 1, 2)."""
        layers = [
            LayerOutput(head(found.instances), found.boxes, found.references * frame_wh[:, None, None], found.instances)
            for head, found in zip(self.class_heads, self.decoder(memory, frames), strict=True)
        ]
        return ClipOutput(tuple(layers), features.unflatten(0, (-1, frames)), memory.maps())

    def class_probs(self, class_logits: Tensor) -> Tensor:
        """Logits (…, columns of the class heads) → (…, K) in [0, 1]."""
        return class_logits.float()[..., self.columns].sigmoid()

    def masks(self, queries: Tensor, references: Tensor, features: Tensor) -> Tensor:
        """Of N slots of one clip, from any layer: queries (N, D), references (N, T, 2), features (T, C, h, w).

        Logits (N, T, 2h, 2w), at stride 4.
        """
        kernels = self.controller(queries)
        size = (int(features.shape[-2]), int(features.shape[-1]))
        with torch.autocast(features.device.type, enabled=False):  # coordinates are pixels, too large for half
            planes = []
            for points, pixels in zip(references.unbind(1), features, strict=True):
                coordinates = relative_coordinates(points.float(), size, STRIDE)
                logits = self.mask_head.masks(kernels.float(), pixels.float(), coordinates)
                planes.append(aligned_bilinear(logits, STRIDE // MASK_STRIDE))
        return torch.stack(planes, dim=1)


def _backbone(preset: Preset) -> Backbone:
    if preset.backbone in RESNEXTS:
        return ResNeXt(preset.backbone, frozen_norms=preset.frozen_norms)
    return Backbone(preset.backbone, frozen_norms=preset.frozen_norms, sizes=preset.backbone_sizes)
