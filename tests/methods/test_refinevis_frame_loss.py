"""The losses of the key frame against loops over layers, queries and objects."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from refinevis_fakes import (
    RULES,
    SIZE,
    B,
    FakeImage,
    K,
    L,
    Q,
    T,
    as_float,
    clip_targets,
    focal,
    layer,
    mask_logit,
    middle,
    one_point,
    output,
    plane,
)
from torch import Tensor

from vistool.methods.refinevis import frame_loss
from vistool.methods.refinevis.frame_loss import (
    ClipTruth,
    KeyPredictions,
    denoising_losses,
    frame_losses,
    one_to_one,
    plane_losses,
)
from vistool.nn import losses as nn_losses
from vistool.nn.boxes import paired_giou, to_xyxy
from vistool.nn.denoising import NoisedQueries, noised_queries
from vistool.nn.image_model import LayerOutput, TrainingOutput
from vistool.nn.losses import mask_losses
from vistool.nn.ota import assign
from vistool.nn.targets import ClipTargets

WEIGHTS = {
    "class": RULES.class_weight,
    "bce": RULES.bce_weight,
    "dice": RULES.dice_weight,
    "box": RULES.box_weight,
    "giou": RULES.giou_weight,
}


@pytest.fixture(autouse=True)
def flat_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn_losses, "uncertain_points", one_point)
    torch.manual_seed(0)


@pytest.fixture
def truths() -> list[ClipTruth]:
    """The second object of the first clip is out of sight on the key frame, as the first of the second on the other."""
    return [ClipTruth.of(clip_targets(1, 3, hidden=[(1, 0)])), ClipTruth.of(clip_targets(2, 2, hidden=[(0, 1)]))]


def answer(said: LayerOutput, frame: int, query: int, truth: ClipTruth, n: int, pixels: Tensor) -> dict[str, float]:
    """Losses of one query against one object of the key frame, but for its class."""
    box, true = said.boxes[frame, query], truth.boxes[n, 0]
    bce, dice = plane(
        mask_logit(said.embeddings[frame, query], pixels[frame]), middle(truth.masks[n, 0]), RULES.loss_points
    )
    giou = 1 - float(paired_giou(to_xyxy(box), to_xyxy(true)))
    return {"box": float((box - true).abs().sum()), "giou": giou, "bce": bce, "dice": dice}


def slow_frame_losses(made: TrainingOutput, truths: list[ClipTruth]) -> dict[str, float]:
    """Every layer and the selection, with the same one-to-many assignment."""
    totals: dict[str, float] = defaultdict(float)
    assert made.selected is not None
    for said in (made.selected, *made.layers):
        terms: dict[str, float] = defaultdict(float)
        count = 0
        for b, truth in enumerate(truths):
            rows = [n for n in range(len(truth.labels)) if truth.visible[n, 0]]
            found = assign(
                said.class_logits[b * T][None], said.boxes[b * T][None], truth.labels[rows], truth.boxes[rows, 0]
            ).objects[0]
            for q, number in enumerate(found.tolist()):
                terms["class"] += focal(
                    said.class_logits[b * T, q], int(truth.labels[rows[number]]) if number >= 0 else K
                )
                if number >= 0:
                    count += 1
                    for name, value in answer(said, b * T, q, truth, rows[number], made.objects.pixels).items():
                        terms[name] += value
        for name, value in terms.items():
            totals[name] += value / count
    return {name: WEIGHTS[name] * value for name, value in totals.items()}


def test_the_terms_are_those_of_the_loops(truths: list[ClipTruth]) -> None:
    made = output([layer(seed, near=truths) for seed in range(L + 1)])

    found = frame_losses(FakeImage(), made, truths, RULES)

    assert as_float(found) == pytest.approx(slow_frame_losses(made, truths), rel=1e-4)


def test_only_key_frames_count(truths: list[ClipTruth]) -> None:
    layers = [layer(seed, near=truths) for seed in range(L + 1)]
    others = [layer(seed + 50) for seed in range(L + 1)]
    key = torch.arange(B * T)[:, None, None] % T == 0
    mixed = [
        LayerOutput(*(torch.where(key, getattr(a, f), getattr(b, f)) for f in ("class_logits", "boxes", "embeddings")))
        for a, b in zip(layers, others, strict=True)
    ]

    same, changed = (frame_losses(FakeImage(), output(each), truths, RULES) for each in (layers, mixed))

    assert as_float(same) == as_float(changed)


@pytest.mark.parametrize("assignment", ["ota", "hungarian"])
def test_masks_are_made_for_assigned_queries_alone(truths: list[ClipTruth], assignment: str) -> None:
    """The Hungarian assignment also asks for the masks of all queries, one layer at a time and without a gradient."""
    image, made = FakeImage(), output([layer(seed, near=truths) for seed in range(L + 1)])
    rules = replace(RULES, assignment=assignment)

    frame_losses(image, made, truths, rules)

    costs, answers = image.rows[:-B], image.rows[-B:]
    assert costs == ([] if assignment == "ota" else [Q] * (B * (L + 1)))
    assert all(rows < Q * (L + 1) for rows in answers)
    if assignment == "hungarian":
        assert answers == [int(truth.visible[:, 0].sum()) * (L + 1) for truth in truths]


def slots(truths: list[ClipTruth]) -> NoisedQueries:
    frames = [(truth, t) for truth in truths for t in range(T)]
    made = noised_queries(
        [truth.labels for truth, _ in frames],
        [truth.boxes[:, t] for truth, t in frames],
        [truth.visible[:, t] for truth, t in frames],
        K,
        Q,
        RULES.disturbance,
    )
    assert made is not None
    return made


def test_denoising_terms_are_those_of_the_loops(truths: list[ClipTruth]) -> None:
    noised = slots(truths)
    count = noised.labels.shape[1]
    said = [layer(seed, count) for seed in (20, 21)]
    made = output([layer(seed) for seed in range(L + 1)], said)

    found = denoising_losses(FakeImage(), made, noised, truths, RULES)

    totals: dict[str, float] = defaultdict(float)
    objects = noised.groups * sum(int(truth.visible[:, 0].sum()) for truth in truths)
    for each in said:
        for b, truth in enumerate(truths):
            for m in range(count):
                n, positive = int(noised.objects[m]), bool(noised.positive[m])
                if n >= len(truth.labels) or not truth.visible[n, 0]:
                    continue
                totals["class"] += focal(each.class_logits[b * T, m], int(truth.labels[n]) if positive else K)
                if positive:
                    for name, value in answer(each, b * T, m, truth, n, made.objects.pixels).items():
                        totals[name] += value
    expected = {name: WEIGHTS[name] * value / objects for name, value in totals.items()}
    assert as_float(found) == pytest.approx(expected, rel=1e-4)


def test_one_query_an_object_is_the_cheapest_choice_of_all(
    truths: list[ClipTruth], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = layer(4)
    made = KeyPredictions(
        said.class_logits[None, ::T], said.boxes[None, ::T], said.embeddings[None, ::T], None,
        output([said]).objects.pixels[::T],
    )  # fmt: skip
    costs = torch.rand(Q, 2)
    monkeypatch.setattr(frame_loss, "_costs", lambda *_: costs)

    found = one_to_one(FakeImage(), made, 0, truths[0], RULES)[0]

    visible = [0, 2]
    best = min(permutations(range(Q), 2), key=lambda chosen: sum(float(costs[q, i]) for i, q in enumerate(chosen)))
    assert [int((found == n).nonzero()) for n in visible] == list(best)
    assert int((found >= 0).sum()) == 2


def test_the_costs_of_one_query_an_object_are_the_weighted_losses(
    truths: list[ClipTruth], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, truth = layer(4), truths[0]
    made = output([said])
    key = KeyPredictions(
        said.class_logits[None, ::T], said.boxes[None, ::T], said.embeddings[None, ::T], None, made.objects.pixels[::T]
    )
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))

    found = frame_loss._costs(FakeImage(), key, 0, 0, truth, torch.tensor([0, 2]), RULES)

    for q in range(Q):
        for column, n in enumerate((0, 2)):
            own = said.class_logits[0, q, truth.labels[n]][None]
            others = answer(said, 0, q, truth, n, made.objects.pixels)
            expected = RULES.class_weight * (focal(own, 0) - focal(own, K))
            expected += RULES.box_weight * others["box"] + RULES.giou_weight * (others["giou"] - 1)
            expected += RULES.bce_weight * others["bce"] + RULES.dice_weight * (others["dice"])
            assert float(found[q, column]) == pytest.approx(expected, rel=1e-4)


def test_masks_are_compared_each_with_its_own_object_in_the_order_given() -> None:
    truth = torch.rand(3, SIZE, SIZE) > 0.4
    logits = torch.randn(6, 8, 8)
    objects = torch.tensor([2, -1, 0, 2, 1, 0])

    bce, dice = plane_losses(logits, objects, truth, 16)

    for row, n in enumerate(objects.tolist()):
        own = truth[n] if n >= 0 else torch.zeros_like(truth[0])
        expected = mask_losses(logits[row][None, None], own[None], 16)
        torch.testing.assert_close((bce[row], dice[row]), (expected[0][0, 0], expected[1][0, 0]))


def test_what_a_mask_has_of_padding_is_left_out() -> None:
    truth = torch.ones(1, 30, 30, dtype=torch.bool)
    logits = torch.full((1, 16, 16), -9.0)  # of a frame that was padded to 64 pixels
    logits[:, :8, :8] = 9.0

    bce, _ = plane_losses(logits, torch.tensor([0]), truth, 16)

    assert float(bce) < 0.01


def test_boxes_of_the_truth_are_tight_shares_of_the_frame() -> None:
    masks = torch.zeros(1, 1, 20, 40, dtype=torch.bool)
    masks[0, 0, 5:10, 10:30] = True

    truth = ClipTruth.of(ClipTargets(torch.tensor([0]), masks))

    torch.testing.assert_close(truth.boxes[0, 0], torch.tensor([20 / 40, 7.5 / 20, 20 / 40, 5 / 20]))


def test_without_objects_the_queries_learn_to_name_nothing() -> None:
    empty = [ClipTruth.of(clip_targets(0, 0)) for _ in range(B)]
    made = output([layer(seed) for seed in range(L + 1)])

    found = frame_losses(FakeImage(), made, empty, RULES)

    expected = sum(
        focal(said.class_logits[b * T, q], K)
        for said in (made.selected, *made.layers)
        if said is not None
        for b in range(B)
        for q in range(Q)
    )
    assert as_float(found) == pytest.approx(
        {"class": RULES.class_weight * expected, "bce": 0, "dice": 0, "box": 0, "giou": 0}, rel=1e-4
    )
