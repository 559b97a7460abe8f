"""Which boxes answer for which object in training, and which of them are learned from (Faster R-CNN, section 3.1.3)."""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING, NEITHER = -1, -2


@torch.no_grad()
def matched(overlaps: Tensor, low: float, high: float, *, best_too: bool) -> Tensor:
    """The object that each box answers for: IoU (n, P) of n objects and P boxes → int64 (P,).

    A box takes the object it overlaps most, from `high` on; below `low` it answers for NOTHING, between them for
    NEITHER, and is not learned from. With `best_too` the boxes that overlap an object more than all others do are
    taken as well, however little that is, for the object that they overlap most.
    """
    if not len(overlaps):
        return torch.full(overlaps.shape[1:], NOTHING, device=overlaps.device)
    most, objects = overlaps.max(0)
    found = torch.where(most >= high, objects, torch.where(most < low, NOTHING, NEITHER))
    if not best_too or not overlaps.shape[1]:
        return found
    best = overlaps.amax(1, keepdim=True)
    return torch.where(((overlaps == best) & (best > 0)).any(0), objects, found)


def sampled(matches: Tensor, count: int, positive: float) -> Tensor:
    """Rows to learn from, at random: matches int64 (P,) of `matched` → int64 (at most count,).

    A share of `positive` at most answers for an object, the others for nothing; NEITHER is never among them.
    """
    objects = _some((matches >= 0).nonzero()[:, 0], int(count * positive))
    return torch.cat([objects, _some((matches == NOTHING).nonzero()[:, 0], count - len(objects))])


def _some(rows: Tensor, count: int) -> Tensor:
    """At most `count` of the rows, at random."""
    return rows[torch.randperm(len(rows), device=rows.device)[:count]]
