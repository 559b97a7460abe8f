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


def _turns(count: int, device: torch.device | None) -> Tensor:
    """1 … count as shares of a full turn: divided by the last + 1e-6, times 2π."""
    steps = torch.arange(1, count + 1, dtype=torch.float32, device=device)
    return steps / (count + 1e-6) * 2 * math.pi


def sine_2d(size_hw: tuple[int, int], dim: int, device: torch.device | None = None) -> Tensor:
    """Code of every pixel, rows in the first half of the channels, columns in the second → (H·W, dim)."""
    height, width = size_hw
    rows = sine(_turns(height, device), dim // 2)[:, None].expand(-1, width, -1)
    columns = sine(_turns(width, device), dim // 2)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def sine_1d(count: int, dim: int, *, normalise: bool = True, device: torch.device | None = None) -> Tensor:
    """Code of frame 1 … count, as shares of the clip's length or as plain numbers → (count, dim)."""
    plain = torch.arange(1, count + 1, dtype=torch.float32, device=device)
    return sine(_turns(count, device) if normalise else plain, dim)
