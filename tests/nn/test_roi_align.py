"""What boxes show of a pyramid: against plain loops over boxes, bins, points and corners, and by its laws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from vistool.nn.mask_rcnn.roi_align import crops, levels_of, roi_align

STRIDES = (4, 8, 16, 32)
BINS = 3


def read(plane: Tensor, y: float, x: float) -> Tensor:
    """Bilinear value of planes (C, h, w) at one point, border repeated for a pixel around, zero beyond."""
    height, width = plane.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.new_zeros(len(plane))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[:, top, left] * (1 - (x - left)) + plane[:, top, right] * (x - left)
    lower = plane[:, bottom, left] * (1 - (x - left)) + plane[:, bottom, right] * (x - left)
    return upper * (1 - (y - top)) + lower * (y - top)


def slow(plane: Tensor, box: list[float], bins: int, samples: int | None) -> Tensor:
    """One box in pixels of planes (C, h, w); without `samples` about one a pixel → (C, bins, bins)."""
    x0, y0, x1, y1 = box
    width, height = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
    across, down = samples or math.ceil(width / bins), samples or math.ceil(height / bins)
    shown = torch.zeros(len(plane), bins, bins)
    for row, column in itertools.product(range(bins), range(bins)):
        values = [
            read(
                plane,
                y0 + (row + (i + 0.5) / down) * height / bins,
                x0 + (column + (j + 0.5) / across) * width / bins,
            )
            for i in range(down)
            for j in range(across)
        ]
        shown[:, row, column] = torch.stack(values).mean(0)
    return shown


def random_maps(frames: int = 2, channels: int = 3) -> list[Tensor]:
    return [torch.randn(frames, channels, 64 // stride, 96 // stride) for stride in STRIDES]


def random_boxes(count: int) -> Tensor:
    """Of all sizes, some of them partly or wholly outside of 64 x 96 pixels."""
    middle = torch.rand(count, 2) * torch.tensor([130.0, 90.0]) - 15
    half = torch.rand(count, 2) ** 3 * 60
    return torch.cat([middle - half, middle + half], dim=-1)


def scene(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, frames and levels."""
    edges = torch.tensor([[0.0, 0, 96, 64], [5, 5, 5, 5], [-40, -40, -20, -20], [90, 60, 96, 64], [96, 64, 96, 64]])
    boxes = torch.cat([random_boxes(count), edges])
    return boxes, torch.randint(0, 2, (len(boxes),)), torch.randint(0, 4, (len(boxes),))


def by_loops(maps: list[Tensor], boxes: Tensor, frames: Tensor, levels: Tensor) -> Tensor:
    rows = zip(boxes, frames.tolist(), levels.tolist(), strict=True)
    return torch.stack(
        [slow(maps[level][frame], (box / STRIDES[level]).tolist(), BINS, 2) for box, frame, level in rows]
    )


def test_what_boxes_show_equals_the_loops() -> None:
    maps, (boxes, frames, levels) = random_maps(), scene(20)

    shown = roi_align(maps, boxes, frames, levels, BINS)

    torch.testing.assert_close(shown, by_loops(maps, boxes, frames, levels), atol=1e-5, rtol=1e-5)
    assert 0 < (shown == 0).all(1).float().mean() < 0.5  # some boxes lie outside, most do not


def test_gradients_equal_those_of_the_loops() -> None:
    maps, (boxes, frames, levels) = random_maps(channels=2), scene(6)
    leaves = [each.requires_grad_() for each in maps]
    direction = torch.randn(len(boxes), 2, BINS, BINS)

    fast = torch.autograd.grad((roi_align(leaves, boxes, frames, levels, BINS) * direction).sum(), leaves)
    plain = torch.autograd.grad((by_loops(leaves, boxes, frames, levels) * direction).sum(), leaves, allow_unused=True)

    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, atol=1e-5, rtol=1e-5)


def test_a_ramp_is_read_where_the_bin_lies() -> None:
    """Pixel i of a map stands for the point i·stride: a map of its columns' numbers tells x / stride."""
    ramp = torch.arange(24.0).expand(1, 1, 16, 24)
    box = torch.tensor([[8.0, 8.0, 64.0, 40.0]])

    shown = roi_align([ramp], box, torch.tensor([0]), torch.tensor([0]), 7)

    middles = 8 + (torch.arange(7) + 0.5) * 56 / 7
    torch.testing.assert_close(shown[0, 0], (middles / 4).expand(7, 7))


def test_no_boxes_show_nothing_and_have_gradients() -> None:
    maps = [each.requires_grad_() for each in random_maps()]
    none = torch.zeros(0, dtype=torch.int64)

    shown = roi_align(maps, torch.zeros(0, 4), none, none, 7)
    shown.sum().backward()

    assert shown.shape == (0, 3, 7, 7)
    assert all(each.grad is not None and not each.grad.any() for each in maps)


@pytest.mark.parametrize(
    ("side", "level"),
    [(0.0, 0), (10.0, 0), (111.9, 0), (112.0, 1), (223.9, 1), (224.0, 2), (447.9, 2), (448.0, 3), (3000.0, 3)],
)
def test_the_level_of_a_box_goes_by_the_side_of_its_area(side: float, level: int) -> None:
    square = torch.tensor([[3.0, 5.0, 3.0 + side, 5.0 + side]])
    long = torch.tensor([[0.0, 0.0, side * 4, side / 4]])

    assert levels_of(square, 224.0, 4).tolist() == [level]
    assert levels_of(long, 224.0, 4).tolist() == [level]


def test_crops_of_masks_equal_the_loops() -> None:
    masks = torch.rand(4, 30, 40) < 0.5
    boxes = random_boxes(25) * 0.4
    objects = torch.randint(0, 4, (25,))

    shown = crops(masks, objects, boxes, 5)

    plain = [slow(masks[row][None].float(), box.tolist(), 5, None)[0] for row, box in zip(objects, boxes, strict=True)]
    torch.testing.assert_close(shown, torch.stack(plain), atol=1e-5, rtol=1e-5)


def test_the_inside_of_a_mask_is_full_and_its_outside_empty() -> None:
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 8:24, 8:24] = True

    inside, outside = crops(
        mask, torch.zeros(2, dtype=torch.int64), torch.tensor([[9.0] * 2 + [22] * 2, [0, 0, 7, 7]]), 4
    )

    assert torch.equal(inside, torch.ones(4, 4))
    assert torch.equal(outside, torch.zeros(4, 4))


def test_no_boxes_have_no_crops() -> None:
    assert crops(
        torch.zeros(0, 8, 8, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 28
    ).shape == (0, 28, 28)
