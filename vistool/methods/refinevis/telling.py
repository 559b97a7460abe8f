"""From the embeddings of tracklets on one frame to what is told of it: the image model's own heads read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import masks
from ...types import FramePrediction, RunOptions
from ...weights.checkpoint import CheckpointInfo
from ..clip_inference import autocast
from ..frame_masks import Selection, frame_masks
from .association import mask_iou
from .detections import Detections
from .network import RefineVis


@dataclass(frozen=True, slots=True, eq=False)
class Tracklets:
    """Some tracklets on one frame; row n of everything is one of them."""

    ids: NDArray[np.int64]  # (N,)
    embeddings: Tensor  # (N, D), refined
    references: Tensor  # (N, 2) xy, as in `Detections`
    trust: Tensor  # (N,) in [0, 1], what class scores are multiplied by


def matched_tracklets(seen: Detections, ids: NDArray[np.int64], refined: Tensor) -> Tracklets:
    """The detections that belong to a track, in their order; ids (N,) of all, refined (N, D)."""
    rows = torch.from_numpy(np.flatnonzero(ids > 0)).to(refined.device)
    return Tracklets(ids[ids > 0], refined[rows], seen.references[rows], torch.ones(len(rows), device=rows.device))


def no_tracklets(seen: Detections) -> Tracklets:
    return Tracklets(np.zeros(0, np.int64), seen.embeddings[:0], seen.references[:0], seen.centres[:0, 0])


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What the heads say of some tracklets."""

    probs: Tensor  # (N, K)
    rows: Tensor  # int64 (M,), those that get a mask
    logits: Tensor  # (M, h, w)


class Teller:
    """Classes and masks of tracklets, at the size of the source.

    The detected ones are read apart from the others, in the order of the detections: what is told of them does not
    depend, to the last bit, on who else is remembered.
    """

    def __init__(self, network: RefineVis, info: CheckpointInfo, options: RunOptions) -> None:
        self._network, self._options = network, options
        self._floor = Selection.of(info, options).floor

    def tell(self, seen: Detections, matched: Tracklets, missing: Tracklets) -> FramePrediction:
        """Every matched tracklet, with an empty mask where its class is below the floor, then the recovered ones.

        Only the best `max_instances` masks are made, where the options say so.
        """
        with autocast(self._options):
            known = self._matched(seen, matched)
            found = self._recovered(seen, missing, known)
        count = len(matched.ids)
        ids = np.concatenate([matched.ids, missing.ids[found.rows.cpu().numpy()]])
        probs = torch.cat([known.probs, found.probs[found.rows]])
        drawn = torch.cat([known.rows, torch.arange(count, len(ids), device=known.rows.device)])
        best = probs[drawn].amax(1).argsort(descending=True, stable=True)[: self._options.max_instances]
        rles = frame_masks(torch.cat([known.logits, found.logits])[best], seen.letterbox)
        visible = {row: rle for row, rle in zip(drawn[best].tolist(), rles, strict=True) if rle is not None}
        told = np.array([row for row in range(len(ids)) if row < count or row in visible], np.int64)
        nothing = masks.empty(seen.letterbox.source_hw)
        class_scores = probs.cpu().numpy()[told]
        return FramePrediction(
            seen.frame_index,
            track_ids=ids[told],
            labels=class_scores.argmax(1),
            scores=class_scores.max(1),
            masks=tuple(visible.get(row, nothing) for row in told.tolist()),
            class_scores=class_scores,
            judged=(told < count) if self._network.preset.score_of == "matched" else None,  # R12
        )

    def _matched(self, seen: Detections, some: Tracklets) -> _Read:
        probs = self._probs(some)
        return self._with_masks(seen, some, probs, probs.amax(1) >= self._floor)

    def _recovered(self, seen: Detections, some: Tracklets, known: _Read) -> _Read:
        """R10: those sure enough, with a mask, and not in the place of a detection."""
        preset = self._network.preset
        probs = self._probs(some)
        read = self._with_masks(seen, some, probs, probs.amax(1) > preset.recovered_score)
        covered = read.logits > 0
        kept = covered.flatten(1).any(1)
        if preset.recovered_quality:
            quality = (read.logits.float().sigmoid() * covered).flatten(1).sum(1) / covered.flatten(1).sum(1).clamp(1)
            probs[read.rows] *= quality[:, None]
            kept &= probs[read.rows].amax(1) > preset.recovered_score
        if preset.recovered_overlap < 1:
            both = torch.cat([covered, known.logits > 0]).cpu().numpy()
            overlap = mask_iou(both)[: len(covered), len(covered) :].max(1, initial=0)
            kept &= torch.from_numpy(overlap <= preset.recovered_overlap).to(kept.device)
        return _Read(probs, read.rows[kept], read.logits[kept])

    def _probs(self, some: Tracklets) -> Tensor:
        return self._network.image.classes(some.embeddings).float().sigmoid() * some.trust[:, None]

    def _with_masks(self, seen: Detections, some: Tracklets, probs: Tensor, wanted: Tensor) -> _Read:
        rows = wanted.nonzero()[:, 0]
        logits = self._network.image.masks(some.embeddings[rows], seen.pixels, some.references[rows])
        return _Read(probs, rows, logits)
