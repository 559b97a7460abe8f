"""Auxiliary losses against loops over pixels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hitf_fakes import K, L
from moving_clips import clips
from torch import Tensor

from vistool.methods.hitf.auxiliary import TEMPERATURE, discrimination, mask_identity, semantic
from vistool.methods.hitf.slot_truth import BACKGROUND, VOID, SlotTruth, by_slots, scene


def truth(slots: tuple[int, ...] = (3, 0, 1), count: int = L) -> SlotTruth:
    """Two clips of two frames."""
    scenes = [scene(target, 2) for target in clips(2, frames=4, size_hw=(60, 90))[1]]
    return by_slots(scenes, [torch.tensor(slots)] * 2, count=count, nothing=K)


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("slots", [(3, 0, 1), (3, -1, 1)], ids=["all", "one without a slot"])
def test_features_of_an_object_are_told_from_the_means_of_the_others(slots: tuple[int, ...]) -> None:
    wanted = truth(slots)
    features = F.normalize(random(2, 2, 4, 15, 23), dim=2)
    frames = []
    for b in range(2):
        for f in range(2):
            owners, pixels = wanted.owners[b, f], features[b, f]
            means = {
                slot: F.normalize(pixels[:, owners == slot].mean(1), dim=0)
                for slot in owners[owners >= 0].unique().tolist()
            }
            surprises = []
            for y, x in (owners >= 0).nonzero().tolist():
                alike = {slot: math.exp(float(mean @ pixels[:, y, x]) / TEMPERATURE) for slot, mean in means.items()}
                surprises.append(-math.log(alike[int(owners[y, x])] / sum(alike.values())))
            frames.append(sum(surprises) / len(surprises))

    assert float(discrimination(features, wanted)) == pytest.approx(sum(frames) / 4, rel=1e-4)


@pytest.mark.parametrize(
    ("slots", "count"), [((3, 0, 1), L), ((3, -1, 1), L), ((2, 0, 1), 3)], ids=["free slots", "void", "no free slot"]
)
def test_pixels_belong_to_their_slot_and_background_to_all_that_are_free(slots: tuple[int, ...], count: int) -> None:
    wanted = truth(slots, count)
    logits = 2 * random(2, 2, count, 15, 23)
    surprises = []
    for b in range(2):
        for f in range(2):
            used = set(wanted.owners[b, f].unique().tolist()) - {VOID, BACKGROUND}
            for y in range(15):
                for x in range(23):
                    probs, owner = logits[b, f, :, y, x].softmax(0), int(wanted.owners[b, f, y, x])
                    free = [slot for slot in range(count) if slot not in used]
                    if owner >= 0:
                        surprises.append(-math.log(float(probs[owner])))
                    elif owner == BACKGROUND and free:
                        surprises.append(-math.log(float(probs[free].sum())))

    assert float(mask_identity(logits, wanted)) == pytest.approx(sum(surprises) / len(surprises), rel=1e-4)


def test_every_pixel_has_a_class_also_that_of_an_object_without_a_slot() -> None:
    wanted = truth((3, -1, 1))
    logits = random(2, 2, K + 1, 15, 23)
    surprises = [
        -math.log(float(logits[b, f, :, y, x].softmax(0)[wanted.kinds[b, f, y, x]]))
        for b in range(2)
        for f in range(2)
        for y in range(15)
        for x in range(23)
    ]

    assert (wanted.owners == VOID).any()
    assert float(semantic(logits, wanted)) == pytest.approx(sum(surprises) / len(surprises), rel=1e-4)


def test_without_objects_nothing_is_to_be_told_apart_and_gradients_are_finite() -> None:
    full = truth()
    empty = SlotTruth(
        torch.full_like(full.classes, K), torch.full_like(full.owners, BACKGROUND), torch.full_like(full.kinds, K)
    )
    features = F.normalize(random(2, 2, 4, 15, 23), dim=2).requires_grad_()
    logits = random(2, 2, L, 15, 23).requires_grad_()

    apart, whose = discrimination(features, empty), mask_identity(logits, empty)
    (apart + whose).backward()

    assert float(apart.detach()) == 0
    assert float(whose.detach()) == pytest.approx(0, abs=1e-6)  # all slots are free
    assert features.grad is not None and features.grad.isfinite().all()
    assert logits.grad is not None and logits.grad.isfinite().all()
