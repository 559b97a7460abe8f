"""The assignment of slots to objects, against its definition and all permutations."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hitf_fakes import K, L
from moving_clips import clips
from torch import Tensor

from vistool.methods.hitf.matching import match, similarity
from vistool.methods.hitf.slot_truth import VOID, Scene, by_slots, scene
from vistool.nn.targets import ClipTargets


def shown(frames: int = 2) -> Scene:
    """Three objects, the second of them on the last frame only."""
    return scene(clips(1, frames=4)[1][0], frames)


def said(one: Scene, seed: int = 0, slots: int = L) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    frames, h, w = one.masks.shape[1:]
    class_probs = torch.randn(frames, slots, K + 1, generator=random).softmax(-1)
    return class_probs, (3 * torch.randn(frames, slots, h, w, generator=random)).softmax(1)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_similarity_is_dice_over_all_frames_times_the_probability_of_the_class(frames: int) -> None:
    one = shown(frames)
    class_probs, mask_probs = said(one)

    found = similarity(class_probs, mask_probs, one)

    assert found.shape == (L, len(one.labels))
    for slot in range(L):
        for n, label in enumerate(one.labels.tolist()):
            shared = total = named = 0.0
            for f in range(frames):
                mask, truth = mask_probs[f, slot], one.masks[n, f].float()
                shared += float((mask * truth).sum())
                total += float(mask.sum() + truth.sum())
                named += float(class_probs[f, slot, label if truth.any() else K]) / frames
            assert float(found[slot, n]) == pytest.approx(2 * shared / total * named, rel=1e-4)


def test_the_assignment_is_the_best_of_all() -> None:
    one = shown()
    for seed in range(8):
        class_probs, mask_probs = said(one, seed)
        table = similarity(class_probs, mask_probs, one)
        best = max(
            permutations(range(L), len(one.labels)),
            key=lambda slots: float(sum(table[slot, n] for n, slot in enumerate(slots))),
        )

        truth = match(class_probs[None], mask_probs[None], [one], paired=True)

        wanted = by_slots([one], [torch.tensor(best)], count=L, nothing=K)
        assert torch.equal(truth.owners, wanted.owners)
        assert torch.equal(truth.classes, wanted.classes)


def perfect(one: Scene, slots: list[list[int]]) -> tuple[Tensor, Tensor]:
    """What a network says that sees all; object n is in slot `slots[f][n]` of frame f."""
    frames, h, w = one.masks.shape[1:]
    class_probs, mask_probs = torch.zeros(1, frames, L, K + 1), torch.full((1, frames, L, h, w), 0.01)
    class_probs[..., K] = 1
    for f in range(frames):
        for n, slot in enumerate(slots[f]):
            if one.visible[n, f]:
                class_probs[0, f, slot] = torch.eye(K + 1)[one.labels[n]]
                mask_probs[0, f, slot] = one.masks[n, f].float().clamp(min=0.01)
    return class_probs, mask_probs


def test_a_shuffle_is_undone() -> None:
    one = shown()

    truth = match(*perfect(one, [[3, 1, 0]] * 2), [one], paired=True)

    assert truth.classes.tolist() == [[[2, K, K, 0, K], [2, 1, K, 0, K]]]


def test_paired_an_object_has_one_slot_on_all_frames_and_otherwise_one_on_each() -> None:
    """The network has it now here and now there."""
    one = shown()
    changing = perfect(one, [[0, 1, 2], [4, 1, 2]])

    paired, single = (match(*changing, [one], paired=each) for each in (True, False))

    assert (single.classes[0] == 0).nonzero().tolist() == [[0, 0], [1, 4]]
    assert (paired.classes[0] == 0).any(0).sum() == 1
    assert (paired.classes[0] == 0).any(1).all()


def test_objects_without_a_slot_are_left_out_of_everything() -> None:
    masks = torch.zeros(7, 2, 32, 64, dtype=torch.bool)
    for n in range(7):
        masks[n, :, :, 8 * n : 8 * n + 8] = True
    one = scene(ClipTargets(torch.arange(7) % K, masks), 2)
    class_probs, mask_probs = said(one)

    truth = match(class_probs[None], mask_probs[None], [one], paired=True)

    assert (truth.classes < K).all()
    assert truth.owners[truth.owners >= 0].unique().tolist() == list(range(L))
    assert (truth.owners == VOID).sum() == 2 * 2 * 16  # two objects of two columns of eight cells, on two frames


@pytest.mark.parametrize("paired", [True, False])
def test_clips_of_a_batch_do_not_meet(paired: bool) -> None:
    full = scene(clips(2, frames=4)[1][1], 2)
    empty = Scene(full.labels[:0], full.masks[:0])
    class_probs, mask_probs = (torch.stack(each) for each in zip(said(full, 1), said(empty, 2), strict=True))

    both = match(class_probs, mask_probs, [full, empty], paired=paired)
    alone = match(class_probs[:1], mask_probs[:1], [full], paired=paired)

    assert torch.equal(both.owners[:1], alone.owners)
    assert torch.equal(both.classes[:1], alone.classes)
    assert (both.classes[1] == K).all()
