"""Every term of CondInst's loss against its definition in plain loops, and the laws of all together."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from condinst_scenes import HEAD, N, objects_on, random_maps
from torch import Tensor

from vistool.nn.condinst.assignment import assign
from vistool.nn.condinst.loss import LossRules, centerness, dice_loss, losses
from vistool.nn.condinst.maps import TrainingMaps
from vistool.nn.detector import DetectorTargets

SIZE = (64, 96)
RULES = LossRules()
TERMS = ("class", "id", "box", "centerness", "mask")


def scene(*counts: int) -> tuple[TrainingMaps, list[DetectorTargets]]:
    return random_maps(*SIZE, len(counts), 7), [objects_on(*SIZE, count, seed) for seed, count in enumerate(counts)]


def pairs(maps: TrainingMaps, targets: list[DetectorTargets]) -> list[tuple[int, int, int]]:
    """(frame, point, row of the frame's targets) of all points of objects."""
    objects = assign(maps.points, maps.strides, maps.levels, targets)
    return [(b, p, int(objects[b, p])) for b, p in (objects >= 0).nonzero().tolist()]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(logit: float, wanted: float) -> float:
    p = sigmoid(logit)
    return -(wanted * math.log(p) + (1 - wanted) * math.log(1 - p))


def focal(logit: float, wanted: bool) -> float:
    p = sigmoid(logit)
    return 0.25 * (1 - p) ** 2 * -math.log(p) if wanted else 0.75 * p**2 * -math.log(1 - p)


def middle(maps: TrainingMaps, target: DetectorTargets, p: int, row: int) -> float:
    x, y = maps.points[p].tolist()
    x0, y0, x1, y1 = target.boxes[row].tolist()
    left, top, right, bottom = x - x0, y - y0, x1 - x, y1 - y
    return math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))


def named(maps: TrainingMaps, targets: list[DetectorTargets], what: str, loss: object) -> float:
    """Sum over all points and names of `loss`(logit, wanted)."""
    logits, names = (maps.class_logits, "labels") if what == "class" else (maps.id_logits, "ids")
    told = {(b, p): int(getattr(targets[b], names)[row]) for b, p, row in pairs(maps, targets)}
    return sum(
        loss(logit, told.get((b, p)) == name)  # type: ignore[operator]
        for b, frame in enumerate(logits.tolist())
        for p, point in enumerate(frame)
        for name, logit in enumerate(point)
    )


def giou(a: list[float], b: list[float]) -> float:
    def area(x0: float, y0: float, x1: float, y1: float) -> float:
        return max(0.0, x1 - x0) * max(0.0, y1 - y0)

    shared = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    union = area(*a) + area(*b) - shared
    hull = area(min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return shared / union - (hull - union) / hull


def drawn(maps: TrainingMaps, b: int, p: int) -> Tensor:
    """Mask probabilities of one point at stride 4, layer by layer and pixel by pixel of the features."""
    w = maps.kernels[b, p].tolist()
    inputs, hidden = 2 + HEAD.features, HEAD.hidden
    sizes = [inputs * hidden, hidden * hidden, hidden, hidden, hidden, 1]
    parts = [w[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(6)]
    height, width = maps.features.shape[-2:]
    coarse = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            unit = 8 * float(maps.strides[p])
            x = [(float(maps.points[p, 0]) - (8 * j + 4)) / unit, (float(maps.points[p, 1]) - (8 * i + 4)) / unit]
            x += maps.features[b, :, i, j].tolist()
            for layer in range(3):
                weight, bias = parts[layer], parts[3 + layer]
                x = [sum(v * weight[o * len(x) + k] for k, v in enumerate(x)) + bias[o] for o in range(len(bias))]
                x = [max(0.0, v) for v in x] if layer < 2 else x
            coarse[i, j] = x[0]
    fine = torch.zeros(2 * height, 2 * width)
    for i in range(2 * height):
        for j in range(2 * width):
            y, x = max(0.0, (i - 1) / 2), max(0.0, (j - 1) / 2)
            rows = (int(y), min(int(y) + 1, height - 1))
            columns = (int(x), min(int(x) + 1, width - 1))
            for r, down in zip(rows, (1 - y % 1, y % 1), strict=True):
                for c, across in zip(columns, (1 - x % 1, x % 1), strict=True):
                    fine[i, j] += down * across * coarse[r, c]
    return fine.sigmoid()


def slow(maps: TrainingMaps, targets: list[DetectorTargets]) -> dict[str, float]:
    found = pairs(maps, targets)
    centres = [middle(maps, targets[b], p, row) for b, p, row in found]
    boxes = [1 - giou(maps.boxes[b, p].tolist(), targets[b].boxes[row].tolist()) for b, p, row in found]
    masks = []
    for b, p, row in found:
        probs, truth = drawn(maps, b, p), targets[b].masks[row, 2::4, 2::4].float()
        shared = float((probs * truth).sum())
        masks.append(1 - 2 * shared / (float((probs**2).sum()) + float((truth**2).sum()) + 1e-5))
    return {
        "class": named(maps, targets, "class", focal) / len(found),
        "id": named(maps, targets, "id", focal) / len(found),
        "box": sum(c * box for c, box in zip(centres, boxes, strict=True)) / sum(centres),
        "centerness": sum(
            cross_entropy(float(maps.centerness[b, p]), c) for (b, p, _), c in zip(found, centres, strict=True)
        )
        / len(found),
        "mask": sum(masks) / len(masks),
    }


def test_every_term_equals_its_definition() -> None:
    maps, targets = scene(3, 2)

    found = losses(maps, targets, HEAD, RULES)

    assert len(pairs(maps, targets)) > 10
    assert {name: float(term) for name, term in found.items()} == pytest.approx(slow(maps, targets), rel=1e-4)


def test_identities_by_cross_entropy_are_a_yes_or_no_each() -> None:
    maps, targets = scene(3, 2)

    found = losses(maps, targets, HEAD, LossRules(id_loss="cross-entropy"))
    others = losses(maps, targets, HEAD, RULES)

    expected = named(maps, targets, "id", cross_entropy) / len(pairs(maps, targets))
    assert float(found.pop("id")) == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(term, others[name]) for name, term in found.items())


@pytest.mark.parametrize("kind", ["focal", "cross-entropy"])
def test_an_object_that_is_nobody_names_no_identity(kind: str) -> None:
    maps, targets = scene(2, 0)
    nobody = [replace(target, ids=torch.full_like(target.ids, N)) for target in targets]

    found = losses(maps, nobody, HEAD, LossRules(id_loss=kind))  # type: ignore[arg-type]

    probs = maps.id_logits.sigmoid()
    each = -torch.log(1 - probs) * (0.75 * probs**2 if kind == "focal" else 1)
    assert float(found["id"]) == pytest.approx(float(each.sum()) / len(pairs(maps, targets)), rel=1e-5)


def test_frames_without_objects_teach_that_there_is_nothing() -> None:
    maps, targets = scene(0, 0)

    found = losses(maps, targets, HEAD, RULES)

    assert {name for name, term in found.items() if term != 0} == {"class", "id"}
    assert all(term.isfinite() for term in found.values())


def learnable(maps: TrainingMaps) -> TrainingMaps:
    """The same, and everything that a network says has a gradient."""
    said = {item.name: getattr(maps, item.name) for item in fields(maps)}
    given = {"points", "strides", "levels"}
    return TrainingMaps(**{n: v if n in given else v.clone().requires_grad_() for n, v in said.items()})


@pytest.mark.parametrize("counts", [(3, 2), (0, 0)], ids=str)
def test_everything_the_network_says_gets_a_finite_gradient(counts: tuple[int, ...]) -> None:
    maps, targets = scene(*counts)
    maps = learnable(maps)

    torch.stack(list(losses(maps, targets, HEAD, RULES).values())).sum().backward()

    for name in ("class_logits", "id_logits", "boxes", "centerness", "kernels", "features"):
        gradient = getattr(maps, name).grad
        assert gradient is not None, name
        assert gradient.isfinite().all(), name


def test_at_most_so_many_points_learn_masks_and_the_other_terms_stay() -> None:
    maps, targets = scene(4, 4)
    maps = learnable(maps)
    every = losses(maps, targets, HEAD, RULES)

    torch.manual_seed(0)
    few = losses(maps, targets, HEAD, LossRules(most_masks=5))
    few["mask"].backward()

    assert maps.kernels.grad is not None
    assert int((maps.kernels.grad.abs().sum(-1) > 0).sum()) == 5
    assert all(torch.equal(few[name], every[name]) for name in TERMS if name != "mask")
    assert torch.equal(losses(maps, targets, HEAD, LossRules(most_masks=10**4))["mask"], every["mask"])


def test_few_masks_are_on_average_what_all_are() -> None:
    maps, targets = scene(4, 4)
    every = float(losses(maps, targets, HEAD, RULES)["mask"])

    torch.manual_seed(0)
    few = [float(losses(maps, targets, HEAD, LossRules(most_masks=10))["mask"]) for _ in range(60)]

    assert sum(few) / len(few) == pytest.approx(every, rel=0.03)


def test_order_of_frames_and_objects_does_not_matter() -> None:
    maps, targets = scene(3, 2)
    turned = [replace(t, **{item.name: getattr(t, item.name).flip(0) for item in fields(t)}) for t in targets[::-1]]
    swapped = replace(
        maps,
        **{
            item.name: getattr(maps, item.name).flip(0)
            for item in fields(maps)
            if item.name not in ("points", "strides", "levels")
        },
    )

    before, after = losses(maps, targets, HEAD, RULES), losses(swapped, turned, HEAD, RULES)

    for name in TERMS:
        torch.testing.assert_close(before[name], after[name])


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    maps, targets = scene(3, 2)
    objects = assign(maps.points, maps.strides, maps.levels, targets)
    class_logits, id_logits = torch.full_like(maps.class_logits, -20.0), torch.full_like(maps.id_logits, -20.0)
    boxes = maps.boxes.clone()
    for b, p, row in pairs(maps, targets):
        class_logits[b, p, targets[b].labels[row]] = id_logits[b, p, targets[b].ids[row]] = 20.0
        boxes[b, p] = targets[b].boxes[row]

    found = losses(replace(maps, class_logits=class_logits, id_logits=id_logits, boxes=boxes), targets, HEAD, RULES)

    assert (objects >= 0).any()
    assert max(float(found[name]) for name in ("class", "id", "box")) < 1e-5


def test_a_network_without_identities_has_nothing_to_say_of_them() -> None:
    maps, targets = scene(3, 2)

    found = losses(replace(maps, id_logits=maps.id_logits[..., :0]), targets, HEAD, RULES)

    assert found["id"] == 0
    assert found["class"] > 0


def test_the_middle_of_a_box_is_the_most_central_and_its_side_the_least() -> None:
    distances = torch.tensor([[5.0, 3, 5, 3], [0, 3, 10, 3], [2, 3, 8, 3]])

    assert centerness(distances).tolist() == pytest.approx([1, 0, 0.5])


def test_dice_is_0_for_the_truth_itself_and_1_for_all_that_is_not() -> None:
    truth = torch.zeros(1, 6, 6)
    truth[:, :3] = 1

    assert float(dice_loss(truth, truth)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(1 - truth, truth)) == 1


def test_counts_are_means_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the others had twice as many: counts and sums of weights grow, the mean over own masks does not."""
    maps, targets = scene(3, 2)
    alone = losses(maps, targets, HEAD, RULES)
    monkeypatch.setattr("vistool.nn.condinst.loss.process_mean", lambda values: 2 * values)

    among = losses(maps, targets, HEAD, RULES)

    halved = {name for name in TERMS if float(among[name]) == pytest.approx(float(alone[name]) / 2)}
    assert halved == set(TERMS) - {"mask"}
    assert torch.equal(among["mask"], alone["mask"])


def test_half_precision_makes_masks_in_full() -> None:
    """Coordinates in pixels do not fit into half precision; under autocast the masks are the same."""
    maps, targets = scene(3, 2)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(maps, targets, HEAD, RULES)

    torch.testing.assert_close(found["mask"], losses(maps, targets, HEAD, RULES)["mask"])
