"""Run-length masks agree with dense ones, and with the values worked out by hand."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_strategies import Dense, masks, sizes, stacks
from pycocotools import mask as coco

from vistool import masks as rle
from vistool.types import Rle

BY_HAND = {
    "inside": ((4, 5), (5, 2, 2, 2, 2, 2, 5), b"5220003"),
    "full": ((2, 3), (0, 6), b"06"),
    "empty": ((2, 3), (6,), b"6"),
    "first pixel": ((2, 3), (0, 1, 5), b"015"),
    "three pixels": ((3, 4), (0, 1, 3, 1, 6, 1), b"013030"),
}


@pytest.mark.parametrize(("size_hw", "counts", "text"), BY_HAND.values(), ids=BY_HAND)
def test_both_spellings_agree_with_the_values_worked_out_by_hand(
    size_hw: tuple[int, int], counts: tuple[int, ...], text: bytes
) -> None:
    assert rle.from_counts(counts, size_hw) == Rle(size_hw, text)
    assert rle.to_counts(Rle(size_hw, text)) == counts


@given(masks)
def test_decoding_undoes_encoding(mask: Dense) -> None:
    np.testing.assert_array_equal(rle.decode(rle.encode(mask)), mask)


@given(stacks())
def test_a_stack_is_encoded_as_its_masks_are(stack: Dense) -> None:
    assert rle.encode_stack(stack) == tuple(rle.encode(mask) for mask in stack)


@given(stacks(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_parts_are_encoded_as_whole_masks_are(stack: Dense, top: int, left: int, bottom: int, right: int) -> None:
    whole = np.pad(stack, ((0, 0), (top, bottom), (left, right)))

    parts = rle.encode_parts([(part.T, (top, left)) for part in stack], whole.shape[1:])

    assert parts == tuple(rle.encode(mask) for mask in whole)


def test_a_stack_without_masks_gives_no_masks() -> None:
    assert rle.encode_stack(np.zeros((0, 4, 5), np.bool_)) == ()


@given(masks)
def test_run_lengths_and_json_lead_back_to_the_same_mask(mask: Dense) -> None:
    one = rle.encode(mask)

    assert rle.from_counts(rle.to_counts(one), one.size_hw) == one
    assert rle.from_json(rle.to_json(one)) == one
    assert rle.from_json({"size": list(one.size_hw), "counts": list(rle.to_counts(one))}, one.size_hw) == one


@given(st.lists(st.integers(1, 2**24 - 1), min_size=1, max_size=30))  # with longer runs theirs writes past its buffer
def test_long_runs_are_spelt_as_the_coco_library_spells_them(runs: list[int]) -> None:
    height = sum(runs)
    theirs = coco.frPyObjects({"size": [height, 1], "counts": runs}, height, 1)

    ours = rle.from_counts(runs, (height, 1))

    assert ours.counts == theirs["counts"]
    assert rle.to_counts(ours) == tuple(runs)


def test_runs_of_no_length_vanish() -> None:
    assert rle.to_counts(rle.from_counts([2, 0, 1, 1, 0, 0, 2, 0], (3, 2))) == (3, 1, 2)


@given(masks)
def test_area_and_box_are_those_of_the_pixels(mask: Dense) -> None:
    one = rle.encode(mask)
    rows, columns = np.nonzero(mask)
    tight = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) if len(rows) else None

    assert rle.area(one) == mask.sum()
    assert rle.box_xywh(one) == tight


@given(stacks())
def test_iou_is_symmetric_and_one_on_itself(stack: Dense) -> None:
    some = rle.encode_stack(stack)

    iou = rle.iou_matrix(some, some)

    np.testing.assert_array_equal(iou, iou.T)
    np.testing.assert_array_equal(np.diag(iou), stack.any(axis=(1, 2)))


@given(stacks())
def test_overlaps_are_those_of_the_pixels(stack: Dense) -> None:
    some = rle.encode_stack(stack)
    pixels = stack.reshape(len(stack), -1).astype(np.int64)
    shared = pixels @ pixels.T
    joint = pixels.sum(1)[:, None] + pixels.sum(1) - shared

    np.testing.assert_array_equal(rle.intersection_matrix(some, some), shared)
    np.testing.assert_array_equal(rle.iou_matrix(some, some), shared / np.maximum(joint, 1))


@given(stacks())
def test_overlaps_of_boxes_are_those_of_filled_boxes(stack: Dense) -> None:
    boxes = rle.boxes_xywh(rle.encode_stack(stack))
    filled = np.zeros_like(stack)
    for plane, (x, y, width, height) in zip(filled, boxes, strict=True):
        plane[y : y + height, x : x + width] = True
    some = rle.encode_stack(filled)

    np.testing.assert_array_equal(rle.box_intersection(boxes[:, None], boxes), rle.intersection_matrix(some, some))
    np.testing.assert_array_equal(rle.box_iou(boxes[:, None], boxes), rle.iou_matrix(some, some))


def test_overlaps_with_nothing_have_no_entries() -> None:
    one = rle.encode(np.ones((2, 3), np.bool_))

    assert rle.iou_matrix([], [one]).shape == (0, 1)
    assert rle.intersection_matrix([one], []).shape == (1, 0)


@given(stacks())
def test_merging_is_or_and_and_whatever_the_order(stack: Dense) -> None:
    some = rle.encode_stack(stack)

    assert rle.merge(some) == rle.encode(stack.any(axis=0))
    assert rle.merge(some[::-1], how="intersection") == rle.encode(stack.all(axis=0))


@given(stacks(max_size=1), st.floats(0.01, 100))
def test_one_mask_wins_its_vote(stack: Dense, weight: float) -> None:
    one = rle.encode(stack[0])

    assert rle.majority([one], [weight]) == one
    assert rle.majority([one, one, one], [weight] * 3) == one


@given(stacks(min_size=2), st.data())
def test_the_vote_is_the_weighted_vote_of_the_pixels(stack: Dense, data: st.DataObject) -> None:
    weights = data.draw(arrays(np.int64, len(stack), elements=st.integers(1, 9)))
    votes = np.tensordot(weights, stack.astype(np.int64), axes=1)

    chosen = rle.majority(rle.encode_stack(stack), weights.tolist())

    np.testing.assert_array_equal(rle.decode(chosen), 2 * votes >= weights.sum())


@given(stacks(min_size=2, max_size=4))
def test_a_mask_heavier_than_all_others_together_decides(stack: Dense) -> None:
    some = rle.encode_stack(stack)

    assert rle.majority(some, [10, *[1] * (len(some) - 1)]) == some[0]


@given(masks)
def test_outlines_give_the_filled_mask_back(mask: Dense) -> None:
    one = rle.encode(mask)

    assert rle.from_polygons(rle.to_polygons(one), one.size_hw) == rle.encode(_fill_each_component(mask))


def test_the_outline_of_a_rectangle_has_its_four_corners_on_the_pixel_edges() -> None:
    (outline,) = rle.to_polygons(Rle((4, 5), b"5220003"))

    corners = {(x, y) for x, y in zip(outline[::2], outline[1::2], strict=True)}
    assert corners == {(1, 1), (4, 1), (4, 3), (1, 3)}
    assert len(outline) == 8


COCO_POLYGONS = {
    "through pixel edges": ([1, 1, 3, 1, 3, 3, 1, 3], [(1, 1), (1, 2), (2, 1), (2, 2)]),
    "through pixel centres": (
        [0.5, 0.5, 3.5, 0.5, 3.5, 2.5, 0.5, 2.5],
        [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)],
    ),
    "over the border": ([-3, -2, 2.2, 1, 1, 3.7], [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)]),
    "a line": ([0, 0, 4, 3, 0, 0], []),
}


@pytest.mark.parametrize(("part", "pixels"), COCO_POLYGONS.values(), ids=COCO_POLYGONS)
def test_polygons_fill_the_pixels_that_coco_fills(part: list[float], pixels: list[tuple[int, int]]) -> None:
    mask = rle.decode(rle.from_polygons([part], (4, 5)))

    assert list(zip(*(where.tolist() for where in np.nonzero(mask)), strict=True)) == pixels


def test_no_polygon_is_the_empty_mask() -> None:
    assert rle.from_polygons([], (4, 5)) == rle.empty((4, 5)) == rle.encode(np.zeros((4, 5), np.bool_))


BAD_JSON = {
    "neither mask nor polygons": (7, "expected an object with `size` and `counts`"),
    "no counts": ({"size": [2, 3]}, "expected an object with `size` and `counts`"),
    "size of one number": ({"size": [2], "counts": "6"}, r"not \[height, width\]"),
    "fractions": ({"size": [2, 3], "counts": [1.5, 4.5]}, "neither a string nor a list"),
    "too short": ({"size": [2, 3], "counts": [1, 2]}, "cover 3 pixels, size .* has 6"),
    "too long together": ({"size": [2, 3], "counts": [4, 4]}, "cover 8 pixels, size .* has 6"),
    "too long": ({"size": [2, 3], "counts": "9"}, "longer than the picture: 9"),
    "longer than a number may be": ({"size": [2, 3], "counts": [6, 2**80]}, "longer than any picture"),
    "negative": ({"size": [2, 3], "counts": [6, 1, -1]}, "a run length is negative or longer than the picture: -1"),
    "empty string": ({"size": [2, 3], "counts": ""}, "not a compressed run-length string"),
    "foreign letter": ({"size": [2, 3], "counts": "6é"}, "not a compressed run-length string"),
    "cut string": ({"size": [2, 3], "counts": "P"}, "not a compressed run-length string"),
    "endless number": ({"size": [2, 3], "counts": "P" * 9 + "0"}, "too long"),
    "another size": ({"size": [3, 2], "counts": "6"}, r"`size` is \[3, 2\], expected \[2, 3\]"),
    "a box for a polygon": ([[0, 0, 2, 2]], "polygon 0 has 4 numbers"),
    "an odd polygon": ([[0, 0, 2, 2, 1, 1, 3]], "polygon 0 has 7 numbers"),
    "nested polygons": ([[[0, 0], [2, 2], [1, 1]]], "not a flat list of numbers"),
}


@pytest.mark.parametrize(("obj", "message"), BAD_JSON.values(), ids=BAD_JSON)
def test_a_bad_json_mask_is_refused_with_what_is_wrong(obj: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rle.from_json(obj, (2, 3))


def test_polygons_without_a_size_are_refused() -> None:
    with pytest.raises(ValueError, match="needs the size of the video"):
        rle.from_json([[0, 0, 2, 0, 2, 2]])


@given(sizes)
def test_masks_of_two_sizes_are_not_compared(size_hw: tuple[int, int]) -> None:
    one, other = rle.empty(size_hw), rle.empty((size_hw[0] + 1, size_hw[1]))

    for compare in (
        lambda: rle.iou_matrix([one], [other]),
        lambda: rle.intersection_matrix([one], [other]),
        lambda: rle.merge([one, other]),
        lambda: rle.majority([one, other], [1, 1]),
    ):
        with pytest.raises(ValueError, match="must have one size"):
            compare()


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -2]], ids=["too few", "zero", "negative"])
def test_a_vote_without_proper_weights_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights above 0"):
        rle.majority([rle.empty((2, 3))] * 2, weights)


def _fill_each_component(mask: Dense) -> Dense:
    """Every 4-connected component with what it encloses, by flooding: slow and plain."""
    filled = np.zeros_like(mask)
    seen = np.zeros_like(mask)
    for seed in zip(*np.nonzero(mask), strict=True):
        if not seen[seed]:
            component = _flood(mask, seed, [(0, 1), (0, -1), (1, 0), (-1, 0)])
            seen |= component
            around = np.pad(~component, 1, constant_values=True)
            beside = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            filled |= ~_flood(around, (0, 0), beside)[1:-1, 1:-1]
    return filled


def _flood(allowed: Dense, seed: tuple[int, int], steps: list[tuple[int, int]]) -> Dense:
    reached = np.zeros_like(allowed)
    reached[seed] = True
    queue = deque([seed])
    while queue:
        y, x = queue.popleft()
        for dy, dx in steps:
            to = (y + dy, x + dx)
            inside = 0 <= to[0] < allowed.shape[0] and 0 <= to[1] < allowed.shape[1]
            if inside and allowed[to] and not reached[to]:
                reached[to] = True
                queue.append(to)
    return reached
