"""Which points answer for which object: against plain loops, and by its laws."""

from __future__ import annotations

import pytest
import torch
from condinst_scenes import grid, objects_on
from torch import Tensor

from vistool.nn.boxes import mask_boxes
from vistool.nn.condinst.assignment import RANGES, assign, mass_centres
from vistool.nn.detector import DetectorTargets

SIZE = (160, 256)


def slow(points: Tensor, strides: Tensor, levels: Tensor, targets: DetectorTargets) -> list[int]:
    """One frame, point by point and object by object."""
    pixels = [mask.nonzero().double() + 0.5 for mask in targets.masks]
    middles = [(float(each[:, 0].sum() / len(each)), float(each[:, 1].sum() / len(each))) for each in pixels]
    found = []
    for (x, y), stride, level in zip(points.tolist(), strides.tolist(), levels.tolist(), strict=True):
        best, least = -1, float("inf")
        for n, (x0, y0, x1, y1) in enumerate(targets.boxes.tolist()):
            middle_y, middle_x = middles[n]
            reach = 1.5 * stride
            across = max(middle_x - reach, x0) < x < min(middle_x + reach, x1)
            down = max(middle_y - reach, y0) < y < min(middle_y + reach, y1)
            farthest = max(x - x0, y - y0, x1 - x, y1 - y)
            low, high = RANGES[level]
            area = (x1 - x0) * (y1 - y0)
            if across and down and low <= farthest <= high and area < least:
                best, least = n, area
        found.append(best)
    return found


@pytest.mark.parametrize("counts", [(6, 1, 0), (0, 0), (12,)], ids=str)
def test_the_assignment_equals_the_loops(counts: tuple[int, ...]) -> None:
    pyramid = grid(*SIZE)
    targets = [objects_on(*SIZE, count, seed) for seed, count in enumerate(counts)]

    found = assign(*pyramid, targets)

    assert found.tolist() == [slow(*pyramid, target) for target in targets]
    assert (found >= 0).any() == (sum(counts) > 0)


def rectangle(y0: int, y1: int, x0: int, x1: int, size: tuple[int, int] = SIZE) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def told(*masks: Tensor) -> DetectorTargets:
    planes = torch.stack(masks)
    zeros = torch.zeros(len(masks), dtype=torch.long)
    return DetectorTargets(zeros, zeros, mask_boxes(planes), planes)


def test_the_place_follows_the_mask_and_not_its_box() -> None:
    """A thin arm makes the box wide; nothing of its middle answers for the object."""
    body, arm = rectangle(40, 80, 20, 60), rectangle(58, 62, 60, 140)
    points, strides, levels = grid(*SIZE)

    found = assign(points, strides, levels, [told(body | arm)])[0]

    finest = points[(found == 0) & (levels == 1)]
    centre = mass_centres((body | arm)[None])[0]
    assert len(finest)
    assert ((finest - centre).abs() < 24).all()
    assert (finest[:, 0] < 80).all()  # of the box it is 20 to 140


def test_a_point_of_two_objects_takes_the_smaller_box() -> None:
    large, small = rectangle(20, 90, 20, 110), rectangle(50, 60, 60, 70)
    points, strides, levels = grid(*SIZE)

    both, alone = assign(points, strides, levels, [told(large, small), told(large)])

    shared = (both == 1) & (alone == 0)
    assert shared.any()
    assert (both[~shared & (both != 1)] == alone[~shared & (both != 1)]).all()


@pytest.mark.parametrize(("side", "level"), [(20, 0), (160, 1), (250, 2)])
def test_the_size_of_an_object_decides_its_level(side: int, level: int) -> None:
    size = (256, 256)
    points, strides, levels = grid(*size)
    first = 128 - side // 2

    found = assign(points, strides, levels, [told(rectangle(first, first + side, first, first + side, size))])[0]

    assert set(levels[found == 0].tolist()) == {level}


def test_frames_are_told_apart_and_order_of_objects_does_not_matter() -> None:
    pyramid = grid(*SIZE)
    one, two = objects_on(*SIZE, 5, 3), objects_on(*SIZE, 2, 4)
    turned = DetectorTargets(one.labels.flip(0), one.ids.flip(0), one.boxes.flip(0), one.masks.flip(0))

    together, alone = assign(*pyramid, [one, two]), [assign(*pyramid, [each])[0] for each in (one, two)]
    backwards = assign(*pyramid, [turned])[0]

    assert [row.tolist() for row in together] == [row.tolist() for row in alone]
    assert torch.equal(torch.where(backwards >= 0, 4 - backwards, -1), alone[0])


def test_the_centre_of_mass_of_a_rectangle_is_its_middle_and_of_nothing_the_corner() -> None:
    masks = torch.stack([rectangle(10, 20, 30, 70), torch.zeros(SIZE, dtype=torch.bool)])

    assert mass_centres(masks).tolist() == [[50.0, 15.0], [0.0, 0.0]]
