"""Attention to a window around the same place of another map: what short-term memory is read by.

Dense within strips of rows: the scores of a strip and of the rows that its windows reach are one product of matrices,
and what lies outside of a window is ruled out. On maps at stride 32 that is faster than gathering windows, and needs no
kernel of its own. Memory grows with the height of a map, not with its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

STRIP = 8  # rows of queries that are looked at together
BELL_HEIGHT, BELL_WIDTH = 8.0, 0.5  # of what fresh weights add to the scores around the middle of a window; in places


class LocalAttention(nn.Module):
    """Multi-head attention whose query at (y, x) sees the keys at (y + dy, x + dx), |dy| and |dx| at most `reach`.

    Beside the product of query and key there is a score that the query gives to each place of the window, and beside
    the value a vector for each place. Keys beyond the edge of the map are not seen.

    Fresh weights look where the query stands: from a mean over the window nothing learns for long who was where.
    """

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.reach = heads, window // 2
        places = window**2
        self.relative = nn.Conv2d(dim, heads * places, 1, groups=heads)  # (dy + reach) · window + dx + reach, a head
        self.place_values = nn.Parameter(torch.zeros(heads, dim // heads, places))
        self.out = nn.Linear(dim, dim)
        with torch.no_grad():
            cast(Tensor, self.relative.bias).copy_(_bell(self.reach).repeat(heads))

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """queries, keys, values (B, h·w, D), row by row → (B, h·w, D)."""
        height, width = size_hw
        q, k, v = (self._split(x) for x in (queries, keys, values))  # (B, heads, h·w, D / heads)
        as_map = queries.transpose(1, 2).unflatten(2, size_hw)
        relative = self.relative(as_map).flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)  # not scaled
        strips = []
        for top in range(0, height, STRIP):
            bottom = min(top + STRIP, height)
            first, last = max(0, top - self.reach), min(bottom + self.reach, height)
            rows, seen = slice(top * width, bottom * width), slice(first * width, last * width)
            windows = _windows(bottom - top, last - first, width, top - first, self.reach, queries.device)
            strips.append(self._attend(q[:, :, rows], k[:, :, seen], v[:, :, seen], relative[:, :, rows], windows))
        out: Tensor = self.out(torch.cat(strips, dim=2).transpose(1, 2).flatten(2))
        return out

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, relative: Tensor, windows: Windows) -> Tensor:
        """q (B, heads, L, d), k and v (B, heads, M, d), relative (B, heads, L, places) → (B, heads, L, d)."""
        batch = q.shape[:2]
        logits = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5  # (B, heads, L, M)
        logits = logits + relative.gather(3, windows.place.expand(*batch, -1, -1))
        shares = logits.masked_fill(windows.outside, -torch.inf).softmax(-1)
        by_place = shares.gather(3, windows.key.expand(*batch, -1, -1)).masked_fill(windows.beyond, 0.0)
        found: Tensor = shares @ v + by_place @ self.place_values.transpose(1, 2)
        return found

    def _split(self, x: Tensor) -> Tensor:  # (B, L, D) → (B, heads, L, D / heads)
        heads: Tensor = x.unflatten(2, (self.heads, -1))
        return heads.transpose(1, 2)


def _bell(reach: int) -> Tensor:
    """What is added to the scores of a window: most in the middle, next to nothing two places away → (places,)."""
    steps = torch.arange(-reach, reach + 1)
    return BELL_HEIGHT * torch.exp(-(steps[:, None].square() + steps.square()) / (2 * BELL_WIDTH**2)).flatten()


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Who sees whom: L queries, M keys, and the places of a window."""

    place: Tensor  # int64 (L, M), of the key in the window of the query; any where it is outside
    outside: Tensor  # bool (L, M)
    key: Tensor  # int64 (L, places), that lies there; any where the place lies beyond the edge
    beyond: Tensor  # bool (L, places)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is remembered may be needed for training
def _windows(rows: int, seen: int, width: int, offset: int, reach: int, device: torch.device) -> Windows:
    """Of `rows` rows of queries that begin `offset` rows below the first of `seen` rows of keys."""
    side = 2 * reach + 1
    y, key_y = torch.arange(rows) + offset, torch.arange(seen)
    x = torch.arange(width)
    dy, dx = key_y - y[:, None] + reach, x - x[:, None] + reach  # (rows, seen), (width, width), from 0
    dy = dy[:, None, :, None].expand(-1, width, -1, width).reshape(rows * width, seen * width)
    dx = dx[None, :, None, :].expand(rows, -1, seen, -1).reshape(rows * width, seen * width)
    outside = (dy < 0) | (dy >= side) | (dx < 0) | (dx >= side)
    place = (dy * side + dx).masked_fill(outside, 0)

    steps = torch.arange(side) - reach
    at_y = (y[:, None] + steps)[:, None, :, None].expand(-1, width, -1, side).reshape(rows * width, side**2)
    at_x = (x[:, None] + steps)[None, :, None, :].expand(rows, -1, side, -1).reshape(rows * width, side**2)
    beyond = (at_y < 0) | (at_y >= seen) | (at_x < 0) | (at_x >= width)
    key = (at_y * width + at_x).masked_fill(beyond, 0)
    return Windows(*(each.to(device) for each in (place, outside, key, beyond)))
