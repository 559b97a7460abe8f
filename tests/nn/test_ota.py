"""The one-to-many assignment against loops over objects and queries, and its laws."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vistool.nn.boxes import paired_giou, paired_iou, to_xyxy
from vistool.nn.ota import assign

K = 3


def scene(seed: int, queries: int, objects: int, *, layers: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (L, Q, K) and boxes (L, Q, 4), labels (N,) and boxes (N, 4); half of the queries lie on an object."""
    random = torch.Generator().manual_seed(seed)
    true = torch.rand(objects, 4, generator=random) * 0.4 + 0.2
    boxes = torch.rand(layers, queries, 4, generator=random) * 0.4 + 0.2
    if objects:
        on = torch.randint(objects, (layers, queries // 2), generator=random)
        noise = 0.05 * torch.randn(layers, queries // 2, 4, generator=random)
        boxes[:, : queries // 2] = (true[on] + noise).clamp(0.02, 1)
    logits = torch.randn(layers, queries, K, generator=random)
    return logits, boxes, torch.randint(K, (objects,), generator=random), true


def pair_cost(logits: Tensor, box: Tensor, label: int, true: Tensor, every: Tensor) -> float:
    """Cost of one query for one object, as it is written in the description of the method."""
    p = float(logits[label].sigmoid())
    focal = 0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p)

    def inside(target: Tensor) -> bool:
        x0, y0, x1, y1 = to_xyxy(target).tolist()
        return bool(x0 < box[0] < x1 and y0 < box[1] < y1)

    def near(target: Tensor) -> bool:
        return all(abs(float(box[axis] - target[axis])) < 2.5 / 32 for axis in (0, 1))

    cost = focal - 3 * float(paired_giou(to_xyxy(box), to_xyxy(true)))
    cost += 0 if inside(true) and near(true) else 100
    return cost + (0 if any(inside(other) or near(other) for other in every) else 10000)


def slow(logits: Tensor, boxes: Tensor, labels: Tensor, true: Tensor, candidates: int) -> list[int]:
    """Object of every query of one prediction, by loops."""
    queries, objects = len(boxes), len(true)
    costs = [
        [pair_cost(logits[q], boxes[q], int(labels[n]), true[n], true) for n in range(objects)] for q in range(queries)
    ]
    takers: list[list[int]] = [[] for _ in range(queries)]
    for n in range(objects):
        ious = sorted((float(paired_iou(to_xyxy(boxes[q]), to_xyxy(true[n]))) for q in range(queries)), reverse=True)
        count = max(1, int(sum(ious[:candidates])))
        for q in sorted(range(queries), key=lambda q: costs[q][n])[:count]:
            takers[q].append(n)
    owner = [min(wanting, key=lambda n: costs[q][n]) if wanting else -1 for q, wanting in enumerate(takers)]
    while True:
        empty = [n for n in range(objects) if n not in owner]
        free = [q for q in range(queries) if owner[q] < 0] or [q for q in range(queries) if owner.count(owner[q]) > 1]
        if not empty or not free:
            return owner
        q, n = min(((q, n) for q in free for n in empty), key=lambda pair: costs[pair[0]][pair[1]])
        owner[q] = n


@pytest.mark.parametrize("candidates", [10, 100])
@pytest.mark.parametrize(("queries", "objects"), [(30, 4), (12, 9), (6, 6), (4, 1), (3, 5)])
def test_the_assignment_equals_the_loops(queries: int, objects: int, candidates: int) -> None:
    logits, boxes, labels, true = scene(queries, queries, objects, layers=3)

    found = assign(logits, boxes, labels, true, candidates=candidates)

    for layer in range(3):
        assert found.objects[layer].tolist() == slow(logits[layer], boxes[layer], labels, true, candidates)


@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 40),
    objects=st.integers(0, 40),
    candidates=st.sampled_from([1, 10, 100]),
)
def test_every_object_has_a_query_and_no_query_two_objects(
    seed: int, queries: int, objects: int, candidates: int
) -> None:
    found = assign(*scene(seed, queries, objects), candidates=candidates)

    # One number a query: none can answer twice.
    assert found.objects.shape == (1, queries)
    answered = set(found.objects[0].tolist()) - {-1}
    assert len(answered) == min(queries, objects)
    assert answered <= set(range(objects))


@given(seed=st.integers(0, 10**6), queries=st.integers(1, 20), objects=st.integers(0, 25))
def test_the_cheapest_query_answers_for_its_object_and_is_the_cheapest_that_does(
    seed: int, queries: int, objects: int
) -> None:
    logits, boxes, labels, true = scene(seed, queries, objects)

    found = assign(logits, boxes, labels, true)

    for n, cheapest in enumerate(found.cheapest[0].tolist()):
        own = [q for q in range(queries) if found.objects[0, q] == n]
        cost = {q: pair_cost(logits[0, q], boxes[0, q], int(labels[n]), true[n], true) for q in own}
        assert cheapest == (min(own, key=cost.__getitem__) if own else -1)


def test_more_queries_answer_for_an_object_that_many_fit() -> None:
    true = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]])
    boxes = torch.cat([true[:1].expand(8, 4), true[1:].expand(2, 4)])[None]

    found = assign(torch.zeros(1, 10, K), boxes, torch.tensor([0, 0]), true)

    assert found.objects[0].tolist() == [0] * 8 + [1] * 2


def test_more_candidates_give_objects_more_queries() -> None:
    made = scene(3, 40, 3)

    few, many = (assign(*made, candidates=candidates).objects[0] for candidates in (10, 100))

    assert (many >= 0).sum() > (few >= 0).sum()


def test_numbers_that_are_not_finite_end_in_an_assignment_all_the_same() -> None:
    logits, boxes, labels, true = scene(0, 8, 3)
    boxes[0, 2] = torch.nan
    boxes[0, 3] = torch.inf

    found = assign(logits, boxes, labels, true)

    assert set(found.objects[0].tolist()) >= {0, 1, 2}


def test_nothing_is_learned_through_the_assignment() -> None:
    logits, boxes, labels, true = scene(0, 8, 3)

    found = assign(logits.requires_grad_(), boxes.requires_grad_(), labels, true)

    assert not found.objects.requires_grad
