"""What the network is taught of a clip: who is who on its frames, who is new, and how memory is painted (section 3.2).

Identities in training are rows of the clip's objects, the same on all frames: an object that is out of sight for a
while is not new when it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn.boxes import mask_boxes
from ...nn.detector import DetectorTargets
from ...nn.targets import ClipTargets


@dataclass(frozen=True, slots=True, eq=False)
class TaughtClip:
    """The K objects of a clip of T frames; row k of the first five is the same object."""

    labels: Tensor  # int64 (K,)
    masks: Tensor  # bool (K, T, H, W)
    boxes: Tensor  # (K, T, 4) corners in pixels, tight; zeros where an object is out of sight
    visible: Tensor  # bool (K, T)
    ids: Tensor  # int64 (K, T), what the head must say; N for nobody
    pictures: Tensor  # int64 (T, H, W), which of N + 1 channels of the memory a pixel is painted in, N the background
    fresh: Tensor  # bool (T,), whether an object with an identity is seen for the first time

    def frame(self, t: int) -> DetectorTargets:
        """What is in sight on frame t."""
        rows = self.visible[:, t].nonzero()[:, 0]
        return DetectorTargets(self.labels[rows], self.ids[rows, t], self.boxes[rows, t], self.masks[rows, t])


def taught(target: ClipTargets, max_ids: int, *, permuted: bool) -> TaughtClip:
    """Identities of the clip's objects among N = max_ids: a number below N - 1 each, and N - 1 for "new".

    Where there are more objects the last ones stay without: new when they are first seen, and nobody afterwards.
    """
    numbers = identities(len(target.labels), max_ids, permuted=permuted).to(target.labels.device)
    visible = target.masks.flatten(2).any(-1)
    first = visible & (visible.cumsum(1) == 1)
    named = numbers < max_ids
    return TaughtClip(
        labels=target.labels,
        masks=target.masks,
        boxes=mask_boxes(target.masks),
        visible=visible,
        ids=torch.where(first, max_ids - 1, numbers[:, None]),
        pictures=painted(target.masks, numbers, background=max_ids),
        fresh=(first & named[:, None]).any(0),
    )


def identities(count: int, max_ids: int, *, permuted: bool) -> Tensor:
    """Of so many objects, int64 (count,): 0, 1, 2, …, or these in a random order (D7); max_ids for those left over.

    Drawn from all N - 1 there are, so that each learns as much as the others.
    """
    usable = torch.randperm(max_ids - 1) if permuted else torch.arange(max_ids - 1)
    return torch.cat([usable, torch.full((max(0, count - len(usable)),), max_ids)])[:count]


def painted(masks: Tensor, numbers: Tensor, *, background: int) -> Tensor:
    """Whose pixel it is: masks bool (K, T, H, W), numbers int64 (K,) → int64 (T, H, W).

    What two objects cover belongs to the one with the smaller mask on that frame.
    """
    if not len(numbers):
        return torch.full(masks.shape[1:], background, device=masks.device)
    most = masks.shape[-2] * masks.shape[-1]
    areas = masks.sum((-2, -1), keepdim=True, dtype=torch.int32).masked_fill(~masks, most + 1)  # (K, T, H, W)
    smallest, owners = areas.min(0)
    return torch.where(smallest <= most, numbers[owners], background)
