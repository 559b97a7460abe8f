"""What IAI is taught of a clip, on clips made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vistool.methods.iai.clip_targets import TaughtClip, identities, painted, taught
from vistool.methods.iai.id_bank import as_stacks
from vistool.nn.targets import ClipTargets

N = 20
NEW, NOBODY = N - 1, N
SIDE = 8


def clip(*sights: str) -> ClipTargets:
    """An object a word, a frame a letter: `x` where it is in sight. Object k fills row k of the picture."""
    masks = torch.zeros(len(sights), len(sights[0]), max(SIDE, len(sights)), SIDE, dtype=torch.bool)
    for k, word in enumerate(sights):
        for t, letter in enumerate(word):
            masks[k, t, k, : k % SIDE + 1] = letter == "x"
    return ClipTargets(torch.arange(len(sights)) % 3, masks)


def told(of: TaughtClip, t: int) -> dict[int, int]:
    """Row of the picture that an object fills → what the head must say of it on frame t."""
    target = of.frame(t)
    rows = target.masks.any(-1).int().argmax(-1).tolist()
    return dict(zip(rows, target.ids.tolist(), strict=True))


def test_an_object_is_new_when_it_is_first_seen_and_has_its_number_afterwards() -> None:
    of = taught(clip("xxx", ".xx", "..x"), N, permuted=False)

    assert [told(of, t) for t in range(3)] == [{0: NEW}, {0: 0, 1: NEW}, {0: 0, 1: 1, 2: NEW}]


def test_an_object_that_leaves_and_returns_keeps_its_number() -> None:
    of = taught(clip("xxxx", "x..x"), N, permuted=False)

    assert [told(of, t) for t in range(4)] == [{0: NEW, 1: NEW}, {0: 0}, {0: 0}, {0: 0, 1: 1}]


def test_the_newcomer_is_told_apart_from_those_before_it_in_the_file() -> None:
    """Of nine objects the fourth was there first: it is not the one that is new when the ninth comes."""
    sights = [".."] * 9
    sights[3], sights[8] = "xx", ".x"

    of = taught(clip(*sights), N, permuted=False)

    assert [told(of, t) for t in range(2)] == [{3: NEW}, {3: 3, 8: NEW}]


@pytest.mark.parametrize("permuted", [False, True], ids=["in order", "drawn"])
def test_objects_beyond_the_identities_are_new_once_and_then_nobody(permuted: bool) -> None:
    of = taught(clip(*["xx"] * 6), 5, permuted=permuted)  # four identities and "new"

    assert told(of, 0) == dict.fromkeys(range(6), 4)
    assert sorted(told(of, 1).values()) == [0, 1, 2, 3, 5, 5]
    assert (told(of, 1)[4], told(of, 1)[5]) == (5, 5)
    assert (of.pictures[:, 4:] == 5).all()  # their rows are painted as the background


def test_frames_on_which_somebody_gets_an_identity_are_marked() -> None:
    assert taught(clip("xxx.", ".xxx", "..xx"), N, permuted=False).fresh.tolist() == [True, True, True, False]
    assert taught(clip("xxxx", "x..x"), N, permuted=False).fresh.tolist() == [True, False, False, False]
    assert taught(clip("xx", ".x"), 2, permuted=False).fresh.tolist() == [True, False]  # nothing is left for the second


def test_a_drawn_order_renames_the_objects_alike_in_targets_and_memory() -> None:
    of = clip("xxxx", "x..x", ".xxx", "..xx", "xxxx")
    torch.manual_seed(3)

    plain, drawn = (taught(of, N, permuted=permuted) for permuted in (False, True))

    new_names = {k: int(drawn.pictures[3, k, 0]) for k in range(5)}
    renamed = torch.tensor([new_names.get(channel, channel) for channel in range(N + 1)])
    assert new_names != {k: k for k in range(5)}
    assert torch.equal(drawn.pictures, renamed[plain.pictures])
    assert torch.equal(drawn.ids, renamed[plain.ids])
    assert torch.equal(drawn.visible, plain.visible)


def test_drawn_identities_are_all_different_and_all_come_up() -> None:
    torch.manual_seed(0)

    draws = [identities(3, 6, permuted=True).tolist() for _ in range(200)]

    assert all(len(set(draw)) == 3 for draw in draws)
    assert {number for draw in draws for number in draw} == set(range(5))
    assert identities(3, 6, permuted=False).tolist() == [0, 1, 2]


def test_every_pixel_is_in_one_channel_and_none_is_in_that_of_new_objects() -> None:
    of = taught(clip("xxx", ".xx", "..x"), N, permuted=False)

    stacks = as_stacks(of.pictures, N + 1)

    assert stacks.shape == (3, N + 1, SIDE, SIDE)
    assert (stacks.sum(1) == 1).all()
    assert not stacks[:, NEW].any()
    assert torch.equal(stacks[:, 1], of.masks[1])
    assert torch.equal(stacks[:, NOBODY], ~of.masks.any(0))


def overlapping(large_first: bool) -> tuple[Tensor, Tensor]:
    masks = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.bool)
    masks[0, 0, 1:7, 1:7] = True
    masks[1, 0, 5:8, 5:8] = True
    numbers = torch.tensor([4, 7])
    return (masks, numbers) if large_first else (masks.flip(0), numbers.flip(0))


@pytest.mark.parametrize("large_first", [True, False])
def test_what_two_objects_cover_is_the_smaller_ones(large_first: bool) -> None:
    picture = painted(*overlapping(large_first), background=N)[0]

    assert (picture[5:8, 5:8] == 7).all()
    assert int((picture == 4).sum()) == 36 - 4
    assert int((picture == N).sum()) == SIDE * SIDE - 36 - 9 + 4


def test_only_what_is_in_sight_is_a_target_and_its_box_is_tight() -> None:
    target = taught(clip("x.", "xx", ".."), N, permuted=False).frame(1)

    assert target.labels.tolist() == [1]
    assert target.boxes.tolist() == [[0.0, 1.0, 2.0, 2.0]]
    assert target.masks.shape == (1, SIDE, SIDE)
    assert int(target.masks.sum()) == 2


def test_a_clip_without_objects_is_background() -> None:
    of = taught(ClipTargets(torch.zeros(0, dtype=torch.long), torch.zeros(0, 3, SIDE, SIDE, dtype=torch.bool)), N,
                permuted=True)  # fmt: skip

    assert (of.pictures == N).all()
    assert not of.fresh.any()
    assert len(of.frame(2).labels) == 0
