from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from toy_films import make_film, number, read, steady

from vistool.video.upright import Orientation, over_black

ONE = 1 << 16
EIGHT = [
    *((a, 0, 0, d) for a, d in itertools.product((1, -1), repeat=2)),
    *((0, b, c, 0) for b, c in itertools.product((1, -1), repeat=2)),
]


def display_matrix(a: int, b: int, c: int, d: int) -> list[int]:
    return [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]


def moved_pixel_by_pixel(image: NDArray[np.uint8], a: int, b: int, c: int, d: int) -> NDArray[np.uint8]:
    """The picture after (x, y) → (a·x + c·y, b·x + d·y), shifted back into view."""
    height, width = image.shape[:2]
    places = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(height) for x in range(width)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    size = (width, height) if a == 0 else (height, width)
    moved = np.zeros((*size, 3), np.uint8)
    for (x, y), colour in places.items():
        moved[y - top, x - left] = colour
    return moved


@pytest.mark.parametrize("turn", EIGHT, ids=str)
def test_an_orientation_moves_pixels_as_its_matrix_does(turn: tuple[int, int, int, int]) -> None:
    image = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)

    orientation = Orientation.of_matrix(struct.pack("=9i", *display_matrix(*turn)))

    np.testing.assert_array_equal(orientation.apply(image), moved_pixel_by_pixel(image, *turn))
    assert orientation.size_hw(3, 5) == orientation.apply(image).shape[:2]


def test_the_eight_matrices_are_eight_orientations() -> None:
    assert len({Orientation.of_matrix(struct.pack("=9i", *display_matrix(*turn))) for turn in EIGHT}) == 8


@pytest.mark.parametrize("turn", EIGHT, ids=str)
def test_films_are_turned_and_mirrored_once(turn: tuple[int, int, int, int], tmp_path: Path) -> None:
    plain = read(make_film(tmp_path / "plain.mp4", steady(2)))[1].image
    film = make_film(tmp_path / "turned.mp4", steady(2), matrix=display_matrix(*turn))

    image = read(film)[1].image

    np.testing.assert_array_equal(image, moved_pixel_by_pixel(plain, *turn))
    assert number(plain) == 1


def test_transparency_lies_over_black() -> None:
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)

    np.testing.assert_array_equal(over_black(rgba), [[[200, 100, 50], [0, 0, 0], [100, 50, 25]]])


def test_an_opaque_picture_keeps_its_colours() -> None:
    rgba = np.dstack([np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8), np.full((4, 5), 255, np.uint8)])

    np.testing.assert_array_equal(over_black(rgba), rgba[..., :3])
