"""Attention between code and pixels: within a frame, Eq. (1) and (2), and towards earlier frames, Eq. (3) and (4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import (
    BATCH_NORM_EPS,
    BATCH_NORM_MOMENTUM,
    Projections,
    TokenBatchNorm,
    convolution,
    linear,
    map_block,
    map_norm,
    map_of,
    token_block,
    token_norm,
    tokens_of,
)
from .presets import Norm, Preset


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(…, P, D) → (…, heads, P, D / heads)."""
    parted: Tensor = tokens.unflatten(-1, (heads, -1))
    return parted.transpose(-3, -2)


def attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """(B, heads, Q or P, width) → (B, heads, Q, width of the values).

    Fused kernels, which hold no (Q, P) matrix, want one width: zeros make up for what keys lack, and change nothing.
    """
    short = values.shape[-1] - keys.shape[-1]
    if short > 0:
        queries, keys = F.pad(queries, (0, short)), F.pad(keys, (0, short))
    return F.scaled_dot_product_attention(queries, keys, values, scale=scale)


class Mixing(nn.Module):
    """Softmax attention between projected tokens.

    Norm "batch": logits have a norm with one statistic a head in the place of a scale, and what is found has one too.
    Once they are fixed, the first is a factor of the queries, for softmax ignores its shift, and the second may as well
    be that of the values, for shares sum to one. Norm "layer": logits are divided by the root of their width.
    """

    def __init__(self, heads: int, key_width: int, value_width: int, norm: Norm) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (key_width // heads) ** -0.5 if norm == "layer" else 1.0
        batch = norm == "batch"
        self.logit_norm = nn.BatchNorm2d(heads, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM) if batch else None
        self.value_norm = TokenBatchNorm(value_width, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM) if batch else None

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """queries (B, Q, K), keys (B, P, K), values (B, P, V) → (B, Q, V)."""
        if self.value_norm is None or self.logit_norm is None:
            return self._joined(attend(*self._split(queries, keys, values), self.scale))
        if self.training:
            q, k, v = self._split(queries, keys, values)
            shares = self.logit_norm(q @ k.transpose(2, 3)).softmax(-1)  # (B, heads, Q, P)
            return self._normed(self._joined(shares @ v))
        few_values = values.shape[1] < queries.shape[1]
        q, k, v = self._split(queries, keys, self._normed(values) if few_values else values)
        found = self._joined(attend(q * factors(self.logit_norm).to(q.dtype), k, v, self.scale))
        return found if few_values else self._normed(found)

    def _split(self, *tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split_heads(each, self.heads) for each in tokens)
        return q, k, v

    def _joined(self, found: Tensor) -> Tensor:
        return found.transpose(1, 2).flatten(2)

    def _normed(self, tokens: Tensor) -> Tensor:
        assert self.value_norm is not None
        normed: Tensor = self.value_norm(tokens)
        return normed


def factors(norm: nn.BatchNorm2d) -> Tensor:
    """What a fixed batch norm multiplies each head by: (heads, 1, 1)."""
    assert norm.running_var is not None
    return (norm.weight * (norm.running_var + norm.eps).rsqrt())[:, None, None]


def _mixing(preset: Preset) -> Mixing:
    return Mixing(preset.heads, preset.key_width, preset.value_width, preset.norm)


class CodeBranch(nn.Module):
    """What is found for the code, as something to add to it: nothing at first."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.linear = linear(preset.value_width, preset.dim)
        self.norm = token_norm(preset.dim, preset.norm, zero=True)

    def forward(self, found: Tensor) -> Tensor:
        """(B, L, V) → (B, L, D)."""
        added: Tensor = self.norm(self.linear(F.relu(found)))
        return added


class PixelBranch(nn.Module):
    """What is found for the pixels, as something to add to them: nothing at first."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        self.convolution = convolution(preset.value_width, channels)
        self.norm = map_norm(channels, preset.norm, zero=True)

    def forward(self, found: Tensor, size_hw: Sequence[int]) -> Tensor:
        """(B, h·w, V) → (B, C, h, w)."""
        added: Tensor = self.norm(self.convolution(map_of(F.relu(found), size_hw)))
        return added


class IntraFrameAttention(nn.Module):
    """The code of a frame looks at itself and at the pixels, the pixels look at the code. Both at once."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        dim, norm, key, value = preset.dim, preset.norm, preset.key_width, preset.value_width
        self.code_reduce = token_block(dim, dim, norm)
        self.pixel_reduce = map_block(channels, dim, norm)
        self.code_qkv = Projections(dim, (key, key, value), norm)
        self.pixel_qkv = Projections(dim, (key, key, value), norm)
        self.code_attn, self.pixel_attn = _mixing(preset), _mixing(preset)
        self.code_out, self.pixel_out = CodeBranch(preset), PixelBranch(preset, channels)
        self.ffn = nn.Sequential(
            token_block(dim, preset.ffn, norm), linear(preset.ffn, dim), token_norm(dim, norm, zero=True)
        )

    def forward(self, code: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """code (B, L, D), pixels (B, C, h, w) before their activation → both anew."""
        code_q, code_k, code_v = self.code_qkv(self.code_reduce(code))
        pixel_q, pixel_k, pixel_v = self.pixel_qkv(tokens_of(self.pixel_reduce(F.relu(pixels))))
        keys, values = torch.cat([code_k, pixel_k], 1), torch.cat([code_v, pixel_v], 1)
        code_found = self.code_attn(code_q, keys, values)  # Eq. (1)
        pixel_found = self.pixel_attn(pixel_q, code_k, code_v)  # Eq. (2)
        code = F.relu(code + self.code_out(code_found))
        code = F.relu(code + self.ffn(code))
        return code, pixels + self.pixel_out(pixel_found, pixels.shape[-2:])


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """What is looked at of one or more references, projected."""

    code_keys: Tensor  # (B, n·L, K)
    code_values: Tensor  # (B, n·L, V)
    pixel_keys: Tensor | None  # (B, n·P, K); None: nobody looks at pixels
    pixel_values: Tensor | None  # (B, n·P, V)


class CodeLooksBack(nn.Module):
    """Eq. (3): codes look at codes and pixels of the references."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.reduce = token_block(preset.dim, preset.dim, preset.norm)
        self.query = Projections(preset.dim, (preset.key_width,), preset.norm)
        self.attn = _mixing(preset)
        self.out = CodeBranch(preset)

    def forward(self, code: Tensor, place: Tensor, keys: Keys) -> Tensor:
        """code (B, L, D), its place (L, D) → the code anew."""
        assert keys.pixel_keys is not None and keys.pixel_values is not None
        (queries,) = self.query(self.reduce(code) + place)
        seen = torch.cat([keys.code_keys, keys.pixel_keys], 1), torch.cat([keys.code_values, keys.pixel_values], 1)
        return F.relu(code + self.out(self.attn(queries, *seen)))  # Eq. (3)


class PixelsLookBack(nn.Module):
    """Eq. (4): pixels look at codes of the references."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        self.reduce = map_block(channels, preset.dim, preset.norm)
        self.query = Projections(preset.dim, (preset.key_width,), preset.norm)
        self.attn = _mixing(preset)
        self.out = PixelBranch(preset, channels)

    def forward(self, pixels: Tensor, place: Tensor, keys: Keys) -> Tensor:
        """pixels (B, C, h, w), their place (h·w, D) → the pixels anew."""
        (queries,) = self.query(tokens_of(self.reduce(F.relu(pixels))) + place)
        found = self.attn(queries, keys.code_keys, keys.code_values)  # Eq. (4)
        anew: Tensor = pixels + self.out(found, pixels.shape[-2:])
        return anew


class InterFrameAttention(nn.Module):
    """A frame looks at its references. What a preset switches off has no weights."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        widths = (preset.key_width, preset.value_width)
        self.code_kv = Projections(preset.dim, widths, preset.norm)
        self.pixel_kv = Projections(preset.dim, widths, preset.norm) if preset.inter_code else None
        self.code = CodeLooksBack(preset) if preset.inter_code else None
        self.pixels = PixelsLookBack(preset, channels) if preset.inter_pixels else None

    def keys(self, code: Tensor, pixels: Tensor) -> Keys:
        """Reduced tokens of references with their places: code (B, n·L, D), pixels (B, n·P, D)."""
        code_keys, code_values = self.code_kv(code)
        pixel_keys, pixel_values = self.pixel_kv(pixels) if self.pixel_kv is not None else (None, None)
        return Keys(code_keys, code_values, pixel_keys, pixel_values)

    def aged(self, keys: Keys, ages: Tensor) -> Keys:
        """In eval: `keys` of tokens to which `ages` (n·L or n·P or 1, D) had been added before they were projected."""
        code_key, code_value = self.code_kv.change(ages)
        moved = keys.code_keys + code_key, keys.code_values + code_value
        if self.pixel_kv is None or keys.pixel_keys is None or keys.pixel_values is None:
            return Keys(*moved, None, None)
        pixel_key, pixel_value = self.pixel_kv.change(ages)
        return Keys(*moved, keys.pixel_keys + pixel_key, keys.pixel_values + pixel_value)

    def forward(self, code: Tensor, pixels: Tensor, places: tuple[Tensor, Tensor], keys: Keys) -> tuple[Tensor, Tensor]:
        """code (B, L, D) and pixels (B, C, h, w) of the frame, with the places (…, D) of both → both anew."""
        code_place, pixel_place = places
        code_anew = code if self.code is None else self.code(code, code_place, keys)
        return code_anew, pixels if self.pixels is None else self.pixels(pixels, pixel_place, keys)


def joined(keys: Sequence[Keys]) -> Keys:
    """Those of several references as one."""
    pixel_keys = [each.pixel_keys for each in keys if each.pixel_keys is not None]
    pixel_values = [each.pixel_values for each in keys if each.pixel_values is not None]
    return Keys(
        torch.cat([each.code_keys for each in keys], 1),
        torch.cat([each.code_values for each in keys], 1),
        torch.cat(pixel_keys, 1) if pixel_keys else None,
        torch.cat(pixel_values, 1) if pixel_values else None,
    )
