"""Identities as vectors: what is added to the values of memory where somebody is (section 3.2, Eq. (2)).

A stack of masks has a channel for each of the N identities and one, the last, for the background. Every pixel belongs
to one channel, or to none: on the first frame, before anything is found, nothing is painted at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 32  # pixels a cell of C5
_KERNEL, _PADDING = 33, 16
BANK_STD = 10.0
"""Of fresh vectors of identities: they shall be heard beside what a frame looks like, whose values are of size 1."""


class ConvolutionBank(nn.Module):
    """D1, as released: a vector for each channel and each of 33x33 offsets from the middle of a cell, and a bias.

    A channel without a pixel adds nothing, so it is left out of the convolution: a few objects cost a few channels.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, channels, _KERNEL, _KERNEL))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, id_masks: Tensor) -> Tensor:
        """(B, channels, H, W), sides multiples of 32 → (B, D, H / 32, W / 32)."""
        seen = id_masks.flatten(2).any(-1).any(0)
        seen[-1] = True  # so that there is one
        painted = seen.nonzero()[:, 0]
        stack = id_masks[:, painted].to(self.weight.dtype)
        return F.conv2d(stack, self.weight[:, painted], self.bias, STRIDE, _PADDING)

    def nothing(self, c5: Tensor) -> Tensor:
        """What a stack without a pixel gives, for maps (B, C, h, w) → (B, D, h, w)."""
        return self.bias[:, None, None].expand(c5.shape[0], -1, *c5.shape[2:])


class PixelBank(nn.Module):
    """D1, as printed: a vector for each channel, E = YᵀD, and of a cell the mean over its pixels."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.bank = nn.Parameter(torch.empty(channels, dim))
        nn.init.normal_(self.bank, std=BANK_STD)

    def forward(self, id_masks: Tensor) -> Tensor:
        """(B, channels, H, W), sides multiples of 32 → (B, D, H / 32, W / 32)."""
        shares = F.avg_pool2d(id_masks.to(self.bank.dtype), STRIDE)
        return torch.einsum("bchw,cd->bdhw", shares, self.bank)  # Eq. (2); the mean of rows is the row of the mean

    def nothing(self, c5: Tensor) -> Tensor:
        """What a stack without a pixel gives, for maps (B, C, h, w) → (B, D, h, w)."""
        return self.bank.new_zeros(c5.shape[0], self.bank.shape[1], *c5.shape[2:])


IdBank = ConvolutionBank | PixelBank

ID_BANKS: Mapping[str, Callable[[int, int], IdBank]] = MappingProxyType(
    {"convolution": ConvolutionBank, "pixel": PixelBank}
)


def paint(masks: Tensor, ids: Tensor, channels: int) -> Tensor:
    """Which channel each pixel of a frame belongs to: masks bool (n, H, W), no pixel in two; ids int64 (n,) → (H, W).

    Of several masks of one identity, which only a shared one has, the last counts; the others' pixels belong to none.
    """
    last = {number: row for row, number in enumerate(ids.tolist())}
    picture = torch.full(masks.shape[1:], channels - 1, dtype=torch.int16, device=masks.device)
    for row, number in enumerate(ids.tolist()):
        picture[masks[row]] = number if last[number] == row else channels
    return picture


def as_stacks(pictures: Tensor, channels: int) -> Tensor:
    """pictures (B, H, W) as `paint` makes them → one channel after another, bool (B, channels, H, W)."""
    return pictures[:, None] == torch.arange(channels, device=pictures.device)[:, None, None]
