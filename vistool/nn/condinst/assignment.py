"""Which points of a pyramid answer for which object in training: FCOS (Tian et al., ICCV 2019), with centre sampling.

A point is in the middle of an object when it lies near the centre of mass of its mask, as CondInst has it: the centre
of the box may lie outside of a bent object.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..detector import DetectorTargets

RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, 1e8))
"""Of every level: pixels from a point to the farthest side of its object, both ends included."""
RADIUS = 1.5
"""Half the side of the square around the centre of mass, in strides."""


@torch.no_grad()
def assign(points: Tensor, strides: Tensor, levels: Tensor, targets: Sequence[DetectorTargets]) -> Tensor:
    """The object that every point answers for, int64 (B, P): a row of its frame's targets, -1 for none.

    points xy (P, 2) in pixels, strides (P,), levels int64 (P,), 0 the finest; one target for each of B frames. A point
    answers for an object when it lies inside both the square and the object's box, and the object has the size for its
    level. Of several objects it takes that with the smallest box, of equal ones the first.
    """
    boxes = _stacked([target.boxes for target in targets])[:, None]  # (B, 1, n, 4)
    centres = _stacked([mass_centres(target.masks) for target in targets])[:, None]  # (B, 1, n, 2)
    counts = torch.tensor([len(target.labels) for target in targets], device=boxes.device)
    real = torch.arange(boxes.shape[2], device=boxes.device) < counts[:, None, None]  # (B, 1, n)
    places, radius = points[:, None], RADIUS * strides[:, None, None]
    first, last = torch.maximum(centres - radius, boxes[..., :2]), torch.minimum(centres + radius, boxes[..., 2:])
    central = ((places > first) & (places < last)).all(-1)  # (B, P, n)
    farthest = sides(places, boxes).amax(-1)
    least, most = boxes.new_tensor(RANGES)[levels, None].unbind(-1)  # (P, 1) each
    fits = (farthest >= least) & (farthest <= most)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    smallest, objects = areas.masked_fill(~(central & fits & real), torch.inf).min(-1)
    return torch.where(smallest < torch.inf, objects, -1)


def sides(points: Tensor, boxes: Tensor) -> Tensor:
    """From points xy (…, 2) to the left, top, right and bottom side of boxes (…, 4): pixels (…, 4)."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def mass_centres(masks: Tensor) -> Tensor:
    """Centres of mass of masks bool (n, H, W): xy in pixels (n, 2), where the first pixel's centre is at 0.5.

    Of an empty mask 0, 0.
    """
    height, width = masks.shape[-2:]
    rows, columns = masks.sum(-1).float(), masks.sum(-2).float()  # (n, H), (n, W)
    places = torch.arange(max(height, width), device=masks.device) + 0.5
    total = rows.sum(-1).clamp(min=1)
    return torch.stack([columns @ places[:width], rows @ places[:height]], dim=-1) / total[:, None]


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """B tensors (n_b, D) → (B, n, D), filled up with zeros; n is at least 1."""
    count = max(1, *(len(each) for each in rows))
    return torch.stack([torch.cat([each, each.new_zeros(count - len(each), each.shape[1])]) for each in rows])
