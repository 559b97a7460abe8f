"""What a clip shows on the grid, by objects and by slots, against loops over pixels."""

from __future__ import annotations

import torch
from hitf_fakes import K, L
from torch import Tensor

from vistool.methods.hitf.slot_truth import BACKGROUND, VOID, by_slots, scene
from vistool.nn.targets import ClipTargets


def overlapping(size_hw: tuple[int, int] = (23, 30), frames: int = 3) -> ClipTargets:
    random = torch.Generator().manual_seed(4)
    masks = torch.zeros(4, frames, *size_hw, dtype=torch.bool)
    for n in range(4):
        for t in range(frames):
            y, x = (int(torch.randint(0, side // 2, (), generator=random)) for side in size_hw)
            masks[n, t, y : y + 9 + n, x : x + 14 - 2 * n] = n != 2 or t == 0
    return ClipTargets(torch.tensor([1, 0, 2, 2]), masks)


def on_top(target: ClipTargets, t: int, y: int, x: int) -> int | None:
    """The smallest object of a frame, by its cells, that covers a pixel."""
    areas = {n: int(target.masks[n, t, ::4, ::4].sum()) for n in range(4) if target.masks[n, t, y, x]}
    return min(areas, key=lambda n: (areas[n], n), default=None)


def test_cells_lie_on_every_fourth_pixel_and_the_smaller_object_on_top() -> None:
    target = overlapping()

    shown = scene(target, 3)

    assert shown.masks.shape == (4, 3, 6, 8)
    for t in range(3):
        for y in range(6):
            for x in range(8):
                owner = on_top(target, t, 4 * y, 4 * x)
                assert shown.masks[:, t, y, x].nonzero()[:, 0].tolist() == ([] if owner is None else [owner])


def test_an_object_that_fills_the_frame_lies_below() -> None:
    masks = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    masks[1], masks[0, :, :8] = True, True

    shown = scene(ClipTargets(torch.tensor([0, 1]), masks), 1)

    assert shown.masks.sum((1, 2, 3)).tolist() == [8, 8]
    assert scene(ClipTargets(torch.tensor([1]), masks[1:]), 1).masks.all()


def test_only_objects_of_the_last_frames_count() -> None:
    target = overlapping()

    shown = scene(target, 2)

    assert shown.labels.tolist() == [1, 0, 2]  # the third object is on the first frame only
    assert torch.equal(shown.masks, scene(target, 3).masks[[0, 1, 3], 1:])
    assert shown.visible.all()


def test_an_object_between_the_cells_is_not_there() -> None:
    masks = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    masks[0, :, 5:8, 5:8] = True

    assert len(scene(ClipTargets(torch.tensor([0]), masks), 2).labels) == 0


def truth_of(target: ClipTargets, slots: Tensor):  # type: ignore[no-untyped-def]
    return by_slots([scene(target, 3)], [slots], count=L, nothing=K)


def test_slots_say_what_their_objects_are_where_they_are() -> None:
    target, slots = overlapping(), torch.tensor([4, 0, -1, 2])
    shown = scene(target, 3)

    truth = truth_of(target, slots)

    assert truth.classes.tolist() == [[[0, K, 2, K, 1]] * 3]
    assert torch.equal(truth.masks[0].bool()[:, [4, 0, 2]], shown.masks[[0, 1, 3]].transpose(0, 1))
    assert not truth.masks[0, :, [1, 3]].any()
    for t in range(3):
        for y in range(6):
            for x in range(8):
                owner = on_top(target, t, 4 * y, 4 * x)
                slot = BACKGROUND if owner is None else {-1: VOID}.get(int(slots[owner]), int(slots[owner]))
                kind = K if owner is None else int(target.labels[owner])
                assert (int(truth.owners[0, t, y, x]), int(truth.kinds[0, t, y, x])) == (slot, kind)


def test_a_slot_names_nothing_where_its_object_is_absent() -> None:
    truth = truth_of(overlapping(), torch.tensor([4, 0, 1, 2]))

    assert truth.classes[0, :, 1].tolist() == [2, K, K]


def test_a_clip_without_objects_is_background() -> None:
    empty = ClipTargets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, 23, 30, dtype=torch.bool))

    truth = truth_of(empty, torch.zeros(0, dtype=torch.int64))

    assert (truth.owners == BACKGROUND).all()
    assert (truth.kinds == K).all()
    assert (truth.classes == K).all()
    assert truth.owners.shape == (1, 3, 6, 8)
