"""Dynamic masks against a loop over instances and pixels, coordinates and upsampling against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vistool.nn.dynamic_masks import DynamicMaskHead, aligned_bilinear, relative_coordinates


def slowly(kernel: list[float], values: list[float], hidden: int) -> float:
    """One instance at one pixel: 169 numbers and 2 + 8 values in the published case → a logit."""
    numbers = iter(kernel)
    widths = [(len(values), hidden), (hidden, hidden), (hidden, 1)]
    weights = [[[next(numbers) for _ in range(inputs)] for _ in range(outputs)] for inputs, outputs in widths]
    biases = [[next(numbers) for _ in range(outputs)] for _, outputs in widths]
    for number, (rows, bias) in enumerate(zip(weights, biases, strict=True)):
        values = [sum(w * v for w, v in zip(row, values, strict=True)) + b for row, b in zip(rows, bias, strict=True)]
        if number < 2:
            values = [max(v, 0.0) for v in values]
    assert next(numbers, None) is None
    return values[0]


@pytest.mark.parametrize(("features", "hidden", "numbers"), [(8, 8, 169), (3, 5, 66)], ids=["published", "other"])
def test_masks_are_three_layers_on_every_pixel(features: int, hidden: int, numbers: int) -> None:
    head = DynamicMaskHead(features, hidden)
    kernels, maps, coordinates = torch.randn(3, numbers), torch.randn(features, 4, 5), torch.randn(3, 2, 4, 5)

    masks = head.masks(kernels, maps, coordinates)

    assert head.parameters == numbers
    expected = [
        [
            [slowly(k.tolist(), [*place[:, i, j].tolist(), *maps[:, i, j].tolist()], hidden) for j in range(5)]
            for i in range(4)
        ]
        for k, place in zip(kernels, coordinates, strict=True)
    ]
    torch.testing.assert_close(masks, torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_no_instances_have_no_masks() -> None:
    masks = DynamicMaskHead().masks(torch.randn(0, 169), torch.randn(8, 4, 5), torch.randn(0, 2, 4, 5))

    assert masks.shape == (0, 4, 5)
    assert aligned_bilinear(masks, 2).shape == (0, 8, 10)


def test_coordinates_lead_from_the_centre_of_a_pixel_to_the_point() -> None:
    points = torch.tensor([[12.0, 4.0], [-3.5, 100.0]])

    arrows = relative_coordinates(points, (3, 4), stride=8)

    expected = [
        [[[x - (8 * j + 4) for j in range(4)]] * 3, [[y - (8 * i + 4)] * 4 for i in range(3)]] for x, y in points
    ]
    torch.testing.assert_close(arrows, torch.tensor(expected))


def test_a_unit_may_belong_to_each_point_and_turn_the_arrows() -> None:
    """FCOS counts in eight strides of the level that an instance was found on."""
    points, levels = torch.rand(2, 2) * 64, torch.tensor([8.0, 32.0])
    plain = relative_coordinates(points, (3, 4), stride=8)

    scaled, turned = (relative_coordinates(points, (3, 4), 8, unit) for unit in (8 * levels, -1.0))

    torch.testing.assert_close(scaled, torch.stack([plain[0] / 64, plain[1] / 256]))
    torch.testing.assert_close(turned, -plain)


def sampled(plane: Tensor, y: float, x: float) -> float:
    """Bilinear value of a plane (h, w) at y, x in pixels, the first at 0; outside, the nearest pixel."""
    height, width = plane.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = math.floor(y), math.floor(x)
    return sum(
        (1 - abs(y - i)) * (1 - abs(x - j)) * float(plane[i, j])
        for i in {top, min(top + 1, height - 1)}
        for j in {left, min(left + 1, width - 1)}
        if abs(y - i) < 1 and abs(x - j) < 1
    )


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_upsampling_keeps_pixels_where_they_are(factor: int) -> None:
    maps = torch.randn(2, 3, 4)

    fine = aligned_bilinear(maps, factor)

    expected = [
        [
            [sampled(plane, (i - factor // 2) / factor, (j - factor // 2) / factor) for j in range(4 * factor)]
            for i in range(3 * factor)
        ]
        for plane in maps
    ]
    torch.testing.assert_close(fine, torch.tensor(expected), atol=1e-5, rtol=0)
    assert torch.allclose(fine[:, factor // 2 :: factor, factor // 2 :: factor], maps, atol=1e-6)
