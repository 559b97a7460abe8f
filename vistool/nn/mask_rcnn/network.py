"""Mask R-CNN as a detector that sees one frame at a time; it knows no tracks, but may be asked for identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..detector import Detections, DetectorTargets
from ..fpn import Fpn
from .deltas import REFINED, clipped, decode
from .heads import BOX_BINS, MASK_BINS, BoxHead, BoxOutput, MaskHead
from .loss import box_losses, mask_loss, proposal_losses, sample_boxes
from .pasting import paste
from .roi_align import FINEST_STRIDE, levels_of, roi_align
from .rpn import ProposalHead, Proposed, proposals
from .sizes import MaskRcnnSizes

LEAST_SIDE = 1e-2
"""Of a box that is found, in pixels."""

Pyramid = tuple[Tensor, ...]


class MaskRcnn(nn.Module):
    """A `Detector`. A candidate is a proposal, with its best class and the box of that class.

    Sides of the input are multiples of 32. A handle is the box, clipped to the frame, then the label. The heads read
    the pyramid at strides 4 to 32; its last map, at stride 64, serves proposals alone.
    """

    def __init__(self, sizes: MaskRcnnSizes, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.sizes = sizes
        self.in_channels = tuple(in_channels)
        self.fpn = Fpn(self.in_channels, sizes.dim, coarser="pool")
        self.proposal_head = ProposalHead(sizes.dim, sizes.anchor_scale)
        self.box_head = BoxHead(sizes)
        self.mask_head = MaskHead(sizes)

    def detect(self, maps: tuple[Tensor, ...], size_hw: tuple[int, int]) -> Detections:
        """maps (1, C_i, h_i, w_i) of one frame → at most `sizes.proposals` candidates, none without an area."""
        pyramid, said = self.propose(maps)
        boxes = proposals(said, 0, size_hw, self.sizes.proposals_per_level, self.sizes.proposals)
        levels = self._levels(boxes)
        output = self.box_output(pyramid, boxes, torch.zeros_like(levels))
        class_scores = output.class_logits.float().softmax(-1)[:, 1:]
        labels = class_scores.argmax(-1)
        deltas = output.deltas.float()[torch.arange(len(boxes), device=boxes.device), labels + 1]
        refined = decode(deltas, boxes, REFINED)
        visible = clipped(refined, size_hw)
        kept = (visible[:, 2:] - visible[:, :2] >= LEAST_SIDE).all(-1)
        return Detections(
            class_scores=class_scores[kept],
            id_scores=output.id_logits.float().softmax(-1)[kept, :-1],
            quality=torch.ones_like(refined[kept, 0]),
            boxes=refined[kept],
            levels=levels[kept],
            handles=torch.cat([visible, labels[:, None]], dim=1)[kept],
            pixels=pyramid,
        )

    def masks(self, found: Detections, rows: Tensor) -> Tensor:
        """rows int64 (n,) → mask probabilities (n, H / 4, W / 4), zero outside of the boxes."""
        assert isinstance(found.pixels, tuple)
        boxes, labels = found.handles[rows].split([4, 1], dim=1)
        logits = self.mask_logits(found.pixels, boxes, torch.zeros_like(rows), labels[:, 0].long())
        height, width = found.pixels[0].shape[-2:]
        return paste(logits.float().sigmoid(), boxes, (height, width), FINEST_STRIDE)

    def losses(self, maps: tuple[Tensor, ...], targets: Sequence[DetectorTargets]) -> Mapping[str, Tensor]:
        """maps (B, C_i, h_i, w_i), one target a frame → `objectness`, `proposal`, `class`, `id`, `box` and `mask`.

        Anchors and boxes to learn from are drawn with torch's random numbers.
        """
        pyramid, said = self.propose(maps)
        per_level, count = self.sizes.training_proposals_per_level, self.sizes.training_proposals
        input_hw = _input_hw(pyramid)
        proposed = [proposals(said, frame, input_hw, per_level, count) for frame in range(len(targets))]
        taken = sample_boxes(proposed, targets, self.sizes.proposal_samples)
        output = self.box_output(pyramid, taken.boxes, taken.frames)
        seen = taken.objects >= 0
        boxes, frames, objects = taken.boxes[seen], taken.frames[seen], taken.objects[seen]
        labels = torch.cat([target.labels for target in targets])[objects]
        return {
            **proposal_losses(said, targets, self.sizes.anchor_samples),
            **box_losses(output, taken, targets),
            "mask": mask_loss(self.mask_logits(pyramid, boxes, frames, labels), boxes, objects, targets),
        }

    def propose(self, maps: tuple[Tensor, ...]) -> tuple[Pyramid, Proposed]:
        """maps (B, C_i, h_i, w_i) → what the heads read, (B, dim, h_i, w_i) each, and what is said of the anchors."""
        levels = self.fpn(maps)
        return levels[:-1], self.proposal_head(levels, _input_hw(levels))

    def box_output(self, pyramid: Pyramid, boxes: Tensor, frames: Tensor) -> BoxOutput:
        """What the box head says of boxes (R, 4) on frames int64 (R,) of the batch."""
        output: BoxOutput = self.box_head(roi_align(pyramid, boxes, frames, self._levels(boxes), BOX_BINS))
        return output

    def mask_logits(self, pyramid: Pyramid, boxes: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
        """Masks within boxes (R, 4) on frames int64 (R,), each of its label's class int64 (R,) → (R, 28, 28)."""
        logits: Tensor = self.mask_head(roi_align(pyramid, boxes, frames, self._levels(boxes), MASK_BINS))
        return logits[torch.arange(len(labels), device=labels.device), labels + 1]

    def _levels(self, boxes: Tensor) -> Tensor:
        return levels_of(boxes, self.sizes.canonical_side, len(self.in_channels))


def _input_hw(levels: Sequence[Tensor]) -> tuple[int, int]:
    """Size of the padded input, by the finest map."""
    height, width = levels[0].shape[-2:]
    return FINEST_STRIDE * int(height), FINEST_STRIDE * int(width)
