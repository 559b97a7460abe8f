"""The tokens of tracklets over W frames, as the temporal refinement reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TokenWindow:
    """N tracklets on W frames; a row each."""

    tokens: Tensor  # (N, W, D), zeros where nothing was seen
    times: Tensor  # int64 (W,), numbers of the frames
    exists: Tensor  # bool (N, W), the frame is a part of the tracklet
    seen: Tensor  # bool (N, W), there is an embedding


class TokenHistory:
    """Online: what the last W - 1 frames left of the tracklets in sight, side by side in one tensor."""

    def __init__(self, window: int) -> None:
        self._length = window - 1
        self._rows: dict[int, int] = {}  # id → row of `_past`
        self._past: TokenWindow | None = None

    def past(self, ids: Sequence[int], like: Tensor) -> TokenWindow:
        """The frames before this one of the tracklets `ids`; nothing exists of one that is new. `like` (…, D)."""
        past = self._past or _nothing(self._length, like)
        rows = torch.tensor([self._rows.get(each, -1) for each in ids], dtype=torch.int64, device=like.device)
        tokens, exists, seen = (_one_more(each)[rows] for each in (past.tokens, past.exists, past.seen))
        return TokenWindow(tokens, past.times, exists, seen)

    def keep(self, ids: Sequence[int], window: TokenWindow) -> None:
        """What is left of a window when the next frame comes; other tracklets are forgotten."""
        self._rows = {each: row for row, each in enumerate(ids)}
        self._past = TokenWindow(window.tokens[:, 1:], window.times[1:], window.exists[:, 1:], window.seen[:, 1:])


def held(past: TokenWindow) -> Tensor:
    """The latest embedding of each tracklet, (N, D); zeros where there is none."""
    order = torch.arange(1, past.seen.shape[1] + 1, device=past.seen.device) * past.seen
    latest = order.argmax(1)
    tokens: Tensor = past.tokens[torch.arange(len(latest), device=latest.device), latest]
    return tokens


def extended(past: TokenWindow, tokens: Tensor, time: int, seen: Tensor) -> TokenWindow:
    """One frame more: tokens (N, D), seen bool (N,)."""
    return TokenWindow(
        torch.cat([past.tokens, tokens[:, None]], dim=1),
        torch.cat([past.times, past.times.new_tensor([time])]),
        torch.cat([past.exists, torch.ones_like(seen)[:, None]], dim=1),
        torch.cat([past.seen, seen[:, None]], dim=1),
    )


def _nothing(length: int, like: Tensor) -> TokenWindow:
    none = torch.zeros(0, length, dtype=torch.bool, device=like.device)
    times = torch.zeros(length, dtype=torch.int64, device=like.device)
    return TokenWindow(like.new_zeros(0, length, like.shape[-1]), times, none, none)


def _one_more(rows: Tensor) -> Tensor:
    """With a row of zeros at the end, where -1 points to."""
    return torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])
