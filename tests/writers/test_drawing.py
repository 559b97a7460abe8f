"""The overlay's picture: only what is asked for changes, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vistool import masks
from vistool.types import Category, FramePrediction, Rle
from vistool.writers.drawing import Painter, decode_box
from vistool.writers.palette import track_colour
from vistool.writers.style import OverlayStyle, StyleKind

KINDS: list[StyleKind] = ["fill", "contour", "box", "id"]
CATEGORIES = (Category(1, "ring"), Category(2, "a class with a rather long name"))
Image = NDArray[np.uint8]


def _disc(size_hw: tuple[int, int], row: float, column: float, radius: float) -> Rle:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    return masks.encode((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def _prediction(*rles: Rle, first_id: int = 1, label: int = 0) -> FramePrediction:
    count = len(rles)
    ids = np.arange(first_id, first_id + count, dtype=np.int64)
    return FramePrediction(0, ids, np.full(count, label, np.int64), np.full(count, 0.5, np.float32), rles)


def _draw(image: Image, prediction: FramePrediction, style: OverlayStyle) -> Image:
    return Painter(CATEGORIES, (image.shape[0], image.shape[1]), style).draw(image, prediction)


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 2**32 - 1), density=st.floats(0.01, 1))
def test_decoding_a_box_is_decoding_all_and_cutting(height: int, width: int, seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    mask[height // 2, width // 2] = True
    rle = masks.encode(mask)
    box = masks.box_xywh(rle)
    assert box is not None
    x, y, box_width, box_height = box

    np.testing.assert_array_equal(decode_box(rle, box), mask[y : y + box_height, x : x + box_width])


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_picture_stays_as_it_was(kind: StyleKind) -> None:
    image = np.full((120, 160, 3), 99, np.uint8)

    drawn = _draw(image, _prediction(_disc((120, 160), 60, 80, 30)), OverlayStyle(kind))

    assert (image == 99).all()
    assert (drawn != 99).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 300), (300, 2), (16, 16), (32, 32), (64, 64), (90, 1000), (700, 70)])
@pytest.mark.parametrize("label", [0, 1])
def test_pictures_of_any_size_are_drawn_on(kind: StyleKind, size_hw: tuple[int, int], label: int) -> None:
    image = np.zeros((*size_hw, 3), np.uint8)
    everywhere, corner = _disc(size_hw, 0, 0, 2000), _disc(size_hw, size_hw[0] - 1, size_hw[1] - 1, 1)

    drawn = _draw(image, _prediction(everywhere, corner, first_id=123456, label=label), OverlayStyle(kind))

    assert drawn.shape == image.shape
    assert drawn.any()


@pytest.mark.parametrize("kind", KINDS)
def test_tracks_that_are_not_asked_for_are_not_drawn(kind: StyleKind) -> None:
    image = np.full((120, 160, 3), 99, np.uint8)
    left, right = _disc((120, 160), 60, 40, 20), _disc((120, 160), 60, 120, 20)

    both = _draw(image, _prediction(left, right), OverlayStyle(kind, ids=frozenset({2})))
    alone = _draw(image, _prediction(right, first_id=2), OverlayStyle(kind))

    np.testing.assert_array_equal(both, alone)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_a_fill_mixes_the_picture_with_the_colour_of_the_track(alpha: float) -> None:
    image = np.full((300, 300, 3), 100, np.uint8)

    drawn = _draw(image, _prediction(_disc((300, 300), 150, 150, 90), first_id=5), OverlayStyle("fill", alpha))

    expected = 100 * (1 - alpha) + alpha * np.array(track_colour(5))
    np.testing.assert_allclose(drawn[150, 150], expected, atol=0.5)


@pytest.mark.parametrize("kind", ["contour", "box"])
def test_contours_and_boxes_leave_the_inside_free(kind: StyleKind) -> None:
    image = np.full((300, 300, 3), 100, np.uint8)

    drawn = _draw(image, _prediction(_disc((300, 300), 150, 150, 90)), OverlayStyle(kind))

    assert (drawn[120:180, 120:180] == 100).all()


def test_an_instance_without_a_pixel_is_not_drawn() -> None:
    image = np.full((120, 160, 3), 99, np.uint8)

    drawn = _draw(image, _prediction(masks.empty((120, 160))), OverlayStyle())

    np.testing.assert_array_equal(drawn, image)


def test_a_small_object_is_drawn_over_a_large_one_in_whatever_order_they_come() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    large, small = _disc((300, 300), 150, 150, 120), _disc((300, 300), 150, 150, 30)
    ids, labels, scores = np.array([1, 2]), np.zeros(2, np.int64), np.ones(2, np.float32)

    one = _draw(image, FramePrediction(0, ids, labels, scores, (large, small)), OverlayStyle())
    other = _draw(image, FramePrediction(0, ids[::-1], labels, scores, (small, large)), OverlayStyle())

    np.testing.assert_array_equal(one, other)


def test_tags_do_not_cover_each_other_while_there_is_room() -> None:
    image = np.zeros((360, 640, 3), np.uint8)
    side_by_side = [_disc((360, 640), 200, 300 + 4 * shift, 20) for shift in range(3)]

    drawn = _draw(image, _prediction(*side_by_side), OverlayStyle("box"))

    more_than_a_box = 500  # pixels; a tag has about a thousand
    painted = [(drawn == track_colour(track_id)).all(axis=-1).sum() for track_id in (1, 2, 3)]
    assert min(painted) > more_than_a_box
