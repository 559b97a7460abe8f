"""The association of IAI once more, as plain functions of tensors under their released names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.methods.iai.memory import Memory

LAYER = "lstt.LSTT.layers.0."


class Plain(NamedTuple):
    queries: Tensor  # (B, L, D)
    hidden: Tensor
    mixed: Tensor  # (B, D, h, w)
    c5: Tensor


def local_attention(
    q: Tensor, k: Tensor, v: Tensor, weight: Tensor, bias: Tensor, places: Tensor, size_hw: tuple[int, int]
) -> Tensor:
    """Of one frame: q, k, v (h·w, D), weight (heads·W², D / heads, 1, 1), places (heads, D / heads, W²) → (h·w, D)."""
    heads, depth, count = places.shape
    height, width = size_hw
    reach = math.isqrt(count) // 2
    found = torch.zeros_like(v)
    for head in range(heads):
        part = slice(head * depth, (head + 1) * depth)
        rows = slice(head * count, (head + 1) * count)
        for at in range(height * width):
            y, x = divmod(at, width)
            query = q[at, part]
            relative = weight[rows, :, 0, 0] @ query + bias[rows]
            logits, values = [], []
            for place in range(count):
                row, column = y + place // (2 * reach + 1) - reach, x + place % (2 * reach + 1) - reach
                if 0 <= row < height and 0 <= column < width:
                    there = row * width + column
                    logits.append(query @ k[there, part] / math.sqrt(depth) + relative[place])
                    values.append(v[there, part] + places[head, :, place])
            found[at, part] = torch.stack(logits).softmax(0) @ torch.stack(values)
    return found


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """(B, L, D), (B, M, D), (B, M, D) → (B, L, D), head by head."""
    depth = q.shape[-1] // heads
    parts = [slice(head * depth, (head + 1) * depth) for head in range(heads)]
    shares = [(q[..., p] @ k[..., p].transpose(1, 2) / math.sqrt(depth)).softmax(-1) for p in parts]
    return torch.cat([share @ v[..., p] for share, p in zip(shares, parts, strict=True)], dim=-1)


def position(size_hw: tuple[int, int], dim: int) -> Tensor:
    """(h·w, dim), number by number."""
    height, width = size_hw
    code = torch.zeros(height, width, dim)
    for y in range(height):
        for x in range(width):
            for half, value in enumerate((y / (height - 1 + 1e-6), x / (width - 1 + 1e-6))):
                for i in range(dim // 2):
                    angle = value * 2 * math.pi / 10000 ** (2 * (i // 2) / (dim // 2))
                    code[y, x, half * dim // 2 + i] = math.sin(angle) if i % 2 == 0 else math.cos(angle)
    return code.flatten(0, 1)


def block(published: dict[str, Tensor], c5: Tensor, memory: Memory | None, *, heads: int, association: str) -> Plain:
    """c5 (B, C, h, w); without a memory, the frame's own, nothing painted."""
    size_hw = (c5.shape[2], c5.shape[3])

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ published[f"{name}.weight"].T + published[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        return x * published[f"{name}.weight"] + published[f"{name}.bias"]

    def projected(name: str) -> Tensor:
        return (
            torch.einsum("bchw,dc->bdhw", c5, published[f"{name}.weight"][:, :, 0, 0])
            + published[f"{name}.bias"][:, None, None]
        )

    encoded = projected("encoder_projector")
    x = encoded.flatten(2).transpose(1, 2)
    y = norm(LAYER + "norm2", x)
    placed = y + position(size_hw, x.shape[-1])
    own = LAYER + "self_attn."
    q, k, v = (linear(f"{own}linear_{letter}", each) for letter, each in zip("QKV", (placed, placed, y), strict=True))
    x = x + linear(f"{own}projection", attention(q, k, v, 4))
    hidden = norm(LAYER + "norm1", x)
    queries = linear(LAYER + "linear_Q", hidden)
    if memory is None:
        values = linear(LAYER + "linear_V", hidden + published["lstt.patch_wise_id_bank.bias"])
        short = long = (queries, values)
    else:
        short, long = memory.short, memory.long
    if association in ("both", "global"):
        seen = attention(queries, *long, heads)
        x = x + linear(LAYER + "long_term_attn.projection", seen)
    if association in ("both", "local"):
        near = LAYER + "short_term_attn."
        places = published[near + "V_bias"][0, ..., 0]
        weights = published[near + "relative_emb.weight"], published[near + "relative_emb.bias"], places
        rows = zip(queries, *short, strict=True)
        x = x + linear(near + "fc", torch.stack([local_attention(*row, *weights, size_hw) for row in rows]))
    y = linear(LAYER + "linear1", norm(LAYER + "norm3", x)).transpose(1, 2).unflatten(2, size_hw)
    act = LAYER + "activation."
    y = F.gelu(F.group_norm(y, 32, published[act + "gn.weight"], published[act + "gn.bias"]))
    amount = published[act + "GCT.alpha"] * (y.pow(2).sum((2, 3), keepdim=True) + 1e-5).sqrt()
    share = published[act + "GCT.gamma"] * amount / (amount.pow(2).mean(1, keepdim=True) + 1e-5).sqrt()
    y = y * (1 + torch.tanh(share + published[act + "GCT.beta"]))
    y = F.conv2d(y, published[act + "conv.weight"], padding=2, groups=y.shape[1])
    x = x + linear(LAYER + "linear2", y.flatten(2).transpose(1, 2))
    mixed = norm("lstt.LSTT.decoder_norms.0", x).transpose(1, 2).unflatten(2, size_hw)
    parts = [encoded, mixed, *([projected("backbone_projector")] if "backbone_projector.weight" in published else [])]
    return Plain(queries, hidden, mixed, torch.cat(parts, dim=1))


def embedding(published: dict[str, Tensor], stack: Tensor) -> Tensor:
    """stack (channels, H, W) → (D, h, w): the sum over the pixels of a patch, a vector for each place and channel."""
    bank, bias = published["lstt.patch_wise_id_bank.weight"], published["lstt.patch_wise_id_bank.bias"]
    wide = F.pad(stack, (16, 16, 16, 16)).to(bank.dtype)
    height, width = stack.shape[1] // 32, stack.shape[2] // 32
    found = torch.zeros(len(bias), height, width)
    for y in range(height):
        for x in range(width):
            patch = wide[:, 32 * y : 32 * y + 33, 32 * x : 32 * x + 33]
            found[:, y, x] = bias + (bank * patch).sum((1, 2, 3))
    return found


def one_hot(cells: Sequence[Sequence[int]], channels: int) -> Tensor:
    """Cells of 32x32 pixels by the channel that fills them → bool (1, channels, H, W)."""
    fine = torch.tensor(cells).repeat_interleave(32, 0).repeat_interleave(32, 1)
    return (fine == torch.arange(channels)[:, None, None])[None]
