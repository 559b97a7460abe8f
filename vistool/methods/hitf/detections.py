"""From what the network says of one frame to its objects: which slots are taken, and whose each pixel is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import masks
from ...nn.letterbox import Letterbox
from ...types import Rle
from .grid import MASK_STRIDE
from .identities import NOBODY
from .network import FrameOutput
from .presets import Preset

BAND = 256  # rows of the source that are decided at once: memory does not grow with the height of a frame


@dataclass(frozen=True, slots=True, eq=False)
class FrameObjects:
    """The objects of a frame; row n of everything is one of them, in the order of their slots."""

    slots: NDArray[np.int64]  # (n,)
    class_scores: NDArray[np.float32]  # (n, K), class probabilities times the mean of the mask's
    shapes: tuple[Rle, ...]  # n masks at the size of the source, none empty, no pixel in two


def find_objects(output: FrameOutput, letterbox: Letterbox, rules: Preset, most: int | None = None) -> FrameObjects:
    """The objects of one frame (B = 1), `most` at most: those that are surest of their class."""
    probs = output.class_logits[0].float().softmax(-1)
    slots = taken_slots(probs, rules, most)
    winners, sureness = _decide(_planes(output.mask_logits[0].float(), slots), letterbox)
    winners = torch.where(sureness >= rules.pixel_threshold, winners, 0)
    pixels = torch.bincount(winners.flatten(), minlength=len(slots) + 1)[1:]
    sums = torch.bincount(winners.flatten(), sureness.flatten(), minlength=len(slots) + 1)[1:]
    kept = (pixels > 0) & (pixels >= rules.min_share * winners.numel())
    scores = probs[slots, :-1] * (sums / pixels.clamp(min=1))[:, None]
    stack = winners == (kept.nonzero() + 1)[..., None]
    return FrameObjects(
        slots=slots[kept].cpu().numpy(),
        class_scores=scores[kept].float().cpu().numpy(),
        shapes=masks.encode_stack(stack.cpu().numpy()),
    )


def whole_objects(objects: FrameObjects, track_ids: NDArray[np.int64]) -> tuple[FrameObjects, NDArray[np.int64]]:
    """Rows of one track are pieces of one object: one row at the place of the surest, whose slot and scores count.

    Rows of `NOBODY` are left out.
    """
    by_track: dict[int, list[int]] = {}
    for row in (-objects.class_scores.max(1)).argsort(kind="stable").tolist():
        by_track.setdefault(int(track_ids[row]), []).append(row)
    by_track.pop(NOBODY, None)
    if len(by_track) == len(track_ids):
        return objects, track_ids
    kept = sorted(by_track.values())
    shapes = tuple(masks.merge([objects.shapes[row] for row in rows]) for rows in kept)
    first = np.array([rows[0] for rows in kept], np.int64)
    return FrameObjects(objects.slots[first], objects.class_scores[first], shapes), track_ids[first]


def taken_slots(probs: Tensor, rules: Preset, most: int | None = None) -> Tensor:
    """Slots that are sure enough of a class, and surer than of nothing; probs (L, K + 1) → int64 (n,), ascending."""
    sureness = probs[:, :-1].amax(-1)
    taken = (sureness > rules.empty_weight * probs[:, -1]) & (sureness >= rules.class_threshold)
    best = sureness.masked_fill(~taken, -1).sort(descending=True, stable=True).indices
    return best[: int(taken.sum())][:most].sort().values


def _planes(mask_logits: Tensor, slots: Tensor) -> Tensor:
    """Logits (L, h, w) → (1 + n, h, w): first those of all free slots together, then those of the taken ones.

    Background is what free slots hold, so the softmax over these planes gives the taken slots what Eq. (5) does.
    """
    free = torch.ones(len(mask_logits), dtype=torch.bool, device=mask_logits.device)
    free[slots] = False
    nobody = mask_logits[free].logsumexp(0) if free.any() else torch.full_like(mask_logits[0], -1e4)
    return torch.cat([nobody[None], mask_logits[slots]])


def _decide(planes: Tensor, letterbox: Letterbox) -> tuple[Tensor, Tensor]:
    """planes (n, h, w) → for every pixel of the source the likeliest plane, int64 (H, W), and how likely, (H, W)."""
    rows, columns = (places(*sides, planes) for sides in zip(letterbox.source_hw, letterbox.inner_hw, strict=True))
    wide = _at(planes, columns)
    bands = []
    for some in rows.split(BAND):
        logits = _at(wide.transpose(1, 2), some).transpose(1, 2)
        best, winners = logits.max(0)
        bands.append((winners, (best - logits.logsumexp(0)).exp()))
    winners, sureness = (torch.cat(part) for part in zip(*bands, strict=True))
    return winners, sureness


def places(pixels: int, inner: int, like: Tensor) -> Tensor:
    """Where on the grid of cells the centres of a line of source pixels lie; `inner` pixels of the input show them.

    Beyond the last cell that lies on the frame they lie on it: what is said of padding was never learned.
    """
    centres = torch.arange(pixels, device=like.device, dtype=torch.float32) + 0.5
    return ((centres * (inner / pixels) - 0.5) / MASK_STRIDE).clamp(0, (inner - 1) // MASK_STRIDE)


def _at(planes: Tensor, where: Tensor) -> Tensor:
    """planes (n, h, w) read between their columns; where (W,) → (n, h, W)."""
    left = where.floor().long()
    right = (left + 1).clamp(max=planes.shape[-1] - 1)
    return torch.lerp(planes[..., left], planes[..., right], where - left)
