"""Axial attention beside plain loops over lines, and what a distance beyond the tables means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hitf_networks import BOTH, LAYER, dots, enliven
from torch import Tensor

from vistool.methods.hitf.axial import AxialAttention, AxisAttention
from vistool.methods.hitf.presets import Preset

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def axis(preset: Preset, span: int) -> AxisAttention:
    torch.manual_seed(1)
    made = AxisAttention(preset.dim, preset, span)
    enliven(made)
    return made.eval()


def by_loops(attention: AxisAttention, lines: Tensor) -> Tensor:
    """lines (N, n, C) → (N, n, V)."""
    heads, last = attention.heads, attention.span - 1
    q, k, v = attention.qkv(lines)
    count, width = lines.shape[1], v.shape[-1] // heads
    content = dots(q, k, heads)
    of_query, of_key = torch.zeros_like(content), torch.zeros_like(content)
    row = [[max(-last, min(last, j - i)) + last for j in range(count)] for i in range(count)]
    for head in range(heads):
        part = slice(head * q.shape[-1] // heads, (head + 1) * q.shape[-1] // heads)
        for i in range(count):
            for j in range(count):
                of_query[:, head, i, j] = q[:, i, part] @ attention.query_table[row[i][j]]
                of_key[:, head, i, j] = k[:, j, part] @ attention.key_table[row[i][j]]
    normed = [norm(part) for norm, part in zip(attention.logit_norms, (content, of_query, of_key), strict=True)]
    shares = (sum(normed) * attention.scale).softmax(-1)
    plain, placed = torch.zeros_like(v), torch.zeros_like(v)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(count):
            for j in range(count):
                plain[:, i, part] += shares[:, head, i, j, None] * v[:, j, part]
                placed[:, i, part] += shares[:, head, i, j, None] * attention.value_table[row[i][j]]
    of_content, of_place = attention.value_norms
    found: Tensor = of_content(plain) + of_place(placed)
    return found


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
@pytest.mark.parametrize("span", [6, 3])  # a line as long as the tables, and a longer one
def test_a_line_is_a_plain_loop(preset: Preset, span: int) -> None:
    attention, lines = axis(preset, span), torch.randn(3, 6, preset.dim)

    torch.testing.assert_close(attention(lines), by_loops(attention, lines), **CLOSE)


def alive(preset: Preset = LAYER) -> AxialAttention:
    torch.manual_seed(2)
    made = AxialAttention(preset, 10)
    enliven(made)
    return made.eval()


def test_columns_come_first_and_then_rows_of_what_they_found() -> None:
    attention, pixels = alive(), torch.randn(2, 10, 3, 4)
    reduced = attention.reduce(pixels.relu())
    found = torch.zeros(2, 3, 4, LAYER.value_width)
    columns = found.clone()
    for x in range(4):
        columns[:, :, x] = attention.height(reduced[:, :, :, x].transpose(1, 2))
    for y in range(3):
        found[:, y] = attention.width(columns[:, y])

    torch.testing.assert_close(attention(pixels), attention.out(found.flatten(1, 2), (3, 4)), **CLOSE)


def test_every_pixel_reaches_every_other_in_two_steps() -> None:
    attention = alive()
    pixels = torch.randn(1, 10, 3, 4).abs().requires_grad_()
    attention(pixels)[0, :, 0, 3].pow(2).sum().backward()

    assert pixels.grad is not None and (pixels.grad.abs().sum(1) > 0).all()


def test_tables_fit_the_grid_of_the_preset() -> None:
    at_16, at_32 = (AxialAttention(replace(LAYER, long_side=641, output_stride=stride), 10) for stride in (16, 32))

    assert at_16.height.query_table.shape == (2 * 41 - 1, 4)
    assert at_32.height.query_table.shape == (2 * 21 - 1, 4)
