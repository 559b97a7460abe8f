"""Merging results of several input sizes."""

from __future__ import annotations

import pytest
import torch

from vistool.methods.ifr.presets import Preset
from vistool.methods.ifr.tta import SizeResult, matched_slots, merge

PRESET = Preset(backbone="resnet-tiny", num_classes=3, queries=5)


def result(seed: int = 0) -> SizeResult:
    random = torch.Generator().manual_seed(seed)
    return SizeResult(torch.rand(5, 3, generator=random), torch.randn(5, 2, 8, 9, generator=random).mul(4).sigmoid())


def test_four_copies_of_one_result_are_that_result() -> None:
    one = result()

    merged = merge([one] * 4, PRESET)

    order = one.class_probs.amax(1).argsort(descending=True)
    torch.testing.assert_close(merged.class_probs, one.class_probs[order])
    torch.testing.assert_close(merged.mask_probs, one.mask_probs[order])


@pytest.mark.parametrize("order", [[4, 2, 0, 1, 3], [1, 0, 3, 4, 2]])
def test_slots_are_found_again_whatever_their_order(order: list[int]) -> None:
    one = result()
    shuffled = SizeResult(one.class_probs[order], one.mask_probs[order])

    slots = matched_slots(one, shuffled, PRESET)

    assert torch.equal(torch.tensor(order)[slots], torch.arange(5))


def test_the_mean_lies_between_the_results() -> None:
    first, second = result(0), result(1)

    merged = merge([first, first, first, second], PRESET, pivot=0)

    order = first.class_probs.amax(1).topk(5).indices
    sorted_first = SizeResult(first.class_probs[order], first.mask_probs[order])
    slots = matched_slots(sorted_first, second, PRESET)
    expected = (3 * first.mask_probs[order] + second.mask_probs[slots]) / 4
    torch.testing.assert_close(merged.mask_probs, expected)
