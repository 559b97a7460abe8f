"""IDOL's detector (Wu et al., ECCV 2022): queries of Deformable DETR with dynamic masks and a contrastive head.

It sees one frame at a time and knows nothing of tracks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..backbones import Backbone
from ..deformable_detr import DeformableEncoder, RefiningDecoder
from ..dynamic_masks import COORDINATES, DynamicMaskHead, aligned_bilinear, relative_coordinates
from ..frame_sizes import padded, unpadded
from ..image_model import FrameObjects, LayerOutput, TrainingOutput
from ..mask_branch import MaskBranch
from ..mlp import Mlp
from .sizes import IdolSizes

if TYPE_CHECKING:
    from ..denoising import NoisedQueries

STRIDE = 8  # of the mask features
MASK_STRIDE = 4
CLASS_PRIOR = 0.01  # probability that every class starts at


class IdolDetector(nn.Module):
    """An `ImageModel`. Embeddings are the last layer's queries; `pixels` are places, then mask features.

    A place is the centre of a pixel as shares xy of the frame, so that masks know the frame's size without its padding.
    """

    def __init__(self, sizes: IdolSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = Backbone(sizes.backbone, frozen_norms=sizes.frozen_norms)
        self.encoder = DeformableEncoder(
            self.backbone.channels[1:],
            dim=sizes.dim,
            heads=sizes.heads,
            hidden=sizes.encoder_ffn,
            layers=sizes.encoder_layers,
            points=sizes.encoder_points,
        )
        self.decoder = RefiningDecoder(
            queries=sizes.queries,
            dim=sizes.dim,
            heads=sizes.heads,
            hidden=sizes.decoder_ffn,
            layers=sizes.decoder_layers,
            points=sizes.decoder_points,
        )
        self.class_heads = nn.ModuleList(nn.Linear(sizes.dim, sizes.num_classes) for _ in range(sizes.decoder_layers))
        for name, parameter in self.class_heads.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, math.log(CLASS_PRIOR / (1 - CLASS_PRIOR)))
        self.mask_branch = MaskBranch(sizes.dim, sizes.mask_width, sizes.mask_features)
        self.mask_head = DynamicMaskHead(sizes.mask_features, sizes.mask_hidden)
        self.controller = Mlp(sizes.dim, sizes.dim, self.mask_head.parameters, 3)
        self.reid_head = Mlp(sizes.dim, sizes.dim, sizes.dim, 3)

    def forward(
        self, frames: Tensor, padding: Tensor | None = None, noised: NoisedQueries | None = None
    ) -> FrameObjects | TrainingOutput:
        """frames (B, 3, H, W) normalised, padding bool (B, H, W) → objects; in training a `TrainingOutput`.

        Boxes and references are shares of H and W. ValueError for `noised`: the queries of Deformable DETR are learned,
        there is no way to make one of a box.
        """
        if noised is not None:
            raise ValueError("this network takes no denoising queries")
        images, mask = self._padded(frames, padding)
        memory = self.encoder(self.backbone(images)[1:], mask)
        refinements = self.decoder(memory)
        features = self.mask_branch(*memory.maps()[:3])
        filled = _filled(frames, padding)
        last = refinements[-1]
        objects = FrameObjects(
            embeddings=last.queries,
            class_logits=self.classes(last.queries),
            boxes=last.boxes * filled.repeat(1, 1, 2),
            pixels=_with_places(unpadded(features, frames, STRIDE), frames.shape),
            references=last.references * filled,
        )
        if not self.training:
            return objects
        layers = [
            LayerOutput(head(layer.queries), layer.boxes * filled.repeat(1, 1, 2), layer.queries)
            for head, layer in zip(self.class_heads, refinements, strict=True)
        ]
        return TrainingOutput(objects, tuple(layers))

    def layer_references(self, layers: Sequence[LayerOutput], padding: Tensor | None = None) -> tuple[Tensor, ...]:
        """What the masks of every layer in a `TrainingOutput` are drawn relative to, (B, Q, 2) each.

        For the first layer these are the learned points, for the others the centres of the layer before.
        """
        first = self.decoder.first_references() * _filled(layers[0].boxes, padding)
        return first.expand_as(layers[0].boxes[..., :2]), *(layer.boxes[..., :2].detach() for layer in layers[:-1])

    def classes(self, embeddings: Tensor) -> Tensor:
        """(…, D) → (…, K) logits of the last layer's head."""
        logits: Tensor = self.class_heads[-1](embeddings)
        return logits

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        """embeddings (N, D), pixels (C, h, w) of one frame, references (N, 2) → mask logits (N, H / 4, W / 4).

        ValueError without references: the masks of CondInst are drawn relative to a point.
        """
        if references is None:
            raise ValueError("masks of this network need references (N, 2)")
        places, features = pixels[:COORDINATES].float(), pixels[COORDINATES:]
        frame_wh = (STRIDE / 2 / places[:, 0, 0]).round()  # the first pixel's centre lies half a stride from the edge
        width, height = (-(-int(side) // MASK_STRIDE) for side in frame_wh)
        kernels = self.controller(embeddings)
        with torch.autocast(pixels.device.type, enabled=False):  # coordinates are pixels, too large for half precision
            size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
            coordinates = relative_coordinates(references.float() * frame_wh, size, STRIDE)
            logits = self.mask_head.masks(kernels.float(), features.float(), coordinates)
        return aligned_bilinear(logits, STRIDE // MASK_STRIDE)[:, :height, :width]

    def association(self, objects: FrameObjects) -> Tensor:
        """Output of the contrastive head, of any length; compared by dot products. (B, Q, D)."""
        out: Tensor = self.reid_head(objects.embeddings)
        return out

    def _padded(self, frames: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Frames padded to the multiple, and what of them is padding; None where nothing is."""
        images = padded(frames, self.sizes.multiple)
        if padding is None and images.shape == frames.shape:
            return images, None
        visible = torch.ones_like(frames[:, 0], dtype=torch.bool) if padding is None else ~padding
        return images, ~padded(visible, self.sizes.multiple)


def _filled(like: Tensor, padding: Tensor | None) -> Tensor:
    """Shares xy of frames that padding bool (B, H, W) leaves; (B or 1, 1, 2), on the device of `like`."""
    if padding is None:
        return like.new_ones(1, 1, 2)
    columns, rows = (~padding[:, 0]).float().mean(1), (~padding[:, :, 0]).float().mean(1)
    return torch.stack([columns, rows], dim=-1)[:, None]


def _with_places(features: Tensor, frames_shape: Sequence[int]) -> Tensor:
    """features (B, C, h, w) of frames (B, 3, H, W) → (B, 2 + C, h, w), the first two where each pixel's centre lies."""
    height, width = frames_shape[-2:]
    rows, columns = features.shape[-2:]
    x = (torch.arange(columns, device=features.device) * STRIDE + STRIDE / 2) / width
    y = (torch.arange(rows, device=features.device) * STRIDE + STRIDE / 2) / height
    places = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])
    return torch.cat([places.expand(len(features), -1, -1, -1), features], dim=1)
