"""MaskDINO (Li et al., CVPR 2023): classes, boxes and masks of one frame, all from the same queries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone
from ..denoising import NoisedQueries
from ..frame_sizes import padded, sides, unpadded
from ..image_model import FrameObjects, LayerOutput, TrainingOutput
from .decoder import BoxDecoder
from .encoder import EncodedFrames, PyramidEncoder
from .heads import QueryHeads
from .selection import QuerySelection, Selected, inside, mask_anchors
from .sizes import MaskDinoSizes

STRIDE = 32
MASK_STRIDE = 4


class MaskDino(nn.Module):
    """An `ImageModel`. Embeddings are a layer's output after the heads' norm, which the heads apply once more."""

    def __init__(self, sizes: MaskDinoSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.backbone = Backbone(sizes.backbone, frozen_norms=sizes.frozen_norms)
        self.encoder = PyramidEncoder(self.backbone.channels, sizes)
        self.selection = QuerySelection(sizes.dim)
        self.decoder = BoxDecoder(sizes)
        self.heads = QueryHeads(sizes.dim, sizes.num_classes, sizes.class_prior)
        self.label_embed = nn.Parameter(torch.randn(sizes.num_classes, sizes.dim))

    def forward(
        self, frames: Tensor, padding: Tensor | None = None, noised: NoisedQueries | None = None
    ) -> FrameObjects | TrainingOutput:
        """frames (B, 3, H, W) normalised → objects; in training a `TrainingOutput`, to which `noised` may be given.

        `padding` is not looked at: as published, the encoder attends to padded pixels like to others.
        """
        images = padded(frames, STRIDE)
        grown = sides(images) / sides(frames)  # shares of the padded frame, times this: of the frame as it was given
        encoded: EncodedFrames = self.encoder(self.backbone(images))
        selected: Selected = self.selection(encoded, self.heads, self.sizes.queries)
        queries, boxes = selected.embeddings.detach(), self._first_boxes(selected, encoded)
        joined = (queries, boxes) if noised is None else self._with_noised(queries, boxes, noised, grown)
        length = joined[0].shape[1]  # a small frame has fewer pixels than there are queries to select
        blocked = noised.blocked[:length, :length] if noised else None
        layers = self.decoder(*joined, encoded, self.heads, blocked)
        pixels = unpadded(encoded.pixels, frames, MASK_STRIDE)
        if not self.training:
            last = self.heads.output(layers[-1].embeddings, layers[-1].boxes * grown)
            return FrameObjects(last.embeddings, last.class_logits, last.boxes, pixels)

        outputs = [self.heads.output(layer.embeddings, layer.boxes * grown) for layer in layers]
        count = queries.shape[1]
        matched = [_rows(output, slice(-count, None)) for output in outputs]
        last = matched[-1]
        return TrainingOutput(
            FrameObjects(last.embeddings, last.class_logits, last.boxes, pixels),
            layers=(self.heads.output(queries, boxes * grown), *matched),
            selected=self.heads.output(selected.embeddings, selected.boxes * grown),
            noised=tuple(_rows(output, slice(None, -count)) for output in outputs) if noised else (),
        )

    def classes(self, embeddings: Tensor) -> Tensor:
        """(…, D) → (…, K) logits."""
        return self.heads.classes(embeddings)

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        """embeddings (N, D), pixels (D, h, w) → mask logits (N, h, w). MaskDINO's masks need no references."""
        return torch.einsum("nd,dhw->nhw", self.heads.kernels(embeddings), pixels)

    def association(self, objects: FrameObjects) -> Tensor:
        """The queries after the heads' norm, of length 1; (B, Q, D)."""
        return F.normalize(self.heads.norm(objects.embeddings), dim=-1)

    def _first_boxes(self, selected: Selected, encoded: EncodedFrames) -> Tensor:
        """Where the decoder begins to look: the selected boxes, or those of the selected tokens' masks; (B, Q, 4)."""
        if self.sizes.anchors == "proposal":
            return selected.boxes.detach()
        with torch.no_grad():
            kernels = self.heads.kernels(selected.embeddings)
            masks = torch.einsum("bqd,bdhw->bqhw", kernels, encoded.pixels) > 0
            return mask_anchors(masks, self.sizes.anchors)

    def _with_noised(
        self, queries: Tensor, boxes: Tensor, noised: NoisedQueries, grown: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Queries and first boxes with those of the denoising queries before them; padded slots are zeros."""
        labels = self.label_embed[noised.labels].masked_fill(noised.padded[..., None], 0)
        first = inside(noised.boxes / grown).masked_fill(noised.padded[..., None], 0.5)
        return torch.cat([labels.to(queries.dtype), queries], dim=1), torch.cat([first.to(boxes.dtype), boxes], dim=1)


def _rows(output: LayerOutput, rows: slice) -> LayerOutput:
    return LayerOutput(output.class_logits[:, rows], output.boxes[:, rows], output.embeddings[:, rows])
