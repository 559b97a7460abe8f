"""What the image model finds on one frame, down to the detections that the tracker compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from ...nn.boxes import nms, suppressed, to_xyxy
from ...nn.letterbox import Letterbox
from ...types import Frame, RunOptions
from ...weights.checkpoint import CheckpointInfo
from ..clip_inference import autocast, fit, prepare
from .association import Floats, mask_iou, select
from .network import RefineVis

MASK_STRIDE = 4  # pixels of the network's input a cell of a mask


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What is kept of a frame. Row n of everything is a detection, best first; none repeats a surer one."""

    frame_index: int
    letterbox: Letterbox  # its padded side is what masks cover, whatever the network pads to
    pixels: Tensor  # (C, h, w), what any embedding's mask on this frame is made of
    embeddings: Tensor  # (N, D)
    references: Tensor  # (N, 2) xy, shares of the frame: the point that a mask is drawn relative to
    centres: Tensor  # (N, 2) xy of the boxes
    scores: Floats  # (N,)
    looks: Floats  # (N, D), what the tracker compares
    overlaps: Floats  # (N, N), IoU of the masks


ReadFrame: TypeAlias = Callable[[Frame], Detections]
"""From a picture to its detections."""


class FrameReader:
    """A `ReadFrame`: the image model, and which of its queries are detections."""

    def __init__(self, network: RefineVis, info: CheckpointInfo, options: RunOptions) -> None:
        self._network, self._info, self._options = network, info, options

    def __call__(self, frame: Frame) -> Detections:
        """Steps 1 to 3 of the tracker: sure queries, none of which doubles the box or the mask of a surer one.

        Masks are compared at a quarter of the network's input.
        """
        rules = self._network.preset
        letterbox = fit(frame.image, self._info, self._options)
        with autocast(self._options):
            objects = self._network.image(prepare([frame.image], letterbox, self._info, self._options)[0])
            looks = self._network.association(objects)[0]
        embeddings, boxes, pixels = objects.embeddings[0].float(), objects.boxes[0].float(), objects.pixels[0]
        references = boxes[:, :2] if objects.references is None else objects.references[0].float()

        scores, labels = objects.class_logits[0].float().sigmoid().max(-1)
        rows = torch.from_numpy(select(scores.cpu().numpy(), rules)).to(scores.device)
        rows = rows[nms(to_xyxy(boxes[rows]), scores[rows], labels[rows], rules.box_nms)]
        with autocast(self._options):
            covered = self._network.image.masks(embeddings[rows], pixels, references[rows]) > 0
        letterbox = replace(letterbox, padded_hw=(MASK_STRIDE * covered.shape[1], MASK_STRIDE * covered.shape[2]))
        overlaps = mask_iou(covered.cpu().numpy())
        kept = ~suppressed(torch.from_numpy(overlaps), rules.mask_nms)
        rows = rows[kept.to(rows.device)]
        return Detections(
            frame.index,
            letterbox,
            pixels,
            embeddings[rows],
            references[rows],
            boxes[rows, :2],
            scores[rows].cpu().numpy(),
            looks[rows].float().cpu().numpy(),
            overlaps[kept.numpy()][:, kept.numpy()],
        )
