"""The losses of MS-STS against plain loops: who answers for whom in a clip, and what every term is divided by."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from vistool.methods.msts.learning import LearningRules
from vistool.methods.msts.loss import at_stride, foreground, losses
from vistool.methods.msts.matching import ClipTruth, clip_costs, match
from vistool.methods.msts.network import Msts
from vistool.nn.targets import ClipTargets

L, B, T, Q, K, D = 2, 2, 3, 5, 4, 6
H, W, SIZE = 28, 36, (8, 10)  # logits reach beyond the frame
RULES = LearningRules()


@dataclass(frozen=True)
class Said:
    """What a network says, at random; its masks are the sums of features weighted by the query, moved by the places."""

    layers: tuple[SimpleNamespace, ...]
    features: Tensor
    columns: tuple[int, ...] = tuple(range(K))

    def __call__(self, frames: Tensor) -> Said:
        return self

    def masks(self, queries: Tensor, references: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("nd,tdhw->nthw", queries, features) + references.sum(-1)[..., None, None]


def said(*, seed: int = 0, spread: float = 1.0) -> Said:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return spread * torch.randn(*shape, generator=random)

    layers = tuple(
        SimpleNamespace(
            class_logits=normal(B, Q, K),
            boxes=normal(B, T, Q, 4).sigmoid(),
            references=normal(B, T, Q, 2),
            queries=normal(B, Q, D),
        )
        for _ in range(L)
    )
    return Said(layers, normal(B, T, D, *SIZE))


def targets(counts: tuple[int, ...] = (2, 3)) -> list[ClipTargets]:
    """Rectangles; the first object of every clip is out of sight on the second frame, the last one on two frames."""
    random = torch.Generator().manual_seed(5)
    made = []
    for count in counts:
        masks = torch.zeros(count, T, H, W, dtype=torch.bool)
        for n, t in itertools.product(range(count), range(T)):
            y, x = (int(torch.randint(side - 12, (), generator=random)) for side in (H, W))
            masks[n, t, y : y + 12, x : x + 9] = True
        masks[:1, 1] = False
        masks[-1:, 1:] = False
        made.append(ClipTargets(torch.randint(K, (count,), generator=random), masks))
    return made


def found(network: Said, wanted: list[ClipTargets], rules: LearningRules = RULES) -> dict[str, Tensor]:
    return losses(cast(Msts, network), torch.zeros(B, T, 3, H, W), wanted, rules)


def true_box(mask: Tensor) -> list[float]:
    """cx cy w h as shares of the frame; a speck in the corner where there is no pixel."""
    if not mask.any():
        return [1e-6] * 4
    y, x = mask.nonzero(as_tuple=True)
    x0, x1, y0, y1 = float(x.min()), float(x.max()) + 1, float(y.min()), float(y.max()) + 1
    return [(x0 + x1) / 2 / W, (y0 + y1) / 2 / H, (x1 - x0) / W, (y1 - y0) / H]


def giou(a: list[float], b: list[float]) -> float:
    edges = [((cx - w / 2, cx + w / 2), (cy - h / 2, cy + h / 2)) for cx, cy, w, h in (a, b)]
    shared, hull = 1.0, 1.0
    for (first, last), (other_first, other_last) in zip(*edges, strict=True):
        shared *= max(0.0, min(last, other_last) - max(first, other_first))
        hull *= max(last, other_last) - min(first, other_first)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union - (hull - union) / hull


def focal(logit: float, truth: bool) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -0.25 * (1 - p) ** 2 * math.log(p) if truth else -0.75 * p**2 * math.log(1 - p)


def cost(layer: SimpleNamespace, b: int, q: int, target: ClipTargets, n: int, rules: LearningRules) -> float:
    logit = float(layer.class_logits[b, q, target.labels[n]])
    named = focal(logit, True) - focal(logit, False)
    frames = [t for t in range(T) if rules.absent_boxes == "learned" or target.masks[n, t].any()]
    boxes = [(layer.boxes[b, t, q].tolist(), true_box(target.masks[n, t])) for t in frames]
    steps = [abs(x - y) for box, true in boxes for x, y in zip(box, true, strict=True)]
    whole = math.hypot(*steps) * math.sqrt(T / len(frames))  # as if the frames that do not count were like the others
    apart = whole if rules.box_cost == "euclidean" else sum(steps) / len(frames)
    overlap = sum(giou(box, true) for box, true in boxes) / len(frames)
    return rules.class_weight * named + rules.box_weight * apart - rules.giou_weight * overlap


def cheapest(layer: SimpleNamespace, b: int, target: ClipTargets, rules: LearningRules) -> tuple[int, ...]:
    """Of all ways to give every object a query of its own."""
    costs = [[cost(layer, b, q, target, n, rules) for q in range(Q)] for n in range(len(target.labels))]
    ways = itertools.permutations(range(Q), len(costs))
    return min(ways, key=lambda way: sum(row[q] for row, q in zip(costs, way, strict=True)))


@pytest.mark.parametrize("absent_boxes", ["learned", "ignored"])
@pytest.mark.parametrize("box_cost", ["euclidean", "l1"])
def test_the_match_is_the_cheapest_of_all_ways(box_cost: str, absent_boxes: str) -> None:
    network, wanted = said(), targets()
    rules = replace(RULES, box_cost=box_cost, absent_boxes=absent_boxes)
    logits = torch.stack([layer.class_logits for layer in network.layers])
    boxes = torch.stack([layer.boxes for layer in network.layers])
    truths = [ClipTruth.of(target, rules) for target in wanted]

    slots = match(logits, boxes, truths, rules)

    for b, target in enumerate(wanted):
        costs = clip_costs(logits[:, b], boxes[:, b], truths[b], rules)
        for number, layer in enumerate(network.layers):
            plain = [[cost(layer, b, q, target, n, rules) for n in range(len(target.labels))] for q in range(Q)]
            torch.testing.assert_close(costs[number], torch.tensor(plain), atol=1e-5, rtol=1e-5)
            assert tuple(slots[b][number].tolist()) == cheapest(layer, b, target, rules)


@pytest.mark.parametrize("absent_boxes", ["learned", "ignored"])
def test_the_terms_are_those_of_the_loops(absent_boxes: str) -> None:
    network, wanted, rules = said(), targets(), replace(RULES, absent_boxes=absent_boxes)
    expected = dict.fromkeys(("class", "box", "giou", "mask", "dice"), 0.0)
    for layer, (b, target) in itertools.product(network.layers, enumerate(wanted)):
        way = cheapest(layer, b, target, rules)
        for q, k in itertools.product(range(Q), range(K)):
            is_it = q in way and int(target.labels[way.index(q)]) == k
            expected["class"] += 2 * focal(float(layer.class_logits[b, q, k]), is_it)
        for n, q in enumerate(way):
            frames = [t for t in range(T) if absent_boxes == "learned" or target.masks[n, t].any()]
            boxes = [(layer.boxes[b, t, q].tolist(), true_box(target.masks[n, t])) for t in frames]
            steps = [abs(x - y) for box, true in boxes for x, y in zip(box, true, strict=True)]
            expected["box"] += 5 * sum(steps) / len(frames)
            expected["giou"] += 2 * sum(1 - giou(box, true) for box, true in boxes) / len(frames)
            logits = network.masks(layer.queries[b, q][None], layer.references[b, :, q][None], network.features[b])[0]
            pixels, shared, sums = [], 0.0, 0.0
            for t, i, j in itertools.product(range(T), range(SIZE[0]), range(SIZE[1])):
                y, x = 4 * i + 2, 4 * j + 2
                is_object = y < H and x < W and bool(target.masks[n, t, y, x])
                pixels.append(focal(float(logits[t, i, j]), is_object))
                probability = float(logits[t, i, j].sigmoid())
                shared, sums = shared + probability * is_object, sums + probability + is_object
            expected["mask"] += 2 * sum(pixels) / len(pixels)
            expected["dice"] += 5 * (1 - (2 * shared + 1) / (sums + 1))

    terms = found(network, wanted, rules)

    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value / 5, rel=1e-4), name  # of five objects


@pytest.mark.parametrize(
    ("absent_boxes", "learned"), [("learned", {"box", "giou", "mask", "dice"}), ("ignored", {"mask", "dice"})]
)
def test_out_of_sight_masks_are_learned_and_boxes_where_the_rules_say_so(absent_boxes: str, learned: set[str]) -> None:
    """An object on no frame but the first: its query must leave the others, with the mask, and with the box or not."""
    network, wanted, rules = said(), targets((1, 0)), replace(RULES, absent_boxes=absent_boxes)
    away = replace(network, layers=tuple(SimpleNamespace(**vars(layer)) for layer in network.layers))
    for layer in away.layers:
        layer.boxes = layer.boxes.clone()
        layer.boxes[:, 1:] = 1e-6
        layer.references = layer.references.clone()
        layer.references[:, 1:] = -50.0

    near, far = found(network, wanted, rules), found(away, wanted, rules)

    assert {name for name in near.keys() - {"class"} if far[name] < near[name]} == learned
    assert {name for name in near.keys() - {"class"} if far[name] != near[name]} == learned


def test_clips_without_objects_teach_classes_alone() -> None:
    network = said()
    leaves = [tensor.requires_grad_() for layer in network.layers for tensor in vars(layer).values()]

    terms = found(network, targets((0, 0)))
    torch.stack(list(terms.values())).sum().backward()

    assert terms.keys() == {"class", "box", "giou", "mask", "dice"}
    assert {name for name, value in terms.items() if value != 0} == {"class"}
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)


def test_more_objects_than_queries_leave_some_unlearned() -> None:
    network, wanted = said(), targets((Q + 2, 1))
    boxes = torch.stack([layer.boxes for layer in network.layers])
    truths = [ClipTruth.of(target, RULES) for target in wanted]
    slots = match(torch.stack([layer.class_logits for layer in network.layers]), boxes, truths, RULES)
    learned = [
        sum(giou(boxes[number, b, t, q].tolist(), true_box(wanted[b].masks[n, t])) for t in range(T)) / T
        for b, number in itertools.product(range(B), range(L))
        for n, q in enumerate(slots[b][number].tolist())
        if q >= 0
    ]

    terms = found(network, wanted)

    assert len(learned) == L * (Q + 1)
    assert float(terms["giou"]) == pytest.approx(2 * sum(1 - value for value in learned) / (Q + 3), rel=1e-4)


def test_saturated_answers_have_finite_losses_and_gradients() -> None:
    network = said(spread=300.0)
    leaves = [tensor.requires_grad_() for layer in network.layers for tensor in vars(layer).values()]

    terms = found(network, targets())
    torch.stack(list(terms.values())).sum().backward()

    assert all(value.isfinite() for value in terms.values())
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_an_answer_that_is_no_number_is_said_by_the_loss_and_not_by_matching() -> None:
    network = said()
    network.layers[0].class_logits[0, 0, 0] = torch.nan

    terms = found(network, targets())

    assert terms["class"].isnan()


def test_a_class_is_learned_by_its_column() -> None:
    network, wanted = said(), targets()
    turned = replace(network, columns=tuple(reversed(range(K))))
    renamed = [replace(target, labels=K - 1 - target.labels) for target in wanted]

    assert found(turned, wanted) == found(network, renamed)


def test_masks_are_read_at_every_fourth_pixel_from_the_third_on() -> None:
    masks = torch.rand(2, T, H, W) > 0.5

    small = at_stride(masks, SIZE)

    assert small.shape == (2, T, *SIZE)
    assert torch.equal(small[..., :7, :9], masks[..., 2::4, 2::4])
    assert not small[..., 7:, :].any() and not small[..., 9:].any()


def test_the_foreground_is_the_greatest_of_a_clips_masks() -> None:
    masks = torch.rand(5, T, *SIZE)

    joined = foreground(masks, [2, 0, 3])

    assert torch.equal(joined, torch.stack([masks[:2].amax(0), torch.zeros(T, *SIZE), masks[2:].amax(0)]))
