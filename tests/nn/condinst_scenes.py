"""Made-up objects, and the raw maps of a training pass, for the tests of what CondInst learns."""

from __future__ import annotations

import torch
from torch import Tensor

from vistool.nn.boxes import mask_boxes
from vistool.nn.condinst.head import STRIDES, points
from vistool.nn.condinst.maps import TrainingMaps
from vistool.nn.detector import DetectorTargets
from vistool.nn.dynamic_masks import DynamicMaskHead

K, N = 3, 5
HEAD = DynamicMaskHead(2, 2)


def grid(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points, strides and levels of the pyramid of a frame of this size."""
    sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    levels = points(tuple(sizes))
    counts = torch.tensor([len(level) for level in levels])
    numbers = torch.arange(len(STRIDES)).repeat_interleave(counts)
    return torch.cat(levels), torch.tensor(STRIDES)[numbers], numbers


def objects_on(height: int, width: int, count: int, seed: int) -> DetectorTargets:
    """Objects of all sizes, half of them bent: an L, whose centre of mass is not that of its box."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for n in range(count):
        share = torch.rand(4, generator=random)
        h, w = max(3, int(height * share[0])), max(3, int(width * share[1]))
        y, x = int((height - h) * share[2]), int((width - w) * share[3])
        masks[n, y : y + h, x : x + w] = True
        if n % 2:
            masks[n, y : y + h * 2 // 3, x + w // 3 : x + w] = False
    labels, ids = (torch.randint(high, (count,), generator=random) for high in (K, N))
    return DetectorTargets(labels, ids, mask_boxes(masks), masks)


def random_maps(height: int, width: int, frames: int, seed: int) -> TrainingMaps:
    random = torch.Generator().manual_seed(seed)
    places, strides, levels = grid(height, width)

    def draw(*shape: int) -> Tensor:
        return torch.randn(frames, *shape, generator=random)

    far = draw(len(places), 4).abs() * 2 * strides[:, None]
    return TrainingMaps(
        class_logits=draw(len(places), K),
        id_logits=draw(len(places), N),
        boxes=torch.cat([places - far[..., :2], places + far[..., 2:]], dim=-1),
        centerness=draw(len(places)),
        kernels=draw(len(places), HEAD.parameters),
        points=places,
        strides=strides,
        levels=levels,
        features=draw(HEAD.features, height // 8, width // 8),
    )
