"""Denoising queries: their layout on the frames of a clip, how far they are disturbed, and who sees whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vistool.nn.denoising import Noise, NoisedQueries, blocked_pairs, noised_queries

QUERIES, CLASSES = 5, 4
LABELS = [torch.tensor([2, 0, 3]), torch.tensor([1])]
BOXES = [torch.tensor([[0.5, 0.5, 0.4, 0.2], [0.3, 0.6, 0.2, 0.3], [0.7, 0.4, 0.3, 0.3]]), torch.tensor([[0.5] * 4])]
VISIBLE = [torch.tensor([True, False, True]), torch.tensor([True])]


def queries_of(noise: Noise, visible: list[Tensor] = VISIBLE) -> NoisedQueries:
    """Queries for a frame with three objects, the second out of sight, and one with a single object."""
    made = noised_queries(LABELS, BOXES, visible, CLASSES, QUERIES, noise)
    assert made is not None
    return made


@pytest.mark.parametrize(("asked", "groups"), [(100, 33), (7, 2), (3, 1), (1, 1)])
def test_groups_are_the_queries_divided_by_the_most_objects_and_at_least_one(asked: int, groups: int) -> None:
    made = queries_of(Noise(queries=asked))

    assert made.groups == groups
    assert made.labels.shape == (2, groups * 2 * 3)


def test_a_group_lists_the_positive_queries_of_all_objects_and_then_the_negative_ones() -> None:
    made = queries_of(Noise(queries=6))

    expected = [(i, positive) for _ in range(2) for positive in (True, False) for i in range(3)]
    assert list(zip(made.objects.tolist(), made.positive.tolist(), strict=True)) == expected


def test_without_negative_queries_every_slot_is_to_be_restored() -> None:
    made = queries_of(Noise(queries=6, kind="positive"))

    assert made.objects.tolist() == [0, 1, 2, 0, 1, 2]
    assert made.positive.all()


def test_slots_without_a_visible_object_are_padded() -> None:
    made = queries_of(Noise(queries=6))

    slots = torch.arange(12) % 3
    assert torch.equal(made.padded[0], slots == 1)
    assert torch.equal(made.padded[1], slots > 0)
    assert (made.labels[made.padded] == 0).all()
    assert (made.boxes[made.padded] == 0.5).all()


def test_blocked_pairs_equal_the_rule_applied_pair_by_pair() -> None:
    made = queries_of(Noise(queries=6))

    count, size = 12, 6
    for row in range(count + QUERIES):
        for column in range(count + QUERIES):
            denoising = column < count
            other_group = row >= count or row // size != column // size
            assert made.blocked[row, column] == (denoising and other_group)


def test_a_network_of_attention_gives_matched_queries_nothing_of_the_denoising_ones() -> None:
    blocked = blocked_pairs(2, 3, QUERIES)
    content = torch.randn(len(blocked), 8)
    changed = content.clone()
    changed[:6] += 1.0  # every denoising query

    mixed, other = (
        torch.nn.functional.scaled_dot_product_attention(x[None], x[None], x[None], attn_mask=~blocked)[0]
        for x in (content, changed)
    )

    assert torch.equal(mixed[6:], other[6:])
    assert not torch.equal(mixed[:6], other[:6])


def test_every_query_may_see_something() -> None:
    assert (~blocked_pairs(4, 3, 0)).any(-1).all()


def test_positive_corners_move_less_than_the_scale_and_negative_ones_once_to_twice_it() -> None:
    scale = 0.4
    made = noised_queries(
        [torch.zeros(1, dtype=torch.long)],
        [torch.tensor([[0.5, 0.5, 0.4, 0.2]])],
        [torch.tensor([True])],
        CLASSES,
        QUERIES,
        Noise(queries=1000, box_scale=scale),
    )
    assert made is not None

    low, high = made.boxes[0, :, :2] - made.boxes[0, :, 2:] / 2, made.boxes[0, :, :2] + made.boxes[0, :, 2:] / 2
    half = torch.tensor([0.2, 0.1])
    moved = torch.cat([(low - (0.5 - half)).abs() / half, (high - (0.5 + half)).abs() / half], dim=-1)
    near, far = moved[made.positive], moved[~made.positive]
    assert near.min() < 0.02
    assert scale * 0.98 < near.max() <= scale + 1e-5
    assert scale - 1e-5 <= far.min() < scale * 1.02
    assert scale * 1.98 < far.max() <= 2 * scale + 1e-5


def test_boxes_stay_in_the_frame_and_are_never_turned_inside_out() -> None:
    edge = torch.tensor([[0.0, 1.0, 0.5, 0.5]])
    for kind in ("contrastive", "positive"):
        made = noised_queries([LABELS[1]], [edge], [VISIBLE[1]], CLASSES, QUERIES, Noise(queries=500, kind=kind))
        assert made is not None
        assert (made.boxes >= 0).all()
        assert (made.boxes <= 1).all()


def test_centres_and_sides_move_within_their_reach_where_all_queries_are_positive() -> None:
    made = queries_of(Noise(queries=1500, kind="positive", box_scale=0.3), VISIBLE)
    true = BOXES[0][0]

    moved = made.boxes[0, made.objects == 0] - true
    reach = 0.3 * torch.cat([true[2:] / 2, true[2:]])
    assert (moved.abs() <= reach + 1e-6).all()
    assert (moved.abs().amax(0) > 0.95 * reach).all()


def test_labels_are_drawn_anew_as_often_as_asked() -> None:
    kept, always = (queries_of(Noise(queries=1500, label_flip=p)) for p in (0.0, 1.0))

    true = LABELS[0][kept.objects]
    assert torch.equal(kept.labels[0][~kept.padded[0]], true[~kept.padded[0]])
    drawn = always.labels[0][(always.objects == 0)]
    counts = drawn.bincount(minlength=CLASSES) / len(drawn)
    torch.testing.assert_close(counts, torch.full((CLASSES,), 1 / CLASSES), atol=0.06, rtol=0)


@pytest.mark.parametrize("visible", [[False] * 3, []], ids=["all out of sight", "no object at all"])
def test_frames_without_an_object_get_no_denoising_queries(visible: list[bool]) -> None:
    count = len(visible)

    made = noised_queries(
        [LABELS[0][:count]], [BOXES[0][:count]], [torch.tensor(visible, dtype=torch.bool)], CLASSES, QUERIES, Noise()
    )

    assert made is None


def test_none_are_made_where_none_are_asked_for() -> None:
    assert noised_queries(LABELS, BOXES, VISIBLE, CLASSES, QUERIES, Noise(queries=0)) is None
