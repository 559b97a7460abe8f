"""How HITF learns: which frames are looked at, the main terms against loops, and that all of it trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from hitf_fakes import SMALL, H, K, L, W, network
from moving_clips import clips
from torch import Tensor, nn

from vistool.methods.hitf.encoder import Encoded
from vistool.methods.hitf.loss import MAIN, POSITIVE, look, losses, main_terms
from vistool.methods.hitf.network import FrameOutput, Hitf
from vistool.methods.hitf.recipe import HitfRecipe
from vistool.methods.hitf.slot_truth import VOID, Scene, by_slots, scene
from vistool.methods.hitf.temporal import Reference
from vistool.nn.targets import ClipTargets

TERMS = {"mask", "class", "empty", "discrimination", "mask_identity", "semantic"}


class Recorder(nn.Module):
    """In place of the network: remembers which frame of which clip is fused with which."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.preset = replace(SMALL, **changes)
        self.encoded: list[int] = []
        self.fused: list[tuple[list[float], list[list[float]]]] = []

    def encode(self, frames: Tensor) -> Encoded:
        self.encoded.append(len(frames))
        first = frames[:, :1, :1, :1]
        return Encoded(first[..., 0], first, first, Reference(first[..., 0], first))

    def fuse(self, encoded: Encoded, references: Sequence[Reference]) -> FrameOutput:
        self.fused.append((encoded.fine.flatten().tolist(), [one.pixels.flatten().tolist() for one in references]))
        clips = len(encoded.code)
        maps = torch.zeros(clips, L, H // 4, W // 4)
        return FrameOutput(torch.zeros(clips, L, K + 1), maps, maps[:, :2], torch.zeros(clips, K + 1, H // 4, W // 4))


def numbered(count: int, length: int) -> Tensor:
    """Frame t of clip b says 10 b + t."""
    numbers = 10 * torch.arange(count)[:, None] + torch.arange(length)
    return numbers[..., None, None, None].expand(-1, -1, 3, H, W).float()


def fused(length: int, count: int, clips: int = 1, **changes: Any) -> list[tuple[list[float], list[list[float]]]]:
    recorder = Recorder(**changes)
    look(cast(Hitf, recorder), numbered(clips, length), count)
    assert recorder.encoded == [clips * length]
    return recorder.fused


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [(0, [])]),
        (2, [(0, []), (1, [0])]),
        (3, [(1, [0]), (2, [1, 0])]),
        (4, [(2, [1, 0]), (3, [2, 1, 0])]),
        (5, [(3, [2, 1, 0]), (4, [3, 2, 1])]),
    ],
)
def test_a_frame_looks_back_at_those_before_it_the_newest_first(
    length: int, expected: list[tuple[int, list[int]]]
) -> None:
    found = fused(length, min(length, 2))

    assert [(now[0], [before[0] for before in past]) for now, past in found] == expected


def test_clips_of_a_batch_do_not_mix() -> None:
    assert fused(3, 1, clips=2) == [([2.0, 12.0], [[1.0, 11.0], [0.0, 10.0]])]


@pytest.mark.parametrize(
    ("length", "supervised", "lengths"),
    [(1, 2, {1}), (2, 2, {2}), (4, 2, {2, 3, 4}), (7, 2, {2, 3, 4, 5}), (4, 1, {2, 3, 4}), (4, 9, {4})],
)
def test_how_far_back_the_last_frame_looks_is_drawn(length: int, supervised: int, lengths: set[int]) -> None:
    frames, targets = numbered(1, length), clips(1, frames=length)[1]
    seen = set()
    for seed in range(16):
        recorder = Recorder(supervised=supervised)
        torch.manual_seed(seed)
        losses(cast(Hitf, recorder), frames, targets)
        assert recorder.fused[-1][0] == [length - 1]
        assert len(recorder.fused) == min(supervised, length)
        seen.add(recorder.encoded[0])

    assert seen == lengths


@pytest.mark.parametrize("least", [1e-5, 0.2, 1.0])
def test_main_terms_are_those_of_a_loop(least: float) -> None:
    scenes = [scene(target, 2) for target in clips(2, frames=4)[1]]
    truth = by_slots(scenes, [torch.tensor([3, 0, 1]), torch.tensor([2, -1, 4])], count=L, nothing=K)
    random = torch.Generator().manual_seed(0)
    class_logits = torch.randn(2, 2, L, K + 1, generator=random)
    mask_probs = torch.randn(2, 2, L, H // 4, W // 4, generator=random).softmax(2)
    mask = positive = negative = 0.0
    for b in range(2):
        for f in range(2):
            valid = truth.owners[b, f] != VOID
            for slot in range(L):
                probs, wanted = class_logits[b, f, slot].softmax(0), int(truth.classes[b, f, slot])
                if wanted == K:
                    negative -= math.log(float(probs[K]))
                    continue
                own, true = mask_probs[b, f, slot][valid], (truth.owners[b, f] == slot)[valid].float()
                dice = float((2 * (own * true).sum() + 1) / (own.sum() + true.sum() + 1))
                mask += max(float(probs[wanted]), least) * (1 - dice)
                positive -= max(dice, least) * math.log(float(probs[wanted]))

    terms = main_terms(class_logits, mask_probs, truth, least)

    count = 2 * 2 * L
    assert (truth.owners == VOID).any()
    assert float(terms["mask"]) == pytest.approx(MAIN * POSITIVE * mask / count, rel=1e-4)
    assert float(terms["class"]) == pytest.approx(MAIN * POSITIVE * positive / count, rel=1e-4)
    assert float(terms["empty"]) == pytest.approx(MAIN * (1 - POSITIVE) * negative / count, rel=1e-4)


def test_class_and_mask_weigh_each_other_and_learn_nothing_from_it() -> None:
    truth = by_slots([scene(clips(1, frames=4)[1][0], 2)], [torch.tensor([3, 0, 1])], count=L, nothing=K)
    class_logits = torch.zeros(1, 2, L, K + 1, requires_grad=True)
    mask_logits = torch.zeros(1, 2, L, H // 4, W // 4, requires_grad=True)

    terms = main_terms(class_logits, mask_logits.softmax(2), truth, 1e-5)

    (of_mask,) = torch.autograd.grad(terms["mask"], class_logits, retain_graph=True, allow_unused=True)
    (of_class,) = torch.autograd.grad(terms["class"], mask_logits, allow_unused=True)
    assert of_mask is None
    assert of_class is None


@pytest.mark.parametrize(("least", "learns"), [(1e-5, False), (0.2, True)])
def test_a_slot_that_is_neither_placed_nor_named_learns_by_the_least_weight(least: float, learns: bool) -> None:
    """All slots but 0 say nothing, nowhere; one of them is given an object of 1,200 cells."""
    masks = torch.zeros(1, 2, 40, 60, dtype=torch.bool)
    masks[..., :30] = True
    truth = by_slots([Scene(torch.tensor([1]), masks)], [torch.tensor([3])], count=L, nothing=K)
    class_logits = torch.zeros(1, 2, L, K + 1)
    class_logits[..., K] = 12.0
    mask_logits = torch.full((1, 2, L, 40, 60), -12.0)
    mask_logits[:, :, 0] = 12.0
    leaves = (class_logits.requires_grad_(), mask_logits.requires_grad_())

    terms = main_terms(class_logits, mask_logits.softmax(2), truth, least)
    of_class, _ = torch.autograd.grad(terms["class"] + terms["mask"], leaves)

    assert bool(of_class[:, :, 3].abs().max() > 1e-3) is learns


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize(("length", "paired"), [(1, True), (2, True), (2, False), (3, True), (4, True), (5, True)])
def test_clips_of_any_length_and_of_any_size_are_taken(length: int, paired: bool) -> None:
    frames, targets = clips(2, frames=length, size_hw=(61, 87))
    torch.manual_seed(0)

    terms = losses(network(replace(SMALL, pair_matching=paired)).train(), frames, targets)

    assert terms.keys() == TERMS
    assert all(term.isfinite() and term > 0 for term in terms.values())


def test_every_weight_of_the_network_learns() -> None:
    frames, targets = clips(2, frames=4)
    learner = network().train()
    torch.manual_seed(1)

    total(losses(learner, frames, targets)).backward()

    idle = {name for name, weight in learner.named_parameters() if weight.requires_grad and weight.grad is None}
    assert idle == set()
    assert all(weight.grad.isfinite().all() for weight in learner.parameters() if weight.grad is not None)


@pytest.mark.parametrize("objects", [0, 9], ids=["none", "more than slots"])
def test_any_number_of_objects_is_taken(objects: int) -> None:
    frames, _ = clips(1, frames=4)
    masks = torch.zeros(objects, 4, H, W, dtype=torch.bool)
    for n in range(objects):
        masks[n, :, :, 8 * n : 8 * n + 8] = True
    learner = network().train()

    terms = losses(learner, frames, [ClipTargets(torch.arange(objects) % K, masks)])
    total(terms).backward()

    assert all(term.isfinite() for term in terms.values())
    assert all(weight.grad.isfinite().all() for weight in learner.parameters() if weight.grad is not None)


def test_frames_before_the_first_with_losses_learn_too() -> None:
    """What references show is learned from; the clip is as long as can be here."""
    frames, targets = clips(1, frames=4)
    frames.requires_grad_()
    learner = network(replace(SMALL, supervised=1, references=1)).train()

    total(losses(learner, frames, targets)).backward()

    assert frames.grad is not None
    assert (frames.grad.abs().amax((0, 2, 3, 4)) > 0).tolist() == [False, False, True, True]


def test_a_few_steps_on_one_clip_lower_the_loss() -> None:
    frames, targets = clips(1, frames=4, size_hw=(48, 64))
    recipe = HitfRecipe()
    torch.manual_seed(0)
    learner = recipe.build(SMALL).train()
    optimiser = torch.optim.AdamW(learner.parameters(), lr=5e-3)
    seen = []

    for step in range(20):
        torch.manual_seed(step)
        terms = recipe.losses(learner, frames, targets)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        seen.append({name: float(term.detach()) for name, term in terms.items()})

    sums = [sum(each.values()) for each in seen]
    assert sum(sums[-3:]) < 0.7 * sum(sums[:3])
    for name in ("discrimination", "mask_identity", "semantic"):
        assert sum(each[name] for each in seen[-3:]) < 0.9 * sum(each[name] for each in seen[:3]), name
