"""Tracklets that the temporal refinement learns from: made of the truth, so no tracker runs in training (R13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn.boxes import paired_iou, to_xyxy
from ...nn.denoising import NoisedQueries
from ...nn.ota import Assignment
from .frame_loss import ClipTruth
from .learning import LearningRules


@dataclass(frozen=True, slots=True, eq=False)
class Tracklets:
    """R tracklets over the T frames of a clip, and what they must say."""

    queries: Tensor  # int64 (R, T), the query that is the token on each frame; -1: a token of zeros
    objects: Tensor  # int64 (R,), row in the clip's truth; -1: no object
    classes: Tensor  # int64 (R, T); K names nothing
    drawn: Tensor  # bool (R, T), where a mask is learned: that of the object, or an empty one of no object

    @property
    def seen(self) -> Tensor:
        return self.queries >= 0

    def tokens(self, embeddings: Tensor) -> Tensor:
        """embeddings (T, Q, D) of the clip's frames → (R, T, D), zeros where nothing was seen."""
        return self._picked(embeddings) * self.seen[..., None]

    def references(self, points: Tensor) -> Tensor:
        """points (T, Q, 2) of the queries → (R, T, 2); on frames without a query the mean of those with one."""
        found, seen = self._picked(points), self.seen[..., None]
        known = (found * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
        return torch.where(seen, found, known)

    def _picked(self, values: Tensor) -> Tensor:
        frames = torch.arange(len(values), device=values.device)
        picked: Tensor = values[frames, self.queries.clamp(min=0)]
        return picked


def matched_tracklets(
    assignments: Sequence[Assignment], class_logits: Tensor, boxes: Tensor, truth: ClipTruth, rules: LearningRules
) -> Tracklets:
    """Objects through their cheapest queries, and queries of no object as tracklets of nothing on one frame.

    T assignments of one layer, that layer's class_logits (T, Q, K) and boxes (T, Q, 4). An object whose query on a
    frame is too far off or too unsure is missed there; one that is missed on all frames is no tracklet.
    """
    scores = class_logits.float().sigmoid().amax(-1)  # (T, Q)
    cheapest = torch.stack([each.cheapest[-1] for each in assignments], dim=1)  # (N, T)
    frames = torch.arange(len(assignments), device=boxes.device)
    at = cheapest.clamp(min=0)
    overlaps = paired_iou(to_xyxy(boxes[frames, at].float()), to_xyxy(truth.boxes))
    taken = (cheapest >= 0) & (overlaps >= rules.least_iou) & (scores[frames, at] >= rules.least_score)
    taken &= ~_forgotten(taken, rules.forgotten)
    tracked = taken.any(1)
    queries, objects = torch.where(taken, cheapest, -1)[tracked], tracked.nonzero()[:, 0]
    lone = _unmatched(torch.stack([each.objects[-1] for each in assignments]), scores, rules.unmatched)
    nothing = class_logits.shape[-1]
    visible = truth.visible[objects]
    own = truth.labels[objects][:, None].expand_as(visible)
    classes = torch.where(visible, own, nothing) if rules.absent_class == "none" else own
    return Tracklets(
        torch.cat([queries, lone]),
        torch.cat([objects, objects.new_full((len(lone),), -1)]),
        torch.cat([classes, torch.full_like(lone, nothing)]),
        torch.cat([visible, torch.zeros_like(lone, dtype=torch.bool)]),
    )


def _forgotten(taken: Tensor, share: float) -> Tensor:
    """Tokens to leave out, bool (N, T) drawn at random: never the only one of an object."""
    lots = torch.rand(taken.shape, device=taken.device).masked_fill(~taken, -1.0)
    return (lots < share) & (lots < lots.amax(1, keepdim=True))


def _unmatched(objects: Tensor, scores: Tensor, most: int) -> Tensor:
    """The surest queries of no object on every frame; objects and scores (T, Q) → int64 (R, T), one query a row."""
    sure = scores.masked_fill(objects >= 0, -1).topk(min(most, scores.shape[1]), dim=1)
    chosen = torch.where(sure.values >= 0, sure.indices, -1)  # (T, R)
    rows = (torch.diag_embed((chosen + 1).T) - 1).flatten(0, 1)  # each query in a row of its own, on its own frame
    return rows[(rows >= 0).any(1)]


def noised_tracklets(noised: NoisedQueries, padded: Tensor, truth: ClipTruth, classes: int) -> Tracklets:
    """Denoising queries of one slot on all frames; padded bool (T, M) of this clip.

    Positive ones must say their object. Negative ones must name nothing, and draw nothing.
    """
    present = noised.objects < len(truth.labels)
    slots = present.nonzero()[:, 0]
    objects, positive = noised.objects[slots], noised.positive[slots]
    queries = torch.where(padded[:, slots].T, -1, slots[:, None])
    visible = truth.visible[objects] & positive[:, None]
    return Tracklets(
        queries,
        torch.where(positive, objects, -1),
        torch.where(visible, truth.labels[objects][:, None], classes),
        visible | ~positive[:, None],
    )
