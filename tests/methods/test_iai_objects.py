"""From candidates to objects: thresholds, ranking, suppression, and masks without overlap, against plain readings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from iai_fakes import PRESET
from torch import Tensor

from vistool import masks
from vistool.methods.iai.frame_objects import FrameObjects, clipped, find_objects, select
from vistool.nn.boxes import pairwise_iou
from vistool.nn.detector import Detections
from vistool.nn.dynamic_masks import aligned_bilinear
from vistool.nn.letterbox import Letterbox

K, N, H, W = 3, 5, 64, 96


class GivenMasks:
    """A detector that has found everything already."""

    in_channels = ()

    def __init__(self, probs: Tensor) -> None:
        self.probs = probs

    def detect(self, maps: tuple[Tensor, ...], size_hw: tuple[int, int]) -> Detections:
        raise AssertionError("asked for what it does not know")

    def losses(self, maps: tuple[Tensor, ...], targets: object) -> dict[str, Tensor]:
        raise AssertionError("asked for what it does not know")

    def masks(self, found: Detections, rows: Tensor) -> Tensor:
        return self.probs[rows]


def candidates(seed: int, count: int = 60) -> Detections:
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(shape, generator=random)

    corner = drawn(count, 2) * torch.tensor([W - 20.0, H - 20.0])
    boxes = torch.cat([corner, corner + 10 + 20 * drawn(count, 2)], dim=1)
    return Detections(
        class_scores=0.3 * drawn(count, K),
        id_scores=0.3 * drawn(count, N),
        quality=drawn(count),
        boxes=boxes,
        levels=(3 * drawn(count)).long(),
        handles=boxes,
        pixels=torch.zeros(0),
    )


def plain_selection(found: Detections, *, first: bool, most_a_level: int, most: int, mean: bool = False) -> list[int]:
    """Row by row: the best of each level, those above both thresholds, and none that doubles a better one."""
    rows: list[int] = []
    for level in range(3):
        own = [row for row in range(len(found.boxes)) if found.levels[row] == level]
        own.sort(key=lambda row: -float((found.class_scores[row] * found.quality[row]).max()))
        rows += own[:most_a_level]
    ranked = []
    for row in rows:
        a, b, c = (float(x) for x in (found.class_scores[row].max(), found.id_scores[row].max(), found.quality[row]))
        if a > 0.1 and b > 0.1:
            ranked.append(((a + b) / 2 if mean else (a + 0.5 * b) * c if first else (0.5 * a + b) * c, row))
    kept: list[int] = []
    overlaps = pairwise_iou(found.boxes, found.boxes)
    for _, row in sorted(ranked, reverse=True):
        if all(overlaps[row, other] <= 0.5 for other in kept):
            kept.append(row)
    return kept[:most]


@pytest.mark.parametrize("first", [True, False], ids=["first frame", "later frame"])
@pytest.mark.parametrize(("most_a_level", "most"), [(200, 10), (8, 10), (200, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_chosen_as_in_the_release(seed: int, most_a_level: int, most: int, first: bool) -> None:
    found = candidates(seed)

    rows = select(found, replace(PRESET, nms_pre=most_a_level, max_per_frame=most), first=first)

    expected = plain_selection(found, first=first, most_a_level=most_a_level, most=most)
    assert rows.tolist() == expected
    assert expected


def test_as_printed_they_are_ranked_by_the_mean_of_both_scores_on_every_frame() -> None:
    found, rules = candidates(5), replace(PRESET, nms_score="mean")

    rows = select(found, rules, first=True)

    assert rows.tolist() == plain_selection(found, first=True, most_a_level=200, most=10, mean=True)
    assert torch.equal(rows, select(found, rules, first=False))


def test_without_identities_the_class_alone_decides() -> None:
    found = candidates(2)
    nobody = replace(found, id_scores=found.id_scores[:, :0])

    rows = select(nobody, replace(PRESET, identities="overlap", id_head=False), first=False)

    scores = found.class_scores[rows].amax(1)
    assert bool((scores > 0.1).all())
    assert torch.equal(rows, rows[(scores * found.quality[rows]).argsort(descending=True)])


def objects_of(probs: Tensor, letterbox: Letterbox, **rules: Any) -> FrameObjects:
    """All of these masks (n, H / 4, W / 4), best first."""
    count = len(probs)
    boxes = 1000.0 * torch.arange(count)[:, None] + torch.tensor([0.0, 0, 10, 10])
    found = Detections(
        class_scores=torch.linspace(0.9, 0.5, count)[:, None].expand(-1, K),
        id_scores=torch.full((count, N), 0.5),
        quality=torch.full((count,), 0.5),
        boxes=boxes,
        levels=torch.zeros(count, dtype=torch.int64),
        handles=boxes,
        pixels=torch.zeros(0),
    )
    return find_objects(GivenMasks(probs), found, letterbox, replace(PRESET, **rules), first=True)


def blobs(seed: int, count: int = 6) -> Tensor:
    """Smooth random masks (n, H / 4, W / 4), some of them nearly or wholly behind others."""
    coarse = torch.rand(count, 1, 4, 6, generator=torch.Generator().manual_seed(seed))
    probs = torch.nn.functional.interpolate(coarse, (H // 4, W // 4), mode="bilinear")[:, 0]
    probs[3] = probs[0]
    probs[4] *= 0.4
    return probs


@pytest.mark.parametrize("source_hw", [(60, 90), (45, 70), (123, 181)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("seed", range(3))
def test_masks_lose_the_pixels_of_better_ones_at_both_sizes(seed: int, source_hw: tuple[int, int]) -> None:
    probs, inner_hw = blobs(seed), (60, 90)

    found = objects_of(probs, Letterbox(source_hw, inner_hw, (H, W)))

    fine = aligned_bilinear(probs, 4)
    claimed, taken = torch.zeros(H, W, dtype=torch.bool), torch.zeros(source_hw, dtype=torch.bool)
    inside, outside = [], []
    for prob in fine:
        mask = prob > 0.5
        inner = prob[None, None, :60, :90]
        shape = torch.nn.functional.interpolate(inner, source_hw, mode="bilinear", align_corners=False)[0, 0] > 0.5
        visible, told = mask & ~claimed, shape & ~taken
        claimed, taken = claimed | mask, taken | shape
        if mask.any() and float(visible.sum()) / float(mask.sum()) >= 0.1:
            inside.append(visible)
            outside.append(told)
    assert torch.equal(found.masks, torch.stack(inside))
    wrong = [
        np.count_nonzero(masks.decode(rle) != told.numpy()) for rle, told in zip(found.shapes, outside, strict=True)
    ]
    assert max(wrong) <= 2  # a probability of one half to the last bit


def test_a_mask_behind_better_ones_is_dropped_with_what_is_left_of_it() -> None:
    probs = torch.zeros(3, H // 4, W // 4)
    probs[0, :, :10], probs[1, :, :11], probs[2, :, 10:20] = 1, 1, 1

    found = objects_of(probs, Letterbox((H, W), (H, W), (H, W)), min_visible=0.2)

    assert len(found.masks) == 2
    left = probs[2].bool() & ~probs[1].bool()
    assert abs(int(found.masks[1].sum()) - 16 * int(left.sum())) <= 4 * H  # pixels of the second stay taken
    assert not (found.masks[0] & found.masks[1]).any()


def test_scores_are_multiplied_by_the_quality_and_those_of_identities_are_not() -> None:
    found = objects_of(blobs(0)[:1], Letterbox((H, W), (H, W), (H, W)))

    torch.testing.assert_close(found.class_scores, torch.full((1, K), 0.45))
    torch.testing.assert_close(found.id_scores, torch.full((1, N), 0.5))


def test_boxes_are_inside_the_frame() -> None:
    boxes = torch.tensor([[-3.0, 4, 200, 9], [5, -1, 7, 99]])

    assert clipped(boxes, (60, 90)).tolist() == [[0, 4, 90, 9], [5, 0, 7, 60]]


def test_a_frame_without_candidates_has_no_objects() -> None:
    found = objects_of(torch.zeros(0, H // 4, W // 4), Letterbox((31, 40), (H, W), (H, W)))

    assert found.class_scores.shape == (0, K)
    assert found.masks.shape == (0, H, W)
    assert found.shapes == ()
