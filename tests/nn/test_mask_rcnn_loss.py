"""What Mask R-CNN learns: who answers for whom by plain loops, every term by its definition, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import mask_rcnn_scenes as scenes
import pytest
import torch
from torch import Tensor

from vistool.nn.boxes import pairwise_iou
from vistool.nn.detector import DetectorTargets
from vistool.nn.mask_rcnn.deltas import REFINED, encode
from vistool.nn.mask_rcnn.heads import BoxOutput
from vistool.nn.mask_rcnn.loss import Sampled, box_losses, mask_loss, proposal_losses, sample_boxes
from vistool.nn.mask_rcnn.network import MaskRcnn
from vistool.nn.mask_rcnn.roi_align import crops
from vistool.nn.mask_rcnn.rpn import Proposed
from vistool.nn.mask_rcnn.sampling import NEITHER, NOTHING, matched, sampled
from vistool.nn.mask_rcnn.sizes import PRESETS

SIZE = (64, 96)
CHANNELS = (8, 12, 16, 24)
SIZES = replace(PRESETS["tiny"], dim=16, box_dim=32, mask_dim=16, num_classes=5, num_ids=4)
TERMS = {"objectness", "proposal", "class", "id", "box", "mask"}


def random_maps(frames: int) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn(frames, channels, SIZE[0] // s, SIZE[1] // s)
        for channels, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    )


def two_targets() -> list[DetectorTargets]:
    return [
        scenes.targets_of([[8, 6, 40, 30], [50, 20, 90, 60]], [0, 4], [0, 3], SIZE),
        scenes.targets_of([[4, 30, 30, 60]], [2], [1], SIZE),
    ]


def nothing() -> DetectorTargets:
    return scenes.targets_of([], [], [], SIZE)


def slow_matches(overlaps: list[list[float]], low: float, high: float, best_too: bool) -> list[int]:
    found = []
    for box in range(len(overlaps[0])):
        column = [row[box] for row in overlaps]
        most = max(column)
        answer = NOTHING if most < low else column.index(most) if most >= high else NEITHER
        if best_too and any(row[box] == max(row) and max(row) > 0 for row in overlaps):
            answer = column.index(most)
        found.append(answer)
    return found


@pytest.mark.parametrize("best_too", [True, False])
def test_matches_equal_the_loops(best_too: bool) -> None:
    overlaps = (torch.rand(5, 60) ** 2 * 16).round() / 16  # with ties
    overlaps[4] = 0  # an object that nothing overlaps

    found = matched(overlaps, 0.25, 0.75, best_too=best_too)

    assert found.tolist() == slow_matches(overlaps.tolist(), 0.25, 0.75, best_too)
    assert {NOTHING, NEITHER} < set(found.tolist())


def test_without_objects_every_box_answers_for_nothing() -> None:
    assert matched(torch.zeros(0, 3), 0.3, 0.7, best_too=True).tolist() == [NOTHING] * 3
    assert matched(torch.zeros(2, 0), 0.3, 0.7, best_too=True).tolist() == []


@pytest.mark.parametrize(("objects", "expected"), [(2, 2), (50, 5)], ids=["few", "many"])
def test_a_sample_has_at_most_its_share_of_objects_and_is_filled_up(objects: int, expected: int) -> None:
    matches = torch.tensor([0] * objects + [NOTHING] * 100 + [NEITHER] * 100)

    rows = sampled(matches, 20, 0.25)

    assert len(rows) == len(rows.unique()) == 20
    assert (matches[rows] >= 0).sum() == expected
    assert (matches[rows] != NEITHER).all()


def test_a_sample_of_little_is_all_of_it() -> None:
    matches = torch.tensor([NOTHING, 3, NEITHER, 1])

    assert sorted(sampled(matches, 20, 0.5).tolist()) == [0, 1, 3]


def smooth(difference: float) -> float:
    """A parabola up to 1/9, then a straight line."""
    size = abs(difference)
    return 4.5 * size * size if size < 1 / 9 else size - 1 / 18


def cross_entropy(logits: Tensor, answer: int) -> float:
    return math.log(sum(math.exp(float(x)) for x in logits)) - float(logits[answer])


def test_anchors_learn_by_the_definition() -> None:
    """Level by level and anchor by anchor, all of them sampled."""
    targets = [two_targets()[0], nothing()]
    boxes = torch.tensor([[8.0, 6, 40, 30], [10, 8, 44, 30], [0, 0, 20, 90], [60, 22, 92, 66], [70, 0, 90, 20]])
    said = Proposed(
        (torch.randn(2, 3), torch.randn(2, 2)), (torch.randn(2, 3, 4), torch.randn(2, 2, 4)), boxes.split([3, 2])
    )

    terms = proposal_losses(said, targets, 100)

    overlaps = pairwise_iou(targets[0].boxes, boxes)
    answers = slow_matches(overlaps.tolist(), 0.3, 0.7, True)
    logits, deltas = torch.cat(said.objectness, 1), torch.cat(said.deltas, 1)
    objectness, proposal, count = 0.0, 0.0, 0
    for frame, row in [(0, row) for row in range(5)] + [(1, row) for row in range(5)]:
        answer = answers[row] if frame == 0 else NOTHING
        if answer == NEITHER:
            continue
        count += 1
        sign = 1 if answer >= 0 else -1
        objectness += math.log1p(math.exp(-sign * float(logits[frame, row])))
        if answer >= 0:
            wanted = encode(targets[0].boxes[answer], boxes[row], (1.0, 1.0, 1.0, 1.0))
            proposal += sum(smooth(float(x)) for x in deltas[frame, row] - wanted)
    assert [sum(a >= 0 for a in answers), NOTHING in answers] == [3, True]
    torch.testing.assert_close(terms["objectness"], torch.tensor(objectness / count))
    torch.testing.assert_close(terms["proposal"], torch.tensor(proposal / count))


def test_boxes_to_learn_from_are_proposals_and_the_truth() -> None:
    targets = two_targets()
    proposed = [torch.tensor([[9.0, 6, 40, 30], [60, 0, 80, 15]]), torch.zeros(0, 4)]

    taken = sample_boxes(proposed, targets, 100)

    found = sorted(zip(taken.frames.tolist(), taken.objects.tolist(), taken.boxes.tolist(), strict=True))
    assert found == [
        (0, NOTHING, [60, 0, 80, 15]),
        (0, 0, [8, 6, 40, 30]),
        (0, 0, [9, 6, 40, 30]),
        (0, 1, [50, 20, 90, 60]),
        (1, 2, [4, 30, 30, 60]),
    ]


def test_heads_learn_by_the_definition() -> None:
    """Classes begin at 1, identities end at background; an id past the last one is background, too."""
    targets = two_targets()
    targets[1] = replace(targets[1], ids=torch.tensor([4]))  # nobody's
    boxes = torch.tensor([[9.0, 8, 44, 30], [60, 0, 80, 15], [5, 30, 28, 56], [40, 20, 80, 60]])
    taken = Sampled(boxes, torch.tensor([0, 0, 1, 0]), torch.tensor([0, NOTHING, 2, 1]))
    output = BoxOutput(torch.randn(4, 6), torch.randn(4, 5), torch.randn(4, 6, 4))

    terms = box_losses(output, taken, targets)

    classes, ids = [1, 0, 3, 5], [0, 4, 4, 3]
    true = [targets[0].boxes[0], None, targets[1].boxes[0], targets[0].boxes[1]]
    box = 0.0
    for row, truth in enumerate(true):
        if truth is not None:
            wanted = encode(truth, boxes[row], REFINED)
            box += sum(smooth(float(x)) for x in output.deltas[row, classes[row]] - wanted)
    named = sum(cross_entropy(output.class_logits[row], answer) for row, answer in enumerate(classes))
    told = sum(cross_entropy(output.id_logits[row], answer) for row, answer in enumerate(ids))
    expected = {"class": named / 4, "id": told / 4, "box": box / 4}
    torch.testing.assert_close(terms, {name: torch.tensor(value) for name, value in expected.items()})


def test_masks_learn_by_the_definition() -> None:
    targets = two_targets()
    boxes, objects = torch.tensor([[9.0, 8, 44, 30], [5, 30, 28, 56]]), torch.tensor([0, 2])
    logits = torch.randn(2, 28, 28)

    found = mask_loss(logits, boxes, objects, targets)

    truth = crops(torch.cat([target.masks for target in targets]), objects, boxes, 28)
    plain = -(truth * logits.sigmoid().log() + (1 - truth) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(found, plain)
    assert 0.2 < truth.mean() < 0.9


@pytest.fixture
def network() -> MaskRcnn:
    return MaskRcnn(SIZES, CHANNELS).train()


def test_terms_are_a_function_of_the_seed(network: MaskRcnn) -> None:
    maps = random_maps(2)

    def terms(seed: int) -> list[float]:
        torch.manual_seed(seed)
        with torch.no_grad():
            return [float(term) for term in network.losses(maps, two_targets()).values()]

    assert terms(1) == terms(1)
    assert terms(1) != terms(2)


def trained_names(network: MaskRcnn, targets: Sequence[DetectorTargets]) -> set[str]:
    """Parameters with a gradient, after a step without one that is not a number."""
    terms = network.losses(random_maps(len(targets)), targets)
    assert terms.keys() == TERMS
    torch.stack(list(terms.values())).sum().backward()
    given = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert all(grad.isfinite().all() for grad in given.values())
    return given.keys()


@pytest.mark.parametrize("counts", ["some", "none"])
def test_every_parameter_is_trained_with_and_without_objects(network: MaskRcnn, counts: str) -> None:
    targets = two_targets() if counts == "some" else [nothing(), nothing()]

    assert trained_names(network, targets) == {name for name, _ in network.named_parameters()}


def test_frames_without_objects_teach_no_boxes_and_no_masks(network: MaskRcnn) -> None:
    terms = network.losses(random_maps(2), [nothing(), nothing()])

    assert [float(terms[name].detach()) for name in ("proposal", "box", "mask")] == [0, 0, 0]
    assert float(terms["objectness"].detach()) > 0 and float(terms["class"].detach()) > 0


def test_without_identities_that_term_is_zero() -> None:
    network = MaskRcnn(replace(SIZES, num_ids=0), CHANNELS)

    terms = network.losses(random_maps(2), two_targets())

    assert float(terms["id"].detach()) == 0


def test_a_few_steps_on_two_frames_learn_them(network: MaskRcnn) -> None:
    maps, targets = random_maps(2), two_targets()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    history = []
    for _ in range(30):
        terms = network.losses(maps, targets)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        history.append({name: float(term.detach()) for name, term in terms.items()})

    for name in ("objectness", "class", "id", "mask"):
        assert sum(step[name] for step in history[-5:]) / 5 < 0.6 * history[0][name]
    network.eval()
    with torch.no_grad():
        found = network.detect(tuple(each[:1] for each in maps), SIZE)
        best = found.class_scores.amax(-1).topk(8).indices
        overlaps = pairwise_iou(targets[0].boxes, found.boxes[best])
    assert overlaps.amax(1).min() > 0.6  # both objects are found
    assert set(found.class_scores[best].argmax(-1).tolist()) == {0, 4}
