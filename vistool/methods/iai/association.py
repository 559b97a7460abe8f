"""The hybrid association block: what a frame looks like, mixed with what memory says of who was where (section 3.3).

It works on the coarsest map of the backbone, C5. What it makes of it takes the place of C5 in the feature pyramid, so
that the image model sees on every level where known objects were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn.attention import Attention
from ...nn.positional import sine
from .id_bank import ID_BANKS
from .local_attention import LocalAttention
from .memory import Memory, Remembered
from .presets import Preset

GROUPS = 32  # of the norm in the feed-forward part
FFN_KERNEL = 5
EPS = 1e-5
MIXED_GAIN = 5.0
"""Of the last norm in the beginning: the pyramid adds what memory says to finer maps, where it shall still be heard."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameTokens:
    """What memory is made of, without identities; h·w places row by row."""

    queries: Tensor  # (B, h·w, D), Q: what is looked for in memory, and the keys that are remembered
    hidden: Tensor  # (B, h·w, D), z: what values are made of, together with identities


@dataclass(frozen=True, slots=True, eq=False)
class Associated(FrameTokens):
    """What the block makes of B frames."""

    mixed: Tensor  # (B, D, h, w), the block's output F
    c5: Tensor  # (B, C, h, w), in the place of C5

    @property
    def tokens(self) -> FrameTokens:
        """What is needed to remember it, without the maps."""
        return FrameTokens(self.queries, self.hidden)


class HybridAssociation(nn.Module):
    """One layer, pre-norm; `channels` are those of C5."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        dim = preset.dim
        self.memory_heads = preset.memory_heads
        self.encoder_projector = nn.Conv2d(channels, dim, 1)
        rest = channels - 2 * dim if preset.class_channels is None else preset.class_channels
        self.class_projector = nn.Conv2d(channels, rest, 1) if preset.class_projector else None
        self.id_bank = ID_BANKS[preset.id_bank](preset.max_ids + 1, dim)

        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, preset.self_heads)
        self.memory_norm = nn.LayerNorm(dim)
        self.to_query = nn.Linear(dim, dim)
        self.to_value = nn.Linear(dim, dim)
        self.global_out = nn.Linear(dim, dim) if preset.association in ("both", "global") else None
        self.local_attention = (
            LocalAttention(dim, preset.memory_heads, preset.local_window)
            if preset.association in ("both", "local")
            else None
        )
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForwardMap(dim, preset.ffn)
        self.out_norm = nn.LayerNorm(dim)
        self.drop = DropPath(preset.drop_path, preset.drop_path_of)
        self._reset()

    @property
    def out_channels(self) -> int:
        """Of the map that replaces C5."""
        projected = 0 if self.class_projector is None else self.class_projector.out_channels
        return 2 * self.encoder_projector.out_channels + projected

    def forward(self, c5: Tensor, memory: Memory | None) -> Associated:
        """c5 (B, C, h, w); without a memory, a frame sees itself, where nobody is known."""
        size_hw = (c5.shape[2], c5.shape[3])
        projected = self.encoder_projector(c5)
        x = projected.flatten(2).transpose(1, 2)  # X: (B, h·w, D)
        code = position_code(size_hw, x.shape[2], x.device).to(x.dtype)

        y = self.self_norm(x)
        x = x + self.drop(self.self_attention(y + code, y + code, y))
        hidden = self.memory_norm(x)
        queries = self.to_query(hidden)
        if memory is None:
            memory = self._own(c5, queries, hidden)
        x = x + self._read(queries, memory, size_hw)
        x = x + self.drop(self.ffn(self.ffn_norm(x), size_hw))
        mixed = self.out_norm(x).transpose(1, 2).unflatten(2, size_hw)
        parts = [projected, mixed, *([] if self.class_projector is None else [self.class_projector(c5)])]
        return Associated(queries, hidden, mixed, torch.cat(parts, dim=1))

    def remember(self, seen: FrameTokens, id_masks: Tensor) -> Remembered:
        """What memory keeps of a frame; id_masks (B, N + 1, H, W), one channel a place or none."""
        embedding = self.id_bank(id_masks).flatten(2).transpose(1, 2)
        return Remembered(seen.queries, self.to_value(seen.hidden + embedding))

    def _own(self, c5: Tensor, queries: Tensor, hidden: Tensor) -> Memory:
        """What the first frame reads: itself, under a stack of masks in which not even the background is painted."""
        embedding = self.id_bank.nothing(c5).flatten(2).transpose(1, 2)
        memory = Memory(interval=1, most=None)
        memory.add(Remembered(queries, self.to_value(hidden + embedding)), new_objects=False)
        return memory

    def _read(self, queries: Tensor, memory: Memory, size_hw: tuple[int, int]) -> Tensor:
        """Global plus local attention, where the preset has them; queries (B, h·w, D) → (B, h·w, D)."""
        found = []
        if self.global_out is not None:
            q, k, v = (
                x.unflatten(2, (self.memory_heads, -1)).transpose(1, 2)
                for x in (queries, memory.long.keys, memory.long.values)
            )
            found.append(self.global_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))
        if self.local_attention is not None:
            found.append(self.drop(self.local_attention(queries, *memory.short, size_hw)))
        return torch.stack(found).sum(0)

    def _reset(self) -> None:
        """Xavier for every matrix but the projectors, which stay as they are made."""
        nn.init.constant_(self.out_norm.weight, MIXED_GAIN)
        projectors = {self.encoder_projector, self.class_projector}
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module not in projectors:
                nn.init.xavier_uniform_(module.weight)


class NoAssociation(nn.Module):
    """Nothing is remembered, and C5 stays what it is."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, c5: Tensor, memory: Memory | None) -> Associated:
        """c5 (B, C, h, w) → the same, without anything mixed in."""
        nothing = c5.new_zeros(c5.shape[0], 0, *c5.shape[2:])
        tokens = nothing.flatten(2).transpose(1, 2)
        return Associated(tokens, tokens, nothing, c5)

    def remember(self, seen: FrameTokens, id_masks: Tensor) -> Remembered:
        """Of no width."""
        return Remembered(seen.queries, seen.hidden)


class FeedForwardMap(nn.Module):
    """Two linear layers; between them group norm, GELU, gates of channels, and a look around by a depthwise 5x5."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dim, hidden)
        self.norm = nn.GroupNorm(GROUPS, hidden)
        self.gate = ChannelGate(hidden)
        self.around = nn.Conv2d(hidden, hidden, FFN_KERNEL, padding=FFN_KERNEL // 2, groups=hidden, bias=False)
        self.out = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """(B, h·w, D) → (B, h·w, D)."""
        y = self.inner(x).transpose(1, 2).unflatten(2, size_hw)
        y = self.around(self.gate(F.gelu(self.norm(y))))
        out: Tensor = self.out(y.flatten(2).transpose(1, 2))
        return out


class ChannelGate(nn.Module):
    """Gated channel transformation (Yang et al., CVPR 2020): channels compete by how much there is of each.

    Starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, C, h, w)."""
        amount = self.alpha * (x.square().sum((2, 3), keepdim=True) + EPS).sqrt()
        share = amount / (amount.square().mean(1, keepdim=True) + EPS).sqrt()
        return x * (1 + torch.tanh(self.gamma * share + self.beta))


class DropPath(nn.Module):
    """In training, leaves out what a branch adds, here and there, and adds the more of it elsewhere."""

    def __init__(self, share: float, of: str) -> None:
        super().__init__()
        self.share, self.of = share, of

    def forward(self, x: Tensor) -> Tensor:
        """(B, h·w, D); "tokens": places, the same in all B clips; "clips": whole clips."""
        if not self.training or self.share == 0:
            return x
        shape = (1, x.shape[1], 1) if self.of == "tokens" else (x.shape[0], 1, 1)
        kept = torch.rand(shape, device=x.device) >= self.share
        return x * kept / (1 - self.share)


def position_code(size_hw: tuple[int, int], dim: int, device: torch.device) -> Tensor:
    """Sine code of every place, rows in the first half of the channels; counted from 0 to a full turn → (h·w, dim)."""
    height, width = size_hw
    rows, columns = (
        sine(torch.arange(count, device=device) / (count - 1 + 1e-6) * 2 * math.pi, dim // 2) for count in size_hw
    )
    return torch.cat([rows[:, None].expand(-1, width, -1), columns.expand(height, -1, -1)], dim=-1).flatten(0, 1)
