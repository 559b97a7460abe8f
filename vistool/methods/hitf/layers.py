"""Small blocks in the two norms of a preset, for tokens (…, C) and for maps (B, C, h, w)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .presets import Norm

BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01


class TokenBatchNorm(nn.BatchNorm1d):
    """Over all places alike: (…, C) → (…, C)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.flatten(0, -2)).view_as(tokens)


class MapLayerNorm(nn.LayerNorm):
    """Over the channels of every place: (B, C, h, w) → (B, C, h, w)."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)


def token_norm(width: int, norm: Norm, *, zero: bool = False) -> nn.Module:
    """A norm of tokens; `zero`: its gain starts at nothing, and what it ends adds nothing."""
    if norm == "batch":
        return _gained(TokenBatchNorm(width, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM), zero)
    return _gained(nn.LayerNorm(width), zero)


def map_norm(width: int, norm: Norm, *, zero: bool = False) -> nn.Module:
    """A norm of maps; `zero` as for tokens."""
    if norm == "batch":
        return _gained(nn.BatchNorm2d(width, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM), zero)
    return _gained(MapLayerNorm(width), zero)


def _gained(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm, zero: bool) -> nn.Module:
    if zero:
        nn.init.zeros_(norm.weight)
    return norm


def linear(inner: int, outer: int, *, bias: bool = False) -> nn.Linear:
    """He's start, as of all layers but those of queries, keys and values."""
    layer = nn.Linear(inner, outer, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def convolution(inner: int, outer: int, side: int = 1, *, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without a bias, and of the size of its input."""
    reach = dilation * (side // 2)
    layer = nn.Conv2d(inner, outer, side, padding=reach, dilation=dilation, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


def token_block(inner: int, outer: int, norm: Norm) -> nn.Sequential:
    """Linear, norm, ReLU."""
    return nn.Sequential(linear(inner, outer), token_norm(outer, norm), nn.ReLU())


def map_block(
    inner: int, outer: int, norm: Norm, side: int = 1, *, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, norm, ReLU."""
    layer = convolution(inner, outer, side, dilation=dilation, groups=groups)
    return nn.Sequential(layer, map_norm(outer, norm), nn.ReLU())


def separable_block(inner: int, outer: int, norm: Norm, side: int, *, dilation: int = 1) -> nn.Sequential:
    """A convolution of each channel, then of each place, each with norm and ReLU."""
    return nn.Sequential(
        map_block(inner, inner, norm, side, dilation=dilation, groups=inner), map_block(inner, outer, norm)
    )


class Projections(nn.Module):
    """Queries, keys, values, or some of them, of tokens. Affine in eval, whatever the norm."""

    def __init__(self, inner: int, widths: Sequence[int], norm: Norm) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.linear = nn.Linear(inner, sum(widths), bias=norm == "layer")
        nn.init.trunc_normal_(self.linear.weight, std=inner**-0.5)
        if norm == "layer":
            nn.init.zeros_(self.linear.bias)
        self.norm = token_norm(sum(widths), norm) if norm == "batch" else nn.Identity()

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(…, C) → one tensor (…, width) a width."""
        return self.norm(self.linear(tokens)).split(self.widths, -1)  # type: ignore[no-any-return]

    def change(self, shift: Tensor) -> tuple[Tensor, ...]:
        """In eval: what the projections gain when `shift` (…, C) is added to the tokens."""
        moved, origin = self(shift), self(shift.new_zeros(shift.shape[-1]).expand_as(shift))
        return tuple(there - here for there, here in zip(moved, origin, strict=True))


def tokens_of(maps: Tensor) -> Tensor:
    """(B, C, h, w) → (B, h·w, C)."""
    return maps.flatten(2).transpose(1, 2)


def map_of(tokens: Tensor, size_hw: Sequence[int]) -> Tensor:
    """(B, h·w, C) → (B, C, h, w)."""
    maps: Tensor = tokens.transpose(1, 2).unflatten(2, tuple(size_hw))
    return maps


def resized(maps: Tensor, size_hw: Sequence[int]) -> Tensor:
    """(B, C, h, w) → (B, C, *size_hw), bilinear; the middles of the corner cells stay where they are."""
    if tuple(maps.shape[-2:]) == tuple(size_hw):
        return maps
    return F.interpolate(maps, size=tuple(size_hw), mode="bilinear", align_corners=True)
