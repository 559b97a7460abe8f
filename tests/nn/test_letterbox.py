"""Sizes there and back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from vistool.nn.letterbox import Letterbox, Patch

SIDES = st.integers(1, 3000)


def picture(patch: Patch, size_hw: tuple[int, int]) -> torch.Tensor:
    """The whole mask, bool (H, W)."""
    mask = torch.zeros(size_hw, dtype=torch.bool)
    top, left = patch.corner_yx
    width, height = patch.columns.shape
    mask[top : top + height, left : left + width] = torch.from_numpy(patch.columns.T)
    return mask


@given(SIDES, SIDES, st.integers(16, 800))
def test_the_fit_keeps_the_shape_within_a_pixel_and_the_padding_below_a_stride(h: int, w: int, short: int) -> None:
    box = Letterbox.fit((h, w), short_side=short)

    scale = min(short / min(h, w), 1333 / max(h, w))
    assert abs(box.inner_hw[0] - h * scale) <= 1
    assert abs(box.inner_hw[1] - w * scale) <= 1
    assert all(0 <= padded - inner < 32 for padded, inner in zip(box.padded_hw, box.inner_hw, strict=True))
    assert all(padded % 32 == 0 for padded in box.padded_hw)


@pytest.mark.parametrize("source_hw", [(96, 160), (121, 161), (50, 400), (33, 35), (20, 30)])
@pytest.mark.parametrize("level", [0.0, 2.0, 3.5, 9.0], ids=["everywhere", "spots", "few spots", "nowhere"])
def test_undo_is_upsample_crop_upsample_threshold(source_hw: tuple[int, int], level: float) -> None:
    box = Letterbox.fit(source_hw, short_side=64)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, box.padded_hw[0] // 4, box.padded_hw[1] // 4, generator=generator) - level

    masks = torch.stack([picture(patch, source_hw) for patch in box.undo(logits)])

    full = F.interpolate(logits[None], size=box.padded_hw, mode="bilinear", align_corners=False)
    cropped = full[..., : box.inner_hw[0], : box.inner_hw[1]]
    plain = F.interpolate(cropped, size=source_hw, mode="bilinear", align_corners=False)[0] > 0
    assert (masks != plain).float().mean() < 1e-3  # the order of the two axes moves a logit by an ulp


def test_what_is_seen_in_the_padding_alone_is_not_in_the_picture() -> None:
    box = Letterbox((50, 70), (50, 70), (96, 96))
    logits = torch.full((1, 24, 24), -1.0)
    logits[:, 20:, 20:] = 5.0

    (patch,) = box.undo(logits)

    assert not picture(patch, box.source_hw).any()


@pytest.mark.parametrize("source_hw", [(96, 160), (270, 480)])
def test_a_large_mask_comes_back_where_it_was(source_hw: tuple[int, int]) -> None:
    box = Letterbox.fit(source_hw, short_side=96)
    height, width = source_hw
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = 255

    seen = box.apply(image, torch.full((3,), 127.5), torch.ones(3))[:1]
    small = F.interpolate(
        F.pad(seen, (0, box.padded_hw[1] - box.inner_hw[1], 0, box.padded_hw[0] - box.inner_hw[0]), value=-127.5)[None],
        scale_factor=0.25,
        mode="area",
    )[0]
    back = picture(next(box.undo(small)), source_hw)

    truth = image[..., 0] > 0
    assert (back & truth).sum() / (back | truth).sum() > 0.85


def test_no_mask_gives_no_mask() -> None:
    box = Letterbox.fit((50, 70), short_side=32)

    assert list(box.undo(torch.zeros(0, 8, 12))) == []
