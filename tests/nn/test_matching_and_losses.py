"""Matching and losses: laws, brute force at small size, and formulas written out."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.nn import matching
from vistool.nn.losses import cross_entropy, mask_losses, sigmoid_focal, target_classes
from vistool.nn.matching import bce_cost, dice_cost, gather_slots, match
from vistool.nn.points import sample, uncertain_points
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.targets import ClipTargets

SIZES = Mask2FormerSizes(backbone="resnet-tiny", num_classes=3, queries=5, loss_points=400)


def halves(count: int, size: int = 16) -> Tensor:
    """bool (count, 1, size, size): mask n covers the n-th of `count` vertical bands."""
    columns = torch.arange(size) * count // size
    return (columns == torch.arange(count)[:, None]).view(count, 1, 1, size).expand(-1, -1, size, -1)


def perfect(targets: ClipTargets, slots: list[int], predictions: int = 1) -> tuple[Tensor, Tensor]:
    """Class probabilities (L, 1, Q, K) and mask logits (L, 1, Q, T, h, w) that say the truth in `slots`."""
    probs = torch.full((predictions, 1, SIZES.queries, SIZES.num_classes), 0.01)
    logits = torch.full((predictions, 1, SIZES.queries, *targets.masks.shape[1:]), -8.0)
    for row, slot in enumerate(slots):
        probs[:, 0, slot, targets.labels[row]] = 0.98
        logits[:, 0, slot] = targets.masks[row] * 16.0 - 8
    return probs, logits


def test_slots_that_say_the_truth_are_chosen_by_every_prediction() -> None:
    targets = ClipTargets(torch.tensor([2, 0, 2]), halves(3))
    probs, logits = perfect(targets, [4, 0, 3], predictions=3)

    slots = match(probs, logits, [targets], SIZES)

    assert slots[0].tolist() == [[4, 0, 3]] * 3


def test_the_assignment_is_the_cheapest_of_all() -> None:
    costs = torch.rand(2, 5, 3)

    slots = matching._assign(costs)

    every = torch.tensor(list(permutations(range(5), 3)))  # slot of objects 0, 1, 2
    totals = costs[:, every, torch.arange(3)].sum(-1)
    assert torch.equal(slots, every[totals.argmin(-1)])


def test_clips_are_matched_each_for_itself() -> None:
    first = ClipTargets(torch.tensor([1]), halves(1))
    second = ClipTargets(torch.tensor([0, 2]), halves(2))
    parts = [perfect(first, [2]), perfect(second, [2, 1])]
    probs, logits = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))

    slots = match(probs, logits, [first, second], SIZES)

    assert [slot.tolist() for slot in slots] == [[[2]], [[2, 1]]]


def test_objects_without_a_slot_are_marked() -> None:
    targets = ClipTargets(torch.zeros(8, dtype=torch.long), halves(8))
    probs, logits = perfect(targets, [0, 1, 2, 3, 4])

    slots = match(probs, logits, [targets], SIZES)

    _, found = gather_slots(logits, slots)
    assert slots[0][0].tolist() == [0, 1, 2, 3, 4, -1, -1, -1]
    assert found[0].tolist() == [True] * 5 + [False] * 3


def test_a_clip_without_objects_matches_nothing() -> None:
    empty = ClipTargets(torch.zeros(0, dtype=torch.long), torch.zeros(0, 1, 16, 16, dtype=torch.bool))
    full = ClipTargets(torch.tensor([1]), halves(1))
    probs, logits = perfect(full, [3])

    slots = match(probs.expand(-1, 2, -1, -1), logits.expand(-1, 2, -1, -1, -1, -1), [empty, full], SIZES)

    assert [slot.shape for slot in slots] == [(1, 0), (1, 1)]
    assert target_classes(slots, [empty, full], 5, empty=3).tolist() == [[[3, 3, 3, 3, 3], [3, 3, 3, 1, 3]]]


def test_costs_are_the_mean_cross_entropy_and_one_minus_dice_of_every_pair() -> None:
    logits, truth = torch.randn(1, 4, 50), torch.rand(3, 50)

    bce, dice = bce_cost(logits, truth)[0], dice_cost(logits, truth)[0]

    slot, row = logits[0, 2], truth[1]
    overlap = (2 * (slot.sigmoid() * row).sum() + 1) / (slot.sigmoid().sum() + row.sum() + 1)
    torch.testing.assert_close(bce[2, 1], F.binary_cross_entropy_with_logits(slot, row))
    torch.testing.assert_close(dice[2, 1], 1 - overlap)


def test_points_are_read_at_pixel_centres() -> None:
    plane = torch.arange(12.0).view(1, 1, 3, 4)

    centres = torch.tensor([[[(j + 0.5) / 4, (i + 0.5) / 3] for i in range(3) for j in range(4)]])

    torch.testing.assert_close(sample(plane, centres).flatten(), plane.flatten())


def test_three_quarters_of_the_points_lie_near_the_border() -> None:
    columns = torch.linspace(-8, 8, 64)
    logits = columns.expand(2, 64, 64)  # the border runs down the middle

    points = uncertain_points(logits, 1000)

    distance = (points[..., 0] - 0.5).abs()
    assert points.shape == (2, 1000, 2)
    assert distance[:, :750].max() < 0.2  # a quarter of 3000 points nearest to the border: within an eighth of it
    assert distance[:, 750:].max() > 0.4


def test_true_masks_cost_little_and_inverted_ones_much() -> None:
    truth = halves(3)[:, 0]
    logits = truth * 12.0 - 6

    bce, dice = mask_losses(logits[None], truth, 400)
    wrong_bce, wrong_dice = mask_losses(-logits[None], truth, 400)

    assert wrong_bce.min() > 4 * bce.max()
    assert dice.max() < 0.25  # the rest is what lies between the pixels of a border
    assert wrong_dice.min() > 0.7


def test_predictions_that_share_their_truth_cost_what_they_cost_alone() -> None:
    logits, truth = torch.randn(2, 3, 8, 8), halves(3)[:, 0]

    together = mask_losses(logits, truth, 50_000)

    alone = [mask_losses(prediction[None], truth, 50_000) for prediction in logits]
    torch.testing.assert_close(together[0], torch.cat([bce for bce, _ in alone]), atol=0.02, rtol=0)
    torch.testing.assert_close(together[1], torch.cat([dice for _, dice in alone]), atol=0.02, rtol=0)


def test_mask_losses_reach_only_the_planes_they_are_taken_of() -> None:
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)

    bce, dice = mask_losses(logits, halves(3)[:, 0], 400)
    (bce[0, 1] + dice[0, 1]).backward()

    assert logits.grad is not None
    assert logits.grad.flatten(2).abs().sum(-1).bool().tolist() == [[False, True, False]]


def test_no_object_counts_a_tenth_in_the_class_loss() -> None:
    logits, classes = torch.randn(1, 1, 4, 4), torch.tensor([[[0, 3, 3, 2]]])

    loss = cross_entropy(logits, classes, 0.1)

    each = -logits[0, 0].log_softmax(-1)[torch.arange(4), classes[0, 0]]
    weights = torch.tensor([1, 0.1, 0.1, 1])
    torch.testing.assert_close(loss, (each * weights).sum() / weights.sum())


def test_focal_loss_is_its_formula() -> None:
    logits, classes = torch.randn(1, 1, 2, 3), torch.tensor([[[3, 1]]])

    loss = sigmoid_focal(logits, classes, 2.0)

    p = logits[0, 0].sigmoid()
    terms = -0.75 * p**2 * (1 - p).log()
    terms[1, 1] = -0.25 * (1 - p[1, 1]) ** 2 * p[1, 1].log()
    torch.testing.assert_close(loss, terms.sum() / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_matching_does_not_depend_on_the_precision_around_it(dtype: torch.dtype) -> None:
    targets = ClipTargets(torch.tensor([0, 1]), halves(2))
    probs, logits = perfect(targets, [1, 3])
    sizes = replace(SIZES, loss_points=5000)

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        slots = match(probs, logits.to(dtype), [targets], sizes)

    assert slots[0].tolist() == [[1, 3]]
