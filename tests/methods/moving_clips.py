"""Small clips with something to learn, for every method that is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from vistool.nn.targets import ClipTargets

H, W = 64, 96


def clips(count: int = 2, frames: int = 2, size_hw: tuple[int, int] = (H, W)) -> tuple[Tensor, list[ClipTargets]]:
    """Bright rectangles that move; the second object of every clip is on the last frame only."""
    random = torch.Generator().manual_seed(1)
    pictures = 0.1 * torch.randn(count, frames, 3, *size_hw, generator=random)
    targets = []
    for b in range(count):
        masks = torch.zeros(3, frames, *size_hw, dtype=torch.bool)
        for n, (y, x) in enumerate(((4 + b, 6), (34, 50 + b), (30, 4))):
            for t in range(frames):
                if n != 1 or t == frames - 1:
                    masks[n, t, y : y + 24, x + 4 * t : x + 4 * t + 28] = True
                    pictures[b, t, n][masks[n, t]] += 2
        targets.append(ClipTargets(torch.tensor([0, 1, 2]), masks))
    return pictures, targets
