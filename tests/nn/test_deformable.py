"""Deformable attention against a loop over queries, heads, levels and points."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from vistool.nn.deformable import DeformableAttention

SIZES_HW = [(3, 5), (6, 9), (11, 8)]


def randomised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def pixel(plane: Tensor, x: float, y: float) -> Tensor:
    """Bilinear value of plane (h, w, d) at x, y in [0, 1]; pixels outside are zero."""
    height, width, _ = plane.shape
    column, row = x * width - 0.5, y * height - 0.5
    left, top = math.floor(column), math.floor(row)
    value = torch.zeros(plane.shape[-1])
    for r, c in [(top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)]:
        if 0 <= r < height and 0 <= c < width:
            value += (1 - abs(row - r)) * (1 - abs(column - c)) * plane[r, c]
    return value


def slowly(attention: DeformableAttention, queries: Tensor, references: Tensor, memory: Tensor) -> Tensor:
    """The definition, one sample at a time; references (L, levels, 2 or 4), the rest without a batch."""
    heads, levels, points = attention.heads, attention.levels, attention.points
    values = attention.value_proj(memory).view(len(memory), heads, -1)
    planes = [
        part.view(h, w, heads, -1)
        for part, (h, w) in zip(values.split([h * w for h, w in SIZES_HW]), SIZES_HW, strict=True)
    ]
    offsets = attention.sampling_offsets(queries).view(-1, heads, levels, points, 2)
    weights = (
        attention.attention_weights(queries)
        .view(-1, heads, levels * points)
        .softmax(-1)
        .view(-1, heads, levels, points)
    )
    rows = []
    for q in range(len(queries)):
        mixed = torch.zeros(heads, values.shape[-1])
        for head in range(heads):
            for level, (height, width) in enumerate(SIZES_HW):
                for point in range(points):
                    dx, dy = offsets[q, head, level, point].tolist()
                    x, y, *box = references[q, level].tolist()
                    x += dx / points * box[0] / 2 if box else dx / width
                    y += dy / points * box[1] / 2 if box else dy / height
                    mixed[head] += weights[q, head, level, point] * pixel(planes[level][:, :, head], x, y)
        rows.append(mixed.flatten())
    return attention.output_proj(torch.stack(rows))


@pytest.mark.parametrize("learning", [False, True], ids=["inferring", "learning"])
@pytest.mark.parametrize("coordinates", [2, 4], ids=["points", "boxes"])
def test_deformable_attention_is_the_weighted_sum_of_its_samples(coordinates: int, learning: bool) -> None:
    attention = randomised(DeformableAttention(8, heads=2, levels=3, points=4))
    pixels = sum(h * w for h, w in SIZES_HW)
    queries, memory = torch.randn(2, 6, 8), torch.randn(2, pixels, 8)
    references = torch.rand(2, 6, 3, coordinates)

    with torch.set_grad_enabled(learning):
        fast = attention(queries, references, memory, SIZES_HW)
    with torch.no_grad():
        slow = torch.stack([slowly(attention, *clip) for clip in zip(queries, references, memory, strict=True)])

    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


def test_what_is_read_may_be_projected_in_other_ways_too() -> None:
    attention = randomised(DeformableAttention(8, heads=2, levels=3, points=4))
    memory = torch.randn(2, sum(h * w for h, w in SIZES_HW), 8)
    arguments = torch.randn(2, 6, 8), torch.rand(2, 6, 3, 2), memory, SIZES_HW

    read = attention.read(*arguments)

    assert torch.equal(attention.output_proj(read), attention(*arguments))


def test_one_reference_may_serve_all_clips_and_levels() -> None:
    attention = randomised(DeformableAttention(8, heads=2, levels=3, points=4))
    queries, memory = torch.randn(2, 6, 8), torch.randn(2, sum(h * w for h, w in SIZES_HW), 8)
    shared = torch.rand(1, 6, 1, 2)

    once = attention(queries, shared, memory, SIZES_HW)

    torch.testing.assert_close(once, attention(queries, shared.expand(2, -1, 3, -1), memory, SIZES_HW))


def test_heads_begin_by_looking_in_eight_directions() -> None:
    attention = DeformableAttention(64, heads=8, levels=3, points=4)

    offsets = attention.sampling_offsets(torch.randn(64)).view(8, 3, 4, 2)

    directions = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    distances = torch.arange(1.0, 5.0)[:, None]
    expected = torch.tensor(directions, dtype=torch.float32)[:, None, None] * distances
    torch.testing.assert_close(offsets, expected.expand_as(offsets), atol=1e-5, rtol=0)
