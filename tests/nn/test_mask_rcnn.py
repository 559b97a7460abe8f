"""Mask R-CNN as a detector: anchors by hand, boxes and masks against plain definitions, and what detectors promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.nn.boxes import pairwise_iou
from vistool.nn.detector import Detections, Detector
from vistool.nn.dynamic_masks import aligned_bilinear
from vistool.nn.mask_rcnn.anchors import anchors, shapes_of
from vistool.nn.mask_rcnn.deltas import PROPOSALS, REFINED, clipped, decode, encode
from vistool.nn.mask_rcnn.network import MaskRcnn
from vistool.nn.mask_rcnn.pasting import paste
from vistool.nn.mask_rcnn.rpn import Proposed, proposals
from vistool.nn.mask_rcnn.sizes import PRESETS

CHANNELS = (8, 12, 16, 24)
SIZES = replace(PRESETS["tiny"], dim=16, box_dim=32, mask_dim=16, num_classes=5, num_ids=4)
SIZE = (64, 96)


@pytest.fixture
def network() -> MaskRcnn:
    """With outputs that differ from box to box."""
    made = MaskRcnn(SIZES, CHANNELS).eval()
    for name, parameter in made.named_parameters():
        if parameter.dim() > 1:
            gain = 3 if name.endswith("logits.weight") else 0.3 if "deltas" in name else 1
            torch.nn.init.normal_(parameter, std=gain / parameter[0].numel() ** 0.5)
    return made


def random_maps(frames: int = 1, size: tuple[int, int] = SIZE) -> tuple[Tensor, ...]:
    strides = (4, 8, 16, 32)
    return tuple(
        torch.randn(frames, channels, size[0] // s, size[1] // s) for channels, s in zip(CHANNELS, strides, strict=True)
    )


def random_corners(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    height, width = size
    first = torch.rand(count, 2) * torch.tensor([width, height]) * 0.7
    return torch.cat([first, first + 2 + torch.rand(count, 2) * torch.tensor([width, height]) * 0.3], dim=-1)


def seen(network: MaskRcnn, maps: tuple[Tensor, ...], size_hw: tuple[int, int] = SIZE) -> Detections:
    with torch.no_grad():
        return network.detect(maps, size_hw)


def test_anchors_of_the_finest_published_level_have_these_shapes() -> None:
    assert shapes_of(32.0).tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]


def test_anchors_lie_row_by_row_from_the_corner_of_the_input() -> None:
    finest, coarsest = (anchors([(24, 40), (2, 3)], (96, 160), 8.0)[i] for i in (0, 1))

    assert finest.shape == (24 * 40 * 3, 4)
    assert finest[1].tolist() == [-16, -16, 16, 16]
    assert finest[4].tolist() == [-12, -16, 20, 16]  # the next pixel to the right
    assert finest[3 * 40 + 1].tolist() == [-16, -12, 16, 20]  # the next row
    assert coarsest[1].tolist() == [-32, -32, 32, 32]
    assert coarsest[-2].tolist() == [2 * 53 - 32, 48 - 32, 2 * 53 + 32, 48 + 32]  # 160 // 3, 96 // 2


@pytest.mark.parametrize("weights", [PROPOSALS, REFINED], ids=["proposals", "refined"])
def test_differences_lead_back_to_the_box(weights: tuple[float, float, float, float]) -> None:
    boxes, others = random_corners(50), random_corners(50)

    torch.testing.assert_close(decode(encode(boxes, others, weights), others, weights), boxes, atol=1e-4, rtol=1e-5)


def test_differences_are_shifts_in_sides_and_logarithms_of_growth() -> None:
    other = torch.tensor([10.0, 20.0, 30.0, 60.0])  # 20 x 40 around 20, 40
    box = torch.tensor([15.0, 0.0, 35.0, 80.0])  # 20 x 80 around 25, 40

    expected = torch.tensor([5 / 20, 0.0, 0.0, torch.tensor(2.0).log()])
    torch.testing.assert_close(encode(box, other, PROPOSALS), expected)
    torch.testing.assert_close(encode(box, other, REFINED), expected * torch.tensor([10.0, 10, 5, 5]))


def test_a_wild_growth_is_cut() -> None:
    square = torch.tensor([0.0, 0.0, 16.0, 16.0])

    box = decode(torch.tensor([0.0, 0.0, 100.0, 100.0]), square, PROPOSALS)

    torch.testing.assert_close(box[2:] - box[:2], torch.tensor([1000.0, 1000.0]))


def test_clipped_boxes_lie_within_the_frame() -> None:
    boxes = torch.tensor([[-5.0, -5, 10, 10], [90, 60, 200, 100], [-9, -9, -3, -3], [20, 20, 30, 30]])

    found = clipped(boxes, SIZE)

    assert found.tolist() == [[0, 0, 10, 10], [90, 60, 96, 64], [0, 0, 0, 0], [20, 20, 30, 30]]


def said(count: int, levels: int = 2) -> Proposed:
    """Anchors of small random boxes that stay where they are."""
    return Proposed(
        objectness=tuple(torch.randn(1, count) for _ in range(levels)),
        deltas=tuple(torch.zeros(1, count, 4) for _ in range(levels)),
        anchors=tuple(random_corners(count) for _ in range(levels)),
    )


def slow_proposals(given: Proposed, per_level: int, count: int) -> list[list[float]]:
    """Level by level the best anchors, each unless a better one that is kept overlaps it; then the best of all."""
    kept: list[tuple[float, list[float]]] = []
    for scores, grid in zip(given.objectness, given.anchors, strict=True):
        order = sorted(range(len(grid)), key=lambda row: -float(scores[0, row]))[:per_level]
        own: list[int] = []
        for row in order:
            if all(float(pairwise_iou(grid[[row]], grid[[other]])) <= 0.7 for other in own):
                own.append(row)
        kept += [(float(scores[0, row]), grid[row].tolist()) for row in own]
    return [box for _, box in sorted(kept, key=lambda pair: -pair[0])[:count]]


def test_proposals_are_the_best_of_each_level_without_doubles() -> None:
    given = said(80)

    found = proposals(given, 0, SIZE, 50, 60)

    expected = torch.tensor(slow_proposals(given, 50, 60))
    torch.testing.assert_close(found, expected)
    assert 20 < len(found) <= 60


def test_levels_do_not_suppress_one_another() -> None:
    given = said(1, levels=1)
    twice = Proposed(given.objectness * 2, given.deltas * 2, given.anchors * 2)

    assert len(proposals(twice, 0, SIZE, 10, 10)) == 2


def test_the_order_of_anchors_does_not_matter() -> None:
    given = said(40, levels=1)
    order = torch.randperm(40)
    shuffled = Proposed((given.objectness[0][:, order],), given.deltas, (given.anchors[0][order],))

    torch.testing.assert_close(proposals(shuffled, 0, SIZE, 40, 40), proposals(given, 0, SIZE, 40, 40))


def test_proposals_beside_the_frame_are_left_out() -> None:
    given = said(30, levels=1)
    moved = Proposed(given.objectness, given.deltas, (given.anchors[0] + 1000,))

    assert proposals(moved, 0, SIZE, 30, 30).shape == (0, 4)


def test_candidates_are_what_detectors_promise(network: MaskRcnn) -> None:
    detector: Detector = network
    maps = random_maps()

    found = seen(network, maps, (60, 90))

    count = len(found.boxes)
    assert detector.in_channels == CHANNELS
    assert 20 < count <= SIZES.proposals
    assert found.class_scores.shape == (count, 5)
    assert found.id_scores.shape == (count, 4)
    assert (found.class_scores.sum(-1) < 1).all() and (found.id_scores.sum(-1) < 1).all()  # the rest is background
    assert torch.equal(found.quality, torch.ones(count))
    assert set(found.levels.tolist()) <= {0, 1, 2, 3}
    assert torch.equal(found.handles[:, :4], clipped(found.boxes, (60, 90)))
    assert torch.equal(found.handles[:, 4].long(), found.class_scores.argmax(-1))
    assert found.class_scores.std(0).min() > 0.01 and found.id_scores.std(0).min() > 0.01


def test_the_same_maps_give_the_same_candidates_and_masks(network: MaskRcnn) -> None:
    maps = random_maps()

    first, second = seen(network, maps), seen(network, maps)

    for name in ("class_scores", "id_scores", "boxes", "levels", "handles"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    rows = torch.arange(5)
    assert torch.equal(network.masks(first, rows), network.masks(second, rows))


def test_a_box_is_that_of_its_best_class(network: MaskRcnn) -> None:
    maps = random_maps()
    found = seen(network, maps)

    with torch.no_grad():
        pyramid, outputs = network.propose(maps)
        boxes = proposals(outputs, 0, SIZE, SIZES.proposals_per_level, SIZES.proposals)
        output = network.box_output(pyramid, boxes, torch.zeros(len(boxes), dtype=torch.int64))

    expected = []
    for box, logits, deltas in zip(boxes, output.class_logits, output.deltas, strict=True):
        refined = decode(deltas[1 + int(logits[1:].argmax())], box, REFINED)
        if (clipped(refined, SIZE)[2:] - clipped(refined, SIZE)[:2]).min() >= 0.01:
            expected.append(refined)
    torch.testing.assert_close(found.boxes, torch.stack(expected))


def test_without_identities_there_are_none() -> None:
    network = MaskRcnn(replace(SIZES, num_ids=0), CHANNELS).eval()

    found = seen(network, random_maps())

    assert found.id_scores.shape == (len(found.boxes), 0)
    assert not any("id_logits" in name for name, _ in network.named_parameters())


def test_masks_of_some_rows_are_those_of_all(network: MaskRcnn) -> None:
    found = seen(network, random_maps())
    rows = torch.tensor([7, 2, 11])

    with torch.no_grad():
        every, some, none = (network.masks(found, each) for each in (torch.arange(15), rows, rows[:0]))

    torch.testing.assert_close(some, every[rows])
    assert none.shape == (0, 16, 24)


def test_masks_stay_within_their_boxes(network: MaskRcnn) -> None:
    """But for the border, half a pixel of the mask around the box, and rounding to whole pixels."""
    found = seen(network, random_maps())

    masks = network.masks(found, torch.arange(30))

    y, x = torch.meshgrid(torch.arange(16) * 4 + 2, torch.arange(24) * 4 + 2, indexing="ij")
    x0, y0, x1, y1 = (each[:, None, None] for each in found.handles[:30, :4].unbind(-1))
    reach_x, reach_y = (x1 - x0) / 28 + 2, (y1 - y0) / 28 + 2
    beside = (x < x0 - reach_x) | (x > x1 + reach_x) | (y < y0 - reach_y) | (y > y1 + reach_y)
    assert masks.max() > 0.5
    assert not masks[beside].any()
    assert ((masks >= 0) & (masks <= 1)).all()


def published_paste(mask: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """The plain way: a border of a pixel, the box grown by it to whole pixels, the mask enlarged and put there."""
    side = len(mask)
    scale = (side + 2) / side
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * scale
    x0, y0, x1, y1 = torch.cat([middle - half, middle + half]).long().tolist()
    extent = (max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1))
    large = F.interpolate(F.pad(mask, (1, 1, 1, 1))[None, None], size=extent, mode="bilinear", align_corners=False)[
        0, 0
    ]
    canvas = torch.zeros(3 * size[0], 3 * size[1])  # the frame in the middle, room on all sides
    canvas[size[0] + y0 : size[0] + y0 + extent[0], size[1] + x0 : size[1] + x0 + extent[1]] = large
    return canvas[size[0] : 2 * size[0], size[1] : 2 * size[1]]


def test_masks_are_pasted_as_published_at_the_pixels_that_are_asked_for() -> None:
    masks = torch.rand(40, 28, 28)
    boxes = torch.cat([random_corners(30), random_corners(8) - 8, torch.tensor([[0.0, 0, 96, 64], [5, 5, 5.02, 5.02]])])

    pasted = paste(masks, boxes, (16, 24), 4)

    plain = [published_paste(mask, box, SIZE)[2::4, 2::4] for mask, box in zip(masks, boxes, strict=True)]
    torch.testing.assert_close(pasted, torch.stack(plain), atol=1e-5, rtol=1e-5)


def test_an_enlarged_mask_has_the_pasted_values_at_those_pixels() -> None:
    pasted = paste(torch.rand(3, 28, 28), random_corners(3), (16, 24), 4)

    torch.testing.assert_close(aligned_bilinear(pasted, 4)[:, 2::4, 2::4], pasted)


def test_the_tiny_preset_is_small() -> None:
    network = MaskRcnn(PRESETS["tiny"], (32, 64, 128, 256))

    assert sum(parameter.numel() for parameter in network.parameters()) < 800_000
