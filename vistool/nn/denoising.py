"""Denoising queries: objects of the truth, disturbed, that the decoder must restore (DN-DETR; DINO, section 3.3).

They teach the decoder what to do with a query that is nearly right, without any matching. Every frame of a clip has the
same layout of slots, so the queries of one object on two frames are found by their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .boxes import to_cxcywh, to_xyxy

Kind = Literal["contrastive", "positive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much is disturbed, and how often."""

    queries: int = 100
    """About so many pairs a frame: an object has queries // (most objects on a frame) of them, at least one."""
    kind: Kind = "contrastive"
    """DINO's pairs of a slightly and a strongly moved box, or MaskDINO's slightly moved boxes alone."""
    label_flip: float = 0.25
    """Probability that a label is drawn anew."""
    box_scale: float = 0.4
    """Greatest movement of a positive query's corner, as a share of half the side; of a negative one: twice that."""


@dataclass(frozen=True, slots=True)
class NoisedQueries:
    """Denoising queries of B frames. Slot m stands for the same object, group and sign on all frames of a clip.

    The slots are groups one after another; in a group the positive queries of all objects come first, then the
    negative ones.
    """

    labels: Tensor  # int64 (B, M), class to embed; 0 in padded slots
    boxes: Tensor  # (B, M, 4) cx cy w h; the middle half of the frame in padded slots
    padded: Tensor  # bool (B, M), slots without an object on that frame
    blocked: Tensor  # bool (M + Q, M + Q), true where the query of the row must not see that of the column
    objects: Tensor  # int64 (M,), row in the clip's targets; rows that a clip does not have are padded
    positive: Tensor  # bool (M,), to be restored; the others are to be rejected
    groups: int


def noised_queries(
    labels: Sequence[Tensor],
    boxes: Sequence[Tensor],
    visible: Sequence[Tensor],
    classes: int,
    queries: int,
    noise: Noise,
) -> NoisedQueries | None:
    """Queries for B frames out of their truth; None when no frame shows an object, or none are asked for.

    labels int64 (N_b,), boxes (N_b, 4) cx cy w h and visible bool (N_b,) of every frame; frames of one clip list the
    same objects. `queries` is the number Q of queries that are matched, which stand behind the denoising ones.
    """
    most = max((len(each) for each in labels), default=0)
    if noise.queries == 0 or not any(bool(each.any()) for each in visible):
        return None
    device = labels[0].device
    signs = 2 if noise.kind == "contrastive" else 1
    groups = max(1, noise.queries // most)
    positive = (torch.arange(signs, device=device) == 0).repeat_interleave(most).repeat(groups)
    objects = torch.arange(most, device=device).repeat(groups * signs)
    seen = torch.stack([_filled(each, most, False) for each in visible])[:, objects]
    true_labels = torch.stack([_filled(each, most, 0) for each in labels])[:, objects]
    true_boxes = torch.stack([_filled(each, most, 0.5) for each in boxes])[:, objects]
    moved = _moved_corners if noise.kind == "contrastive" else _moved_centres
    return NoisedQueries(
        labels=torch.where(seen, _flipped(true_labels, classes, noise.label_flip), 0),
        boxes=torch.where(seen[..., None], moved(true_boxes, positive, noise.box_scale), 0.5),
        padded=~seen,
        blocked=blocked_pairs(groups, signs * most, queries, device),
        objects=objects,
        positive=positive,
        groups=groups,
    )


def blocked_pairs(groups: int, size: int, queries: int, device: torch.device | None = None) -> Tensor:
    """Who must not see whom among `groups` groups of `size` and then `queries` matched ones → bool (M + Q, M + Q).

    Matched queries see no denoising ones, or they would read the answer; groups do not see each other.
    """
    numbers = torch.arange(groups, device=device).repeat_interleave(size)
    group = torch.cat([numbers, numbers.new_full((queries,), -1)])
    return (group[:, None] != group) & (group >= 0)


def _filled(values: Tensor, length: int, value: float) -> Tensor:
    """values (N, …) → (length, …)."""
    filled = values.new_full((length, *values.shape[1:]), value)
    filled[: len(values)] = values
    return filled


def _flipped(labels: Tensor, classes: int, probability: float) -> Tensor:
    flips = torch.rand(labels.shape, device=labels.device) < probability
    return torch.where(flips, torch.randint_like(labels, classes), labels)


def _moved_corners(boxes: Tensor, positive: Tensor, scale: float) -> Tensor:
    """DINO: corners move by up to `scale` of half the side, those of negative queries by once to twice that."""
    reach = scale * boxes[..., 2:].repeat(1, 1, 2) / 2
    share = torch.rand_like(boxes) + (~positive[:, None]).to(boxes.dtype)
    sign = torch.randint_like(boxes, 2) * 2 - 1
    return to_cxcywh((to_xyxy(boxes) + sign * share * reach).clamp(0, 1))


def _moved_centres(boxes: Tensor, positive: Tensor, scale: float) -> Tensor:
    """MaskDINO: the centre moves by up to `scale` of half the side, the side changes by up to `scale` of itself."""
    reach = torch.cat([boxes[..., 2:] / 2, boxes[..., 2:]], dim=-1)
    return (boxes + (2 * torch.rand_like(boxes) - 1) * scale * reach).clamp(0, 1)
