"""Mask2Former as a network that looks at one frame: queries with a sigmoid a class, and the boxes of their masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .boxes import mask_boxes, to_cxcywh
from .frame_sizes import sides, unpadded
from .image_model import FrameObjects, LayerOutput, TrainingOutput
from .masked_decoder import LevelPyramid, MaskedDecoder
from .pixel_decoder import PixelFeatures
from .presets import Mask2FormerSizes
from .trunk import FrameTrunk

MASK_STRIDE = 4


class Mask2FormerImage(nn.Module):
    """An `ImageModel`. It has no boxes of its own and no denoising; its weights are those of Mask2Former for videos."""

    def __init__(self, sizes: Mask2FormerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.trunk = FrameTrunk(sizes)
        self.decoder = MaskedDecoder(sizes)

    def forward(
        self, frames: Tensor, padding: Tensor | None = None, noised: None = None
    ) -> FrameObjects | TrainingOutput:
        """frames (B, 3, H, W) normalised → objects; in training a `TrainingOutput` of every layer.

        `padding` is not looked at: as published, padded pixels are attended to like others.
        """
        features: PixelFeatures = self.trunk(frames[:, None])
        pixels = unpadded(features.mask_features, frames, MASK_STRIDE)
        states = list(self.decoder.states(LevelPyramid(features, self.decoder.level_embed, frames=1)))
        outputs = [self._output(queries, pixels, frames) for queries in (states if self.training else states[-1:])]
        last = outputs[-1]
        objects = FrameObjects(last.embeddings, last.class_logits, last.boxes, pixels)
        return TrainingOutput(objects, tuple(outputs)) if self.training else objects

    def classes(self, embeddings: Tensor) -> Tensor:
        """(…, D) → (…, K) logits of each class against no-object."""
        logits = self.decoder.heads.classes(embeddings)
        return logits[..., :-1] - logits[..., -1:]

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        """embeddings (N, D), pixels (D, h, w) → mask logits (N, h, w). Mask2Former's masks need no references."""
        return torch.einsum("nd,dhw->nhw", self.decoder.heads.kernels(embeddings), pixels)

    def association(self, objects: FrameObjects) -> Tensor:
        """The queries after the heads' norm, of length 1; (B, Q, D)."""
        return F.normalize(self.decoder.heads.norm(objects.embeddings), dim=-1)

    def _output(self, queries: Tensor, pixels: Tensor, frames: Tensor) -> LayerOutput:
        """queries (B, Q, D); boxes are tight around the masks, and zeros where a mask is empty."""
        with torch.no_grad():
            masks = torch.einsum("bqd,bdhw->bqhw", self.decoder.heads.kernels(queries), pixels) > 0
            boxes = to_cxcywh(mask_boxes(masks)) * MASK_STRIDE / sides(frames)
        return LayerOutput(self.classes(queries), boxes, queries)
