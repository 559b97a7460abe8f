"""The IFR decoder layer: frame-level queries travel through the frames, clip-level queries gather them (section 3).

Layer-major: a layer visits every frame in order before the next layer begins, so a clip is seen as a whole (offline).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...nn.attention import Attention
from ...nn.mlp import FeedForward
from ...nn.positional import sine_1d
from .presets import Preset

Sublayer = Callable[[Tensor], Tensor]
BlockedAt = Callable[[int, Tensor], Tensor]
"""(frame t, queries of frame t-1 (B, Q, D)) → bool (B, Q, P), pixels that the travelling group may not see (A2)."""


@dataclass(frozen=True, slots=True)
class LevelMemory:
    """One feature level of a clip, projected once for a layer: F_t W_K and F_t W_V of Eq. (2)."""

    keys: Tensor  # (B, T, heads, P, D / heads)
    values: Tensor  # (B, T, heads, P, D / heads)

    def frame(self, t: int) -> tuple[Tensor, Tensor]:
        return self.keys[:, t], self.values[:, t]


class IfrLayer(nn.Module):
    """Eq. (2) and (3) over the frames of one level. The parts carry Mask2Former's names, so its weights load by name.

    All weights are shared over frames and over both query groups (A9). Rows of a cross-attention do not interact and
    the second half of Eq. (3) is discarded, so the clip group, which does not depend on the frame before, is computed
    for all frames at once, and only the travelling group runs in order.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        dim, heads = preset.dim, preset.heads
        self.pre_norm = preset.norm == "pre"  # A4
        self.skip_empty = preset.empty_mask == "skip"  # A3
        self.cross_attn = Attention(dim, heads)
        self.cross_attn_norm = nn.LayerNorm(dim)
        self.self_attn = Attention(dim, heads)
        self.self_attn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, preset.decoder_ffn)
        self.ffn_norm = nn.LayerNorm(dim)

    def remember(self, pixels: Tensor, position: Tensor) -> LevelMemory:
        """pixels (B, T, P, D) with their level code, position (P, D) → keys and values for this layer."""
        return LevelMemory(*self.cross_attn.project_memory(pixels + position, pixels))

    def clip_group(self, queries: Tensor, position: Tensor, memory: LevelMemory, blocked: Tensor | None) -> Tensor:
        """Second half of Eq. (2), every frame at once: queries (B, Q, D), blocked (B, T, Q, P) → (B, T, Q, D)."""
        frames = memory.keys.shape[1]
        spread = queries[:, None].expand(-1, frames, -1, -1).flatten(0, 1)
        flat = None if blocked is None else blocked.flatten(0, 1)
        seen = self._cross(spread, position, memory.keys.flatten(0, 1), memory.values.flatten(0, 1), flat)
        spread_out: Tensor = seen.unflatten(0, (-1, frames))
        return spread_out

    def travel(
        self,
        start: Tensor,
        position: Tensor,
        memory: tuple[Tensor, Tensor],
        blocked: Tensor,
        clip_group: Tensor,
        group_code: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One frame of the travelling group.

        start (B, Q, D), keys and values of the frame, blocked (B, Q, P), the frame's clip group (B, Q, D), group_code
        (2, D) (A6) → frame-level queries after the FFN and after self-attention, both (B, Q, D).
        """
        own = self._cross(start, position + group_code[0], *memory, blocked)
        both = torch.cat([own, clip_group], dim=1)  # (B, 2Q, D): the concatenation of Eq. (2)
        codes = torch.cat([position + group_code[0], position + group_code[1]])

        def attend(x: Tensor) -> Tensor:
            pool = self.self_attn_norm(both) if self.pre_norm else both
            keys, values = self.self_attn.project_memory(pool + codes, pool)
            return self.self_attn.attend(x + codes[: x.shape[1]], keys, values)  # Eq. (3), first half

        mixed = self._residual(own, self.self_attn_norm, attend)
        return self._residual(mixed, self.ffn_norm, self.ffn), mixed

    def _cross(self, queries: Tensor, position: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None) -> Tensor:
        """Masked attention to one frame. A slot with an empty mask sees every pixel, or is left as it is (A3)."""
        if blocked is None:
            return self._residual(
                queries, self.cross_attn_norm, lambda x: self.cross_attn.attend(x + position, keys, values)
            )
        empty = blocked.all(-1, keepdim=True)
        visible = ~blocked | empty
        seen = self._residual(
            queries, self.cross_attn_norm, lambda x: self.cross_attn.attend(x + position, keys, values, visible)
        )
        return torch.where(empty, queries, seen) if self.skip_empty else seen

    def _residual(self, x: Tensor, norm: nn.Module, sublayer: Sublayer) -> Tensor:
        """A4: Mask2Former normalises after the sum."""
        out: Tensor = x + sublayer(norm(x)) if self.pre_norm else norm(x + sublayer(x))
        return out


class ClipUpdate(nn.Module):
    """Clip queries attend to the frame queries of all frames, then to one another (end of section 3).

    `aligned` starts from the slot-wise mean over frames and is pre-norm with zero output projections, so that at
    initialisation it is that mean and Mask2Former's weights keep their meaning. `literal` is the paper's, post-norm.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        dim, heads = preset.dim, preset.heads
        self.aligned = preset.clip_update == "aligned"
        self.temporal_code = preset.temporal_code  # A8
        self.tca = Attention(dim, heads)
        self.csa = Attention(dim, heads)
        self.tca_norm = nn.LayerNorm(dim)
        self.csa_norm = nn.LayerNorm(dim)
        if self.aligned:
            self.tca_memory_norm = nn.LayerNorm(dim)
            for attention in (self.tca, self.csa):
                nn.init.zeros_(attention.out.weight)
                nn.init.zeros_(attention.out.bias)
        if preset.clip_ffn:  # A5
            self.ffn = FeedForward(dim, preset.decoder_ffn)
            self.ffn_norm = nn.LayerNorm(dim)
            nn.init.zeros_(self.ffn.out.weight)
            nn.init.zeros_(self.ffn.out.bias)
        self.has_ffn = preset.clip_ffn

    def forward(self, queries: Tensor, frame_queries: Tensor, position: Tensor) -> Tensor:
        """queries (B, Q, D), frame_queries (B, T, Q, D), position (Q, D) → clip queries of the next layer (B, Q, D)."""
        memory = self.tca_memory_norm(frame_queries) if self.aligned else frame_queries
        keys = (memory + position + self._time(memory)).flatten(1, 2)  # any slot may look at any slot
        kv = self.tca.project_memory(keys, memory.flatten(1, 2))
        updated: Tensor
        if self.aligned:
            updated = frame_queries.mean(1) + self.tca.attend(self.tca_norm(queries) + position, *kv)
            normed = self.csa_norm(updated)
            updated = updated + self.csa(normed + position, normed + position, normed)
        else:
            updated = self.tca_norm(queries + self.tca.attend(queries + position, *kv))
            updated = self.csa_norm(updated + self.csa(updated + position, updated + position, updated))
        if self.has_ffn:
            updated = updated + self.ffn(self.ffn_norm(updated))
        return updated

    def _time(self, memory: Tensor) -> Tensor | float:
        """A8: nothing, or a sine of the frame's number, as it is or divided by the clip's length; (T, 1, D)."""
        if self.temporal_code == "none":
            return 0.0
        frames, dim = memory.shape[1], memory.shape[3]
        return sine_1d(frames, dim, normalise=self.temporal_code == "normalised").to(memory)[:, None]
