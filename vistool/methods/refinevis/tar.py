"""Temporal attention refinement, TAR (Eq. 4): each tracklet looks at itself over W frames, and at nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...nn.attention import Attention
from ...nn.mlp import FeedForward
from ...nn.positional import sine
from .presets import Preset


class TemporalRefinement(nn.Module):
    """One attention layer and one feed-forward layer over the tokens of a tracklet.

    With norms before each part and the code in queries and keys it starts as the identity: both parts are residual and
    their output layers are zero. With norms after each part it starts at random, as the paper has it.
    """

    def __init__(self, preset: Preset, dim: int) -> None:
        super().__init__()
        self.preset = preset
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, preset.tar_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, preset.tar_ffn)
        if preset.norm == "pre":  # R1
            for linear in (self.attention.out, self.ffn.out):
                nn.init.zeros_(linear.weight)

    def forward(
        self, tokens: Tensor, times: Tensor, exists: Tensor, seen: Tensor, *, last: int | None = None
    ) -> Tensor:
        """tokens (N, W, D), zero where `seen` is false → refined (N, W, D), or (N, L, D) of the last L alone.

        times (W,) or (N, W): numbers of the frames. exists bool (N, W): the frame is a part of the tracklet, though the
        object may be missing there. seen bool (N, W): the token holds an embedding. What does not exist is seen by
        nobody, and what is told of it means nothing.
        """
        code = self._code(times, exists, tokens.shape[-1])
        if self.preset.position == "input":  # R2
            tokens, code = tokens + code, torch.zeros_like(code)
        pre = self.preset.norm == "pre"
        values = self.norm1(tokens) if pre else tokens
        coded = values + code
        asking = slice(None if last is None else -last, None)
        visible = self._visible(exists, seen)[:, asking]
        found = tokens[:, asking] + self.attention(coded[:, asking], coded, values, visible)  # Eq. (4), MSA
        if pre:
            refined: Tensor = found + self.ffn(self.norm2(found))  # Eq. (4), FFN
        else:
            found = self.norm1(found)
            refined = self.norm2(found + self.ffn(found))
        return refined

    def _visible(self, exists: Tensor, seen: Tensor) -> Tensor:
        """Which token looks at which, bool (N, W, W); each looks at itself, so that no row is empty."""
        keys = exists if self.preset.missing_keys == "attended" else exists & seen  # R4
        return keys[:, None] | torch.eye(exists.shape[1], dtype=torch.bool, device=exists.device)

    def _code(self, times: Tensor, exists: Tensor, dim: int) -> Tensor:
        """(W, D) or (N, W, D)."""
        times = times.to(exists.device)
        if self.preset.times == "relative":  # R3
            first = torch.where(exists, times, times.amax()).amin(-1, keepdim=True)
            times = times - first
        return sine(times.float(), dim)


def refine_online(tar: TemporalRefinement, tokens: Tensor, times: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Frame by frame, each from what was refined before it: tokens (N, T, D), zero where not `seen`, times (N, T).

    → refined (N, T, D), and where there was a tracklet yet, bool (N, T): from the first frame with a token on.
    """
    exists = seen.cumsum(1) > 0
    left = seen | tar.preset.write_back  # R8
    past: list[Tensor] = []
    refined = []
    for t in range(tokens.shape[1]):
        window = slice(max(0, t + 1 - tar.preset.window), t + 1)
        known = torch.cat([left[:, :t], seen[:, t : t + 1]], dim=1)[:, window]
        latest = torch.stack([*past, tokens[:, t]], dim=1)[:, window]
        found = tar(latest, times[:, window], exists[:, window], known, last=1)[:, 0]
        refined.append(found)
        past.append(found * (left & exists)[:, t, None])
    return torch.stack(refined, dim=1), exists
