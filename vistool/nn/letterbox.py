"""Fits pictures to a network's input size and brings mask logits back. One value that knows both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The sizes between a source and a network: resize to `inner_hw`, then pad bottom and right to `padded_hw`."""

    source_hw: tuple[int, int]
    inner_hw: tuple[int, int]
    padded_hw: tuple[int, int]

    @classmethod
    def fit(
        cls, source_hw: tuple[int, int], *, short_side: int, long_side_max: int = 1333, multiple: int = 32
    ) -> Letterbox:
        """Keep the aspect ratio, bring the short side to `short_side` unless the long one would pass its maximum."""
        short, long = sorted(source_hw)
        scale = min(short_side / short, long_side_max / long)
        height, width = (max(1, round(side * scale)) for side in source_hw)
        padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        return cls(source_hw, (height, width), padded)

    def apply(self, image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """image uint8 (H, W, 3) at `source_hw`; mean, std (3,) of 0..255 → float32 (3, *inner_hw), normalised.

        The resize is bilinear with antialiasing. Padding is the network's own step.
        """
        pixels = image.permute(2, 0, 1)
        if self.inner_hw != self.source_hw:
            pixels = F.interpolate(
                pixels[None], size=self.inner_hw, mode="bilinear", align_corners=False, antialias=True
            )[0]
        return (pixels.float() - mean[:, None, None]) / std[:, None, None]

    def undo(self, mask_logits: Tensor) -> Iterator[Patch]:
        """mask_logits (N, h, w) that cover `padded_hw` → the N masks of the source, each as far as it can reach.

        Upsampled to the padded input, cropped, upsampled to the source, then logit > 0: the published order. Bilinear
        resizing is a product with one matrix a side, and both steps together are one product; a pixel can be positive
        only where a positive logit has a share in it, so only those rows and columns are computed.
        """
        h, w = mask_logits.shape[1:]
        rows = _resizing(h, self.padded_hw[0], self.inner_hw[0], self.source_hw[0])
        columns = _resizing(w, self.padded_hw[1], self.inner_hw[1], self.source_hw[1])
        planes = mask_logits.float().cpu()
        positive = planes.numpy() > 0
        tops, bottoms = rows.reach(np.asarray(positive.any(2)))
        lefts, rights = columns.reach(np.asarray(positive.any(1)))
        for logits, top, bottom, left, right in zip(planes, tops, bottoms, lefts, rights, strict=True):
            if top < bottom and left < right:
                part = columns.matrix[left:right] @ logits.T @ rows.matrix[top:bottom].T
                yield Patch((int(top), int(left)), (part > 0).numpy())
            else:
                yield NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The rectangle of a picture outside of which a mask is empty."""

    corner_yx: tuple[int, int]  # its first pixel
    columns: NDArray[np.bool_]  # (width, height): column by column, as run lengths want it


NOTHING = Patch((0, 0), np.zeros((0, 0), np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class _Resizing:
    """From a line of logits to a line of source pixels."""

    matrix: Tensor  # (pixels, cells)
    first: NDArray[np.int64]  # (cells,) first pixel that a cell, or one after it, has a share in
    last: NDArray[np.int64]  # (cells,) one past the last pixel that a cell, or one before it, has a share in

    def reach(self, positive: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """positive (N, cells) → first and one past the last pixel that can be positive, (N,) each; the same for none.

        Cells of the padding may widen a reach, never narrow it.
        """
        seen = positive.any(1)
        begin = np.where(seen, self.first[positive.argmax(1)], 0)
        end = np.where(seen, self.last[positive.shape[1] - 1 - positive[:, ::-1].argmax(1)], 0)
        return begin, np.maximum(begin, end)


@lru_cache(maxsize=16)
def _resizing(cells: int, padded: int, inner: int, source: int) -> _Resizing:
    line = torch.eye(cells)[None]
    line = F.interpolate(line, size=padded, mode="linear", align_corners=False)[..., :inner]
    matrix = F.interpolate(line, size=source, mode="linear", align_corners=False)[0].T.contiguous()
    shares = matrix.numpy() != 0
    touched = shares.any(0)
    first = np.where(touched, shares.argmax(0), source)
    last = np.where(touched, source - shares[::-1].argmax(0), 0)
    return _Resizing(matrix, np.minimum.accumulate(first[::-1])[::-1], np.maximum.accumulate(last))
