"""Boxes: overlaps by counting pixels, laws of suppression."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vistool.nn.boxes import (
    inverse_sigmoid,
    mask_boxes,
    nms,
    paired_giou,
    paired_iou,
    pairwise_giou,
    pairwise_iou,
    suppressed,
    to_cxcywh,
    to_xyxy,
)


def random_corners(count: int, size: int = 12) -> Tensor:
    """Boxes of whole pixels within a square of `size`, at least one pixel each."""
    first = torch.randint(0, size - 1, (count, 2))
    extent = 1 + (torch.rand(count, 2) * (size - first)).long()
    return torch.cat([first, first + extent], dim=-1).float()


def painted(box: Tensor, size: int = 12) -> Tensor:
    """The pixels of one box, bool (size, size)."""
    x0, y0, x1, y1 = box.int().tolist()
    plane = torch.zeros(size, size, dtype=torch.bool)
    plane[y0:y1, x0:x1] = True
    return plane


def counted_iou(a: Tensor, b: Tensor) -> float:
    first, second = painted(a), painted(b)
    return float((first & second).sum() / (first | second).sum())


def counted_giou(a: Tensor, b: Tensor) -> float:
    union = (painted(a) | painted(b)).sum()
    hull = painted(torch.cat([torch.minimum(a, b)[:2], torch.maximum(a, b)[2:]])).sum()
    return counted_iou(a, b) - float((hull - union) / hull)


def test_corners_and_centres_undo_one_another() -> None:
    boxes = torch.rand(5, 4)

    torch.testing.assert_close(to_cxcywh(to_xyxy(boxes)), boxes)
    torch.testing.assert_close(to_xyxy(torch.tensor([3.0, 5.0, 2.0, 4.0])), torch.tensor([2.0, 3.0, 4.0, 7.0]))


@pytest.mark.parametrize(
    ("pairwise", "counted"), [(pairwise_iou, counted_iou), (pairwise_giou, counted_giou)], ids=["iou", "giou"]
)
def test_overlaps_are_those_of_counted_pixels(
    pairwise: Callable[[Tensor, Tensor], Tensor], counted: Callable[[Tensor, Tensor], float]
) -> None:
    a, b = random_corners(20), random_corners(15)

    expected = torch.tensor([[counted(one, other) for other in b] for one in a])

    torch.testing.assert_close(pairwise(a, b), expected)


def test_row_by_row_is_the_diagonal_of_everyone_with_everyone() -> None:
    a, b = random_corners(20), random_corners(20)

    torch.testing.assert_close(paired_iou(a, b), pairwise_iou(a, b).diagonal())
    torch.testing.assert_close(paired_giou(a, b), pairwise_giou(a, b).diagonal())


def test_a_batch_of_pairs_is_each_pair() -> None:
    a, b = random_corners(12).view(3, 4, 4), random_corners(15).view(3, 5, 4)

    expected = torch.stack([pairwise_giou(one, other) for one, other in zip(a, b, strict=True)])

    torch.testing.assert_close(pairwise_giou(a, b), expected)


def test_a_box_without_an_area_overlaps_nothing_and_has_finite_gradients() -> None:
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]], requires_grad=True)

    overlap = paired_iou(point, point) + paired_giou(point, point)
    overlap.sum().backward()

    assert overlap.item() == 0
    assert point.grad is not None and point.grad.isfinite().all()


def test_generalised_iou_pulls_boxes_together_that_are_apart() -> None:
    near = torch.tensor([[0.0, 0.0, 2.0, 2.0]], requires_grad=True)

    paired_giou(near, torch.tensor([[5.0, 0.0, 7.0, 2.0]])).sum().backward()

    assert near.grad is not None and near.grad[0, 2] > 0  # the right edge wants to move right


def test_the_box_of_a_painted_box_is_that_box() -> None:
    boxes = random_corners(20)

    assert torch.equal(mask_boxes(torch.stack([painted(box) for box in boxes])), boxes)


def test_the_box_of_a_mask_holds_every_pixel_and_no_row_or_column_can_go() -> None:
    masks = torch.rand(50, 9, 11) < 0.05

    for mask, box in zip(masks, mask_boxes(masks).int().tolist(), strict=True):
        x0, y0, x1, y1 = box
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum()
        if mask.any():
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        else:
            assert box == [0, 0, 0, 0]


def test_the_inverse_sigmoid_undoes_the_sigmoid_and_is_finite_at_both_ends() -> None:
    shares = torch.rand(100) * 0.99 + 0.005
    torch.testing.assert_close(inverse_sigmoid(shares).sigmoid(), shares)

    ends = inverse_sigmoid(torch.tensor([-5.0, 0.0, 0.5, 1.0, 1e8]))
    limit = float(torch.tensor(1e5).log())
    torch.testing.assert_close(ends, torch.tensor([-limit, -limit, 0.0, limit, limit]))


def slow_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    """The definition: always take the best of what is left, and drop what overlaps it."""
    left, kept = list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda row: float(scores[row]))
        kept.append(best)
        left.remove(best)
        left = [r for r in left if labels[r] != labels[best] or counted_iou(boxes[r], boxes[best]) <= threshold]
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_suppression_within_classes_is_the_definition(threshold: float) -> None:
    boxes, scores, labels = random_corners(60), torch.rand(60), torch.randint(0, 3, (60,))

    assert nms(boxes, scores, labels, threshold).tolist() == slow_nms(boxes, scores, labels, threshold)


def test_a_suppressed_row_suppresses_nothing() -> None:
    overlaps = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.0, 0.6], [0.0, 0.6, 1.0]])

    assert suppressed(overlaps, 0.5).tolist() == [False, True, False]


def test_of_equal_scores_the_earlier_row_is_kept() -> None:
    boxes = random_corners(1).expand(4, 4)

    assert nms(boxes, torch.ones(4), torch.zeros(4, dtype=torch.int64), 0.5).tolist() == [0]


def test_nothing_in_gives_nothing_out() -> None:
    none = torch.zeros(0, 4)

    assert nms(none, torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5).shape == (0,)
    assert pairwise_iou(none, random_corners(3)).shape == (0, 3)
    assert mask_boxes(torch.zeros(0, 4, 5, dtype=torch.bool)).shape == (0, 4)
