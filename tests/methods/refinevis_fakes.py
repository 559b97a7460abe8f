"""An image model without a network, made-up clips, and losses written as loops, for the tests of training RefineVIS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from vistool.methods.refinevis.frame_loss import ClipTruth
from vistool.methods.refinevis.learning import LearningRules
from vistool.methods.refinevis.network import RefineVis
from vistool.nn.image_model import FrameObjects, LayerOutput, TrainingOutput
from vistool.nn.targets import ClipTargets

B, T, L, Q, K, D, C = 2, 2, 2, 8, 3, 4, 4
SIZE = 32
RULES = LearningRules(loss_points=8, noised_queries=12, unmatched=3)


class FakeImage(nn.Module):
    """Heads alone: the first K channels of an embedding are the logits, and masks are its products with the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []  # of every call of `masks`

    def classes(self, embeddings: Tensor) -> Tensor:
        return embeddings[..., :K]

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        self.rows.append(len(embeddings))
        return torch.einsum("nd,dhw->nhw", embeddings, pixels)


class FakeTar(nn.Module):
    """Adds one to every token, and remembers what it was given."""

    def forward(self, tokens: Tensor, times: Tensor, exists: Tensor, seen: Tensor) -> Tensor:
        self.tokens, self.times, self.exists, self.seen = tokens, times, exists, seen
        return tokens + 1


def fake_network() -> RefineVis:
    parts = SimpleNamespace(image=FakeImage(), tar=FakeTar(), association=lambda objects: 2 * objects.embeddings)
    parts.preset = SimpleNamespace(num_classes=K, window=10, image={"queries": Q})
    return cast(RefineVis, parts)


def clip_targets(seed: int, objects: int = 3, *, hidden: Sequence[tuple[int, int]] = ()) -> ClipTargets:
    """Rectangles; (object, frame) pairs of `hidden` are out of sight. Some cover the frame's middle."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.zeros(objects, T, SIZE, SIZE, dtype=torch.bool)
    for n in range(objects):
        for t in range(T):
            y, x = (int(v) for v in torch.randint(2, SIZE // 2, (2,), generator=random))
            masks[n, t, y : y + 14, x : x + 12] = (n, t) not in hidden
    return ClipTargets(torch.randint(K, (objects,), generator=random), masks)


def layer(seed: int, queries: int = Q, near: Sequence[ClipTruth] = ()) -> LayerOutput:
    """Of B·T frames; the first queries lie on the objects of `near`, about."""
    random = torch.Generator().manual_seed(seed)
    boxes = torch.rand(B * T, queries, 4, generator=random) * 0.4 + 0.3
    for b, truth in enumerate(near):
        for t in range(T):
            count = min(queries, len(truth.labels))
            noise = 0.02 * torch.randn(count, 4, generator=random)
            boxes[b * T + t, :count] = (truth.boxes[:count, t] + noise).clamp(0.05, 1)
    logits, embeddings = (torch.randn(B * T, queries, size, generator=random) for size in (K, D))
    return LayerOutput(logits, boxes, embeddings)


def output(layers: Sequence[LayerOutput], noised: Sequence[LayerOutput] = ()) -> TrainingOutput:
    """The first layer is the selection; all planes are the same at every pixel, so that a point is any point."""
    last = layers[-1]
    random = torch.Generator().manual_seed(9)
    pixels = torch.randn(B * T, C, 1, 1, generator=random).expand(-1, -1, SIZE // 4, SIZE // 4)
    objects = FrameObjects(last.embeddings, last.class_logits, last.boxes, pixels)
    return TrainingOutput(objects, tuple(layers[1:]), layers[0], tuple(noised))


def focal(logits: Tensor, label: int) -> float:
    """Focal loss of one query that should name `label`, or nothing for K."""
    total = 0.0
    for k, logit in enumerate(logits.tolist()):
        p = 1 / (1 + math.exp(-logit))
        total += 0.25 * (1 - p) ** 2 * -math.log(p) if k == label else 0.75 * p**2 * -math.log(1 - p)
    return total


def middle(mask: Tensor) -> float:
    """What bilinear sampling reads in the middle of a mask (H, W)."""
    half = SIZE // 2
    return float(mask[half - 1 : half + 1, half - 1 : half + 1].float().mean())


def plane(logit: float, wanted: float, points: int) -> tuple[float, float]:
    """Cross-entropy, and 1 - dice, of one flat plane read at `points` times the same point."""
    p = 1 / (1 + math.exp(-logit))
    bce = -(wanted * math.log(p) + (1 - wanted) * math.log(1 - p))
    return bce, 1 - (2 * points * p * wanted + 1) / (points * p + points * wanted + 1)


def mask_logit(embedding: Tensor, pixels: Tensor) -> float:
    return float(embedding @ pixels[:, 0, 0])


def one_point(logits: Tensor, count: int) -> Tensor:
    """In place of random points: the middle of every plane."""
    return torch.full((len(logits), count, 2), 0.5)


def as_float(terms: Any) -> dict[str, float]:
    return {name: float(value) for name, value in terms.items()}
