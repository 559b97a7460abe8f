"""The contrastive loss against its formula written out, and which keys an anchor is compared with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vistool.nn.contrastive import assigned_keys, contrastive, cosine, drawn, other_objects

A, M, D = 4, 30, 8


def sets(positives: int = 3, negatives: int = 20) -> tuple[Tensor, Tensor]:
    """Disjoint positive and negative keys of every anchor, bool (A, M)."""
    order = torch.rand(A, M).argsort(-1)
    return order < positives, (order >= positives) & (order < positives + negatives)


def double_sum(anchor: Tensor, keys: Tensor, positive: Tensor, negative: Tensor) -> float:
    """Eq. 3 as it is printed."""
    total = 0.0
    for k in keys[positive]:
        for other in keys[negative]:
            total += math.exp(float(anchor @ other - anchor @ k))
    return math.log(1 + total)


def test_the_loss_is_the_double_sum_over_pairs() -> None:
    anchors, keys = torch.randn(A, D), torch.randn(M, D)
    positive, negative = sets()

    found = contrastive(anchors, keys, positive, negative)

    expected = [double_sum(anchors[a], keys, positive[a], negative[a]) for a in range(A)]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize(("positives", "negatives"), [(0, 20), (3, 0), (0, 0)])
def test_an_anchor_without_either_kind_of_key_loses_nothing_and_learns_nothing(positives: int, negatives: int) -> None:
    anchors, keys = torch.randn(A, D, requires_grad=True), torch.randn(M, D, requires_grad=True)

    loss = contrastive(anchors, keys, *sets(positives, negatives))
    loss.sum().backward()

    assert torch.equal(loss, torch.zeros(A))
    assert anchors.grad is not None and keys.grad is not None
    assert torch.equal(anchors.grad, torch.zeros(A, D))
    assert torch.equal(keys.grad, torch.zeros(M, D))


def test_large_similarities_give_finite_losses_and_gradients() -> None:
    anchors = (100 * torch.randn(A, D)).requires_grad_()
    keys = (100 * torch.randn(M, D)).requires_grad_()

    loss = contrastive(anchors, keys, *sets())
    loss.sum().backward()

    assert loss.isfinite().all()
    assert anchors.grad is not None and keys.grad is not None
    assert anchors.grad.isfinite().all() and keys.grad.isfinite().all()


def test_both_anchors_and_keys_learn() -> None:
    anchors, keys = torch.randn(A, D, requires_grad=True), torch.randn(M, D, requires_grad=True)
    positive, negative = sets()

    contrastive(anchors, keys, positive, negative).sum().backward()

    used = (positive | negative).any(0)
    assert anchors.grad is not None and keys.grad is not None
    assert (anchors.grad.abs().sum(-1) > 0).all()
    assert torch.equal(keys.grad.abs().sum(-1) > 0, used)


def test_the_cosine_term_is_the_mean_square_over_all_keys_where_negatives_are_few() -> None:
    anchors, keys = torch.randn(A, D), torch.randn(M, D)
    positive, negative = sets(3, 20)  # fewer than thirty: all are taken

    found = cosine(anchors, keys, positive, negative)

    for a in range(A):
        squares = []
        for m in range(M):
            value = float(torch.cosine_similarity(anchors[a], keys[m], dim=0))
            if positive[a, m]:
                squares.append((value - 1) ** 2)
            elif negative[a, m]:
                squares.append(value**2)
        assert float(found[a]) == pytest.approx(sum(squares) / len(squares), rel=1e-4)


@pytest.mark.parametrize(("positives", "taken"), [(0, 10), (1, 10), (2, 20)])
def test_ten_negatives_are_drawn_for_a_positive_and_ten_where_there_is_none(positives: int, taken: int) -> None:
    # All negative keys are the anchor itself, with cosine 1: the mean counts how many of the keys are negative.
    anchor = torch.randn(D)
    positive, negative = sets(positives, M - positives)

    found = cosine(anchor.expand(A, D), anchor.expand(M, D), positive, negative)

    torch.testing.assert_close(found, torch.full((A,), taken / (taken + positives)))


def test_drawn_ones_are_candidates_and_every_candidate_is_drawn_sometimes() -> None:
    candidates = torch.rand(1, M) < 0.5

    draws = torch.cat([drawn(candidates, torch.tensor([3])) for _ in range(200)])

    assert (draws.sum(-1) == 3).all()
    assert torch.equal(draws.any(0), candidates[0])


def test_keys_of_matched_queries_leave_out_what_only_the_generous_assignment_gives() -> None:
    few, many = torch.tensor([0, -1, 1, -1, -1]), torch.tensor([0, 0, 1, 1, -1])

    positive, negative = assigned_keys(torch.tensor([0, 1]), few, many)

    assert positive.tolist() == [[True, False, False, False, False], [False, False, True, False, False]]
    assert negative.tolist() == [[False, False, True, True, True], [True, True, False, False, True]]


def test_a_positive_key_is_never_a_negative_one_too() -> None:
    few, many = torch.tensor([0, -1]), torch.tensor([-1, -1])

    positive, negative = assigned_keys(torch.tensor([0]), few, many)

    assert not (positive & negative).any()


def test_denoising_keys_of_the_own_object_are_positive_or_left_out() -> None:
    keys = torch.tensor([0, 1, 2, 0, 1, 2] * 2)  # two groups: three positive, three negative
    signs = torch.tensor([True] * 3 + [False] * 3).repeat(2)
    usable = keys != 2  # the third object is out of sight

    positive, negative = other_objects(torch.tensor([0, 1]), keys, signs, usable)

    for a in range(2):
        for m in range(len(keys)):
            assert positive[a, m] == (bool(usable[m]) and keys[m] == a and bool(signs[m]))
            assert negative[a, m] == (bool(usable[m]) and keys[m] != a)


def test_a_single_object_among_denoising_queries_loses_nothing() -> None:
    keys, signs = torch.zeros(6, dtype=torch.long), torch.tensor([True, False] * 3)
    queries = torch.randn(6, D)

    picked = other_objects(keys[signs], keys, signs, torch.ones(6, dtype=torch.bool))

    assert torch.equal(contrastive(queries[signs], queries, *picked), torch.zeros(3))
