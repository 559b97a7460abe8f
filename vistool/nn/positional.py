"""Sine codes of position: rows and columns of a feature map, and frames of a clip. No parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine(positions: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Interleaved sine (even) and cosine (odd) channels of `positions` (…) in radians → (…, channels)."""
    octave = torch.arange(channels, device=positions.device).div(2, rounding_mode="floor") * 2 / channels
    angles = positions[..., None] / temperature**octave
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


def _turns(numbers: Tensor, last: Tensor | float, before: float = 0.0) -> Tensor:
    """Numbers, less `before`, as shares of a full turn: divided by the last + 1e-6, times 2π."""
    return (numbers - before) / (last + 1e-6) * 2 * math.pi


def _numbers(count: int, device: torch.device | None) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.float32, device=device)


def sine_2d(size_hw: tuple[int, int], dim: int, device: torch.device | None = None, *, before: float = 0.0) -> Tensor:
    """Code of every pixel, rows in the first half of the channels, columns in the second → (H·W, dim).

    Rows and columns count from 1, less `before`: Mask2Former takes off nothing, Deformable DETR one half.
    """
    height, width = size_hw
    rows, columns = (sine(_turns(_numbers(count, device), count, before), dim // 2) for count in size_hw)
    return torch.cat([rows[:, None].expand(-1, width, -1), columns.expand(height, -1, -1)], dim=-1).flatten(0, 1)


def sine_2d_within(padding: Tensor, dim: int, *, before: float = 0.0) -> Tensor:
    """`sine_2d` that counts only rows and columns outside the padding; bool (B, H, W) → (B, H·W, dim)."""
    rows, columns = ((~padding).cumsum(axis, dtype=torch.float32) for axis in (1, 2))
    rows, columns = _turns(rows, rows[:, -1:], before), _turns(columns, columns[..., -1:], before)
    return torch.cat([sine(rows, dim // 2), sine(columns, dim // 2)], dim=-1).flatten(1, 2)


def sine_1d(count: int, dim: int, *, normalise: bool = True, device: torch.device | None = None) -> Tensor:
    """Code of frame 1 … count, as shares of the clip's length or as plain numbers → (count, dim)."""
    plain = _numbers(count, device)
    return sine(_turns(plain, count) if normalise else plain, dim)
