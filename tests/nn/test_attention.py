"""Attention against PyTorch's own module, and position codes against their formula."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vistool.nn.attention import Attention
from vistool.nn.positional import sine_1d, sine_2d


def twin_of(attention: Attention, dim: int) -> nn.MultiheadAttention:
    """PyTorch's module with the weights of ours."""
    twin = nn.MultiheadAttention(dim, attention.heads, batch_first=True)
    projections = (attention.to_q, attention.to_k, attention.to_v)
    with torch.no_grad():
        for part in (*projections, attention.out):
            nn.init.normal_(part.bias)
        twin.in_proj_weight.copy_(torch.cat([part.weight for part in projections]))
        twin.in_proj_bias.copy_(torch.cat([part.bias for part in projections]))
        twin.out_proj.load_state_dict(attention.out.state_dict())
    return twin


def test_attention_agrees_with_pytorch_with_and_without_a_mask() -> None:
    attention = Attention(16, heads=4)
    twin = twin_of(attention, 16)
    queries, keys, values = torch.randn(2, 5, 16), torch.randn(2, 9, 16), torch.randn(2, 9, 16)
    visible = torch.rand(2, 5, 9) > 0.3

    open_, masked = attention(queries, keys, values), attention(queries, keys, values, visible)

    torch.testing.assert_close(open_, twin(queries, keys, values, need_weights=False)[0])
    blocked = (~visible).repeat_interleave(4, dim=0)
    torch.testing.assert_close(masked, twin(queries, keys, values, attn_mask=blocked, need_weights=False)[0])


def test_memory_projected_once_serves_many_queries() -> None:
    attention = Attention(16, heads=4)
    queries, memory = torch.randn(2, 5, 16), torch.randn(2, 9, 16)

    projected = attention.project_memory(memory, memory)

    whole = attention(queries, memory, memory)
    halves = torch.cat([attention.attend(part, *projected) for part in queries.split([2, 3], dim=1)], dim=1)
    torch.testing.assert_close(halves, whole)


def code(share_of_turn: float, channels: int) -> Tensor:
    """Sine and cosine in turn, each pair at its own frequency."""
    values = []
    for channel in range(channels):
        angle = 2 * math.pi * share_of_turn / 10000 ** (2 * (channel // 2) / channels)
        values.append(math.cos(angle) if channel % 2 else math.sin(angle))
    return torch.tensor(values)


def test_every_pixel_has_the_code_of_its_row_then_that_of_its_column() -> None:
    height, width, dim = 3, 5, 16

    codes = sine_2d((height, width), dim).view(height, width, dim)

    expected = [
        [torch.cat([code((i + 1) / height, dim // 2), code((j + 1) / width, dim // 2)]) for j in range(width)]
        for i in range(height)
    ]
    torch.testing.assert_close(codes, torch.stack([torch.stack(row) for row in expected]), atol=2e-6, rtol=0)


def test_the_code_of_a_frame_is_its_share_of_the_clip() -> None:
    codes = sine_1d(4, 8)

    torch.testing.assert_close(codes, torch.stack([code(t / 4, 8) for t in range(1, 5)]), atol=2e-6, rtol=0)
    assert torch.equal(sine_1d(6, 8, normalise=False)[:4], sine_1d(4, 8, normalise=False))
