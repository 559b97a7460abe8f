"""`mask2former-vis` frame by frame: which slot continues which, and when a number is given up."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vistool import masks
from vistool.methods.mask2former_vis.online import (
    MEMORY,
    MIN_LIKENESS,
    FrameEvidence,
    QueryTracker,
    SlotMemory,
    associate,
)
from vistool.methods.published_info import describe
from vistool.nn.letterbox import Letterbox
from vistool.nn.presets import Mask2FormerSizes
from vistool.types import Frame, FramePrediction, RunOptions, VideoInfo

SIZE = (64, 96)
INFO = describe("mask2former-vis", Mask2FormerSizes(backbone="resnet-tiny", num_classes=2), {})
VIDEO = VideoInfo("film", SIZE, Fraction(25), None)
Looks = NDArray[np.float32]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def unit(looks: NDArray[np.floating]) -> Looks:
    return (looks / np.linalg.norm(looks, axis=-1, keepdims=True)).astype(np.float32)


def directions(count: int, dim: int = 16) -> Looks:
    """Looks that have nothing in common: cosine 0."""
    return np.linalg.qr(np.random.default_rng(1).standard_normal((dim, dim)))[0][:count].astype(np.float32)


def between(old: Looks, new: Looks, cosine: float) -> Looks:
    """A look at the given cosine to `old`, which is orthogonal to `new`."""
    return (cosine * old + np.sqrt(1 - cosine**2) * new).astype(np.float32)


def test_the_association_follows_a_shuffle(rng: np.random.Generator) -> None:
    old = unit(rng.standard_normal((20, 16)))
    shuffle = rng.permutation(20)

    found = associate(old, unit(old[shuffle] + 0.1 * rng.standard_normal((20, 16))))

    np.testing.assert_array_equal(shuffle[found], np.arange(20))


def test_the_association_is_the_best_of_all_one_to_one(rng: np.random.Generator) -> None:
    old, new = unit(rng.standard_normal((5, 4))), unit(rng.standard_normal((5, 4)))
    cosine = old @ new.T

    found = associate(old, new)

    best = max(permutations(range(5)), key=lambda columns: cosine[range(5), columns].sum())
    assert tuple(found) == best


class Memory:
    """A SlotMemory that is told which queries show something and says the number of each query."""

    def __init__(self) -> None:
        self.memory = SlotMemory()

    def next(self, looks: Looks, shown: Sequence[int]) -> dict[int, int]:
        order = self.memory.order(looks)
        slots = np.array([int(np.flatnonzero(order == query)[0]) for query in shown], np.int64)
        ids = self.memory.update(looks[order], slots)
        return dict(zip(shown, ids.tolist(), strict=True))


def test_an_object_keeps_its_number_whatever_query_shows_it(rng: np.random.Generator) -> None:
    memory, objects = Memory(), directions(6)
    first = memory.next(objects, range(6))
    assert first == {query: query + 1 for query in range(6)}

    for _ in range(5):
        shuffle = rng.permutation(6)
        found = memory.next(objects[shuffle], range(6))
        assert {int(shuffle[query]): track for query, track in found.items()} == first


def test_an_object_that_changes_little_by_little_keeps_its_number() -> None:
    memory, (young, old, other) = Memory(), directions(3)

    ids = [
        memory.next(np.stack([other, unit(np.cos(age) * young + np.sin(age) * old)]), [1])[1]
        for age in np.linspace(0, np.pi / 2, 12)
    ]

    assert set(ids) == {1}


@pytest.mark.parametrize(("hidden", "number"), [(0, 1), (MEMORY, 1), (MEMORY + 1, 2)])
def test_a_slot_that_showed_nothing_for_long_gets_a_new_number(hidden: int, number: int) -> None:
    memory, looks = Memory(), directions(3)
    memory.next(looks, [0])
    for _ in range(hidden):
        memory.next(looks, [])

    assert memory.next(looks, [0]) == {0: number}


@pytest.mark.parametrize(("likeness", "number"), [(MIN_LIKENESS + 0.01, 1), (MIN_LIKENESS - 0.01, 2)])
def test_another_object_in_a_slot_gets_a_new_number(likeness: float, number: int) -> None:
    memory, (before, stranger, other) = Memory(), directions(3)
    memory.next(np.stack([before, other]), [0])

    assert memory.next(np.stack([between(before, stranger, likeness), other]), [0]) == {0: number}


def test_an_object_that_returns_in_another_query_is_known_by_its_last_look() -> None:
    memory, (thing, other, *nothing) = Memory(), directions(5)
    memory.next(np.stack([thing, other, nothing[0]]), [0, 1])
    for away in (nothing[1], nothing[2], nothing[1]):  # the query that showed it shows nothing, and changes
        memory.next(np.stack([away, other, nothing[0]]), [1])

    assert memory.next(np.stack([nothing[1], other, thing]), [1, 2]) == {1: 2, 2: 1}


def test_numbers_are_never_used_again() -> None:
    memory, looks = Memory(), directions(8)
    given = [memory.next(looks[[2 * (t % 2), 1, 3]], [0])[0] for t in range(6)]  # a stranger each time

    assert given == [1, 2, 3, 4, 5, 6]


BOX = Letterbox.fit(SIZE, short_side=64)
LOOKS = directions(4)


def evidence(probs: Sequence[Sequence[float]], seen: Sequence[bool], looks: Looks = LOOKS) -> FrameEvidence:
    """Query q covers a quarter of the frame, the q-th from the left, where it is seen."""
    logits = torch.full((len(probs), 16, 24), -1.0)
    for query, visible in enumerate(seen):
        logits[query, :, 6 * query : 6 * query + 6] = 1.0 if visible else -1.0
    return FrameEvidence(torch.tensor(probs), logits, torch.from_numpy(looks), BOX)


def tracked(film: Sequence[FrameEvidence], **options: float) -> list[FramePrediction]:
    """The predictions for a film of which the network says `film`."""
    said = iter(film)
    tracker = QueryTracker(lambda image: next(said), INFO, RunOptions(**options))  # type: ignore[arg-type]
    return [tracker.step(frame_at(index)) for index in range(len(film))]


def frame_at(index: int) -> Frame:
    return Frame(5 * index, index / 5, np.zeros((*SIZE, 3), np.uint8))


PROBS = [[0.6, 0.1], [0.2, 0.7], [0.05, 0.05], [0.3, 0.1]]


def test_a_frame_tells_the_slots_that_are_likely_and_seen_best_first() -> None:
    first, second = tracked([evidence(PROBS, [True, True, True, False])] * 2, score_floor=0.1)

    assert (first.frame_index, second.frame_index) == (0, 5)
    assert second.track_ids.tolist() == first.track_ids.tolist() == [1, 2]
    assert (second.labels.tolist(), second.scores.tolist()) == ([1, 0], [np.float32(0.7), np.float32(0.6)])
    np.testing.assert_array_equal(second.class_scores, np.array([PROBS[1], PROBS[0]], np.float32))  # type: ignore[arg-type]
    boxes = [masks.box_xywh(mask) for mask in second.masks]
    assert [box and box[2:] for box in boxes] == [(24, 64), (24, 64)]
    assert [box and box[0] for box in boxes] == [24, 0]


def test_no_more_masks_are_made_than_asked_for() -> None:
    (few,) = tracked([evidence(PROBS, [True] * 4)], score_floor=0.1, max_instances=1)

    assert few.scores.tolist() == [np.float32(0.7)]


def test_a_frame_with_nothing_on_it_is_no_failure() -> None:
    (nothing,) = tracked([evidence(PROBS, [False] * 4)])

    assert (len(nothing.track_ids), nothing.masks) == (0, ())


def shuffled(film: Sequence[FrameEvidence]) -> list[FrameEvidence]:
    """The same film told by queries in another order on every frame."""
    rng = np.random.default_rng(2)
    orders = [torch.from_numpy(rng.permutation(4)) for _ in film]
    return [
        replace(
            told,
            class_probs=told.class_probs[order],
            mask_logits=told.mask_logits[order],
            embeddings=told.embeddings[order],
        )
        for told, order in zip(film, orders, strict=True)
    ]


def as_seen(prediction: FramePrediction) -> list[tuple[float, masks.Rle]]:
    return list(zip(prediction.scores.tolist(), prediction.masks, strict=True))


def test_the_order_of_the_queries_changes_nothing_that_is_seen() -> None:
    film = [evidence(PROBS, [True, t % 2 == 0, True, True]) for t in range(6)]

    one, other = tracked(film), tracked(shuffled(film))

    assert [as_seen(frame) for frame in one] == [as_seen(frame) for frame in other]
    assert [frame.track_ids.tolist() for frame in one] == [frame.track_ids.tolist() for frame in other]


def test_with_a_floor_of_zero_every_slot_is_told_on_every_frame_under_its_number() -> None:
    strangers = directions(8)[4:]
    film = [evidence(PROBS, [True, False, True, False])] * 2 + [evidence(PROBS, [True] * 4, strangers)]

    told = tracked(film, score_floor=0.0, max_instances=2)

    assert [frame.track_ids.tolist() for frame in told] == [[1, 2, 3, 4]] * 3
    assert [[masks.area(mask) > 0 for mask in frame.masks] for frame in told[:2]] == [[True, False, False, False]] * 2
    assert sum(masks.area(mask) > 0 for mask in told[2].masks) == 2
    assert all(mask.size_hw == SIZE for frame in told for mask in frame.masks)


def test_nothing_of_a_frame_is_kept() -> None:
    held: list[weakref.ref[Tensor]] = []

    def look(image: NDArray[np.uint8]) -> FrameEvidence:
        told = evidence(PROBS, [True] * 4)
        held.extend(weakref.ref(tensor) for tensor in (told.mask_logits, told.class_probs))
        return told

    tracker = QueryTracker(look, INFO, RunOptions())
    for index in range(3):
        tracker.step(frame_at(index))

    assert [ref for ref in held if ref() is not None] == []
