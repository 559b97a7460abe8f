"""The multi-scale spatio-temporal split attention of the paper (section 3.2, Eq. (1) to (5)).

Beside the deformable attention of an encoder layer, every pixel looks at itself on all frames of the clip, level by
level; then every level, together with the next coarser one, looks at all its pixels on all frames. Tokens never make a
matrix with one another: memory grows with their number, time with its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn.attention import Attention
from ...nn.deformable_detr import LEVELS, Levels
from ...nn.positional import sine_1d
from .presets import Preset

Window = tuple[slice, slice, slice]
"""Frames, rows and columns."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One level on all frames of B clips."""

    tokens: Tensor  # (B, T, h, w, D)
    code: Tensor | None  # of their positions, (B or 1, T, h, w, D)
    visible: Tensor | None  # bool (B, T, h, w), false where a token is padding; None: all are visible


class TokenBlock(nn.Module):
    """Attention among tokens and a multi-layer perceptron, each after a norm and added to what comes in."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, code: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """tokens (N, L, D), code of their positions (N or 1, L, D), visible bool (N, L) → (N, L, D)."""
        mask = None if visible is None else (visible | ~visible.any(-1, keepdim=True))[:, None]  # (N, 1, L)
        normed = self.attn_norm(tokens)
        placed = normed if code is None else normed + code
        tokens = tokens + self.dropout(self.attn(placed, placed, normed, mask))  # Y = SA(LN(Z)) + Z
        out: Tensor = tokens + self.dropout(self.mlp(self.mlp_norm(tokens)))  # MLP(LN(Y)) + Y
        return out


class SplitAttention(nn.Module):
    """Intra-scale attention, inter-scale attention, fusion, with one set of weights for all levels.

    The fusion starts at zero, so that weights trained without this branch mean the same with it.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        dim, heads, hidden = preset.dim, preset.split_heads, preset.split_mlp_ratio * preset.dim
        self.first = LEVELS - preset.split_levels  # level that takes part
        self.window = preset.inter_scale_window
        self.coded = preset.position == "qk"
        self.intra = TokenBlock(dim, heads, hidden, preset.dropout)
        self.merge = nn.Linear(2 * dim, dim)
        self.inter = TokenBlock(dim, heads, hidden, preset.dropout)
        self.fuse = nn.Linear(dim, dim)  # of every token: a 1x1 convolution
        nn.init.zeros_(self.fuse.weight)
        nn.init.zeros_(self.fuse.bias)

    def forward(self, levels: Levels, position: Tensor, frames: int) -> Tensor:
        """Levels of B·T frames and their code of position (B·T or 1, P, D) → (B·T, P, D).

        What stands in the padding has no say.
        """
        scales = self._scales(levels, position, frames)
        within = [self._intra(scale) for scale in scales]
        coarser = [*within[1:], scales[-1].tokens]  # the coarsest has no other than itself, as it came in
        across = [
            self._inter(scale, self.merge(torch.cat([own, _resized(other, own)], dim=-1)))  # H = W_p [Z, up(Z')]
            for scale, own, other in zip(scales, within, coarser, strict=True)
        ]
        fused: Tensor = self.fuse(torch.cat([tokens.flatten(2, 3) for tokens in across], dim=2)).flatten(0, 1)
        return F.pad(fused, (0, 0, levels.pixels.shape[1] - fused.shape[1], 0))

    def _scales(self, levels: Levels, position: Tensor, frames: int) -> list[Scale]:
        """The levels that take part, fine to coarse; padding is zero."""
        tokens = self._pictures(levels, levels.pixels, frames)
        visible: Sequence[Tensor | None] = [None] * len(tokens)
        if levels.padding is not None:
            masks = self._pictures(levels, ~levels.padding[..., None], frames)
            tokens = [each * mask for each, mask in zip(tokens, masks, strict=True)]
            visible = [mask[..., 0] for mask in masks]
        codes: Sequence[Tensor | None] = [None] * len(tokens)
        if self.coded:
            numbers = sine_1d(frames, position.shape[-1], normalise=False, device=position.device)[:, None]
            placed = position.unflatten(0, (-1, frames)) if len(position) > 1 else position[:, None]
            codes = self._pictures(levels, (placed + numbers).flatten(0, 1), frames)
        return [Scale(*each) for each in zip(tokens, codes, visible, strict=True)]

    def _pictures(self, levels: Levels, rows: Tensor, frames: int) -> list[Tensor]:
        """Rows (B·T, P, D) → (B, T, h, w, D) a level that takes part."""
        parts = rows.unflatten(0, (-1, frames)).split([h * w for h, w in levels.sizes_hw], dim=2)
        return [part.unflatten(2, size) for part, size in zip(parts, levels.sizes_hw, strict=True)][self.first :]

    def _intra(self, scale: Scale) -> Tensor:
        """Every pixel looks at itself on all frames; padding is the same on all of them. (B, T, h, w, D)."""
        batch, _, height, width, _ = scale.tokens.shape
        code = None if scale.code is None else _over_time(scale.code.expand_as(scale.tokens))
        seen = self.intra(_over_time(scale.tokens), code)
        out: Tensor = seen.view(batch, height, width, *seen.shape[1:]).permute(0, 3, 1, 2, 4)
        return out

    def _inter(self, scale: Scale, merged: Tensor) -> Tensor:
        """All tokens (B, T, h, w, D) of a window look at one another."""
        out = torch.empty_like(merged)
        for place in windows(merged.shape[1], (merged.shape[2], merged.shape[3]), self.window):
            at = (slice(None), *place)
            part = merged[at]
            code = None if scale.code is None else scale.code[at].flatten(1, 3)
            visible = None if scale.visible is None else scale.visible[at].flatten(1)
            out[at] = self.inter(part.flatten(1, 3), code, visible).view(part.shape)
        return out


def windows(frames: int, size_hw: tuple[int, int], most: int | None) -> Iterator[Window]:
    """Boxes of at most `most` tokens (None: any number) that make up a level: all frames of a patch, where they fit."""
    span = min(frames, most or frames)
    area = size_hw[0] * size_hw[1]
    patch = area if most is None else max(1, most // span)
    rows = size_hw[0] if patch >= area else min(size_hw[0], isqrt(patch))
    return product(_cuts(frames, span), _cuts(size_hw[0], rows), _cuts(size_hw[1], patch // rows))


def _cuts(length: int, most: int) -> list[slice]:
    """As few parts of at most `most` as can be, as even as can be."""
    count = -(-length // most)
    return [slice(*edges) for edges in pairwise(length * i // count for i in range(count + 1))]


def _over_time(tokens: Tensor) -> Tensor:
    """(B, T, h, w, D) → (B·h·w, T, D)."""
    return tokens.permute(0, 2, 3, 1, 4).flatten(0, 2)


def _resized(coarse: Tensor, like: Tensor) -> Tensor:
    """(B, T, h', w', D) → (B, T, h, w, D), bilinear, whatever the sizes."""
    planes = coarse.flatten(0, 1).movedim(-1, 1)
    resized: Tensor = F.interpolate(planes, size=like.shape[2:4], mode="bilinear", align_corners=False)
    return resized.movedim(1, -1).view(*like.shape[:4], -1)
