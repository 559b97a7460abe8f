"""Who is who: the assignment, the numbering, and what happens when there are more objects than identities."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from iai_fakes import PRESET

from vistool import masks
from vistool.methods.iai.identities import NEW, NOBODY, Identities, continued
from vistool.methods.iai.overlaps import LastSights
from vistool.methods.iai.presets import PRESETS, Preset

PAPER = replace(PRESET, unseen_ids="barred", overflow="drop")


def slots(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def rows(*scores: dict[int, float], ids: int = 20) -> np.ndarray:
    """What the head says: an identity and its score a row, the others 0.01."""
    table = np.full((len(scores), ids), 0.01, np.float32)
    for row, said in zip(table, scores, strict=True):
        row[list(said)] = list(said.values())
    return table


def best_total(scores: np.ndarray, known: int) -> float:
    """Greatest total over all ways to give n detections different known slots, or "new" to any of them."""
    count, ids = scores.shape
    choices = [*range(known), *[ids - 1] * count]
    return max(sum(scores[row, column] for row, column in enumerate(way)) for way in permutations(choices, count))


@given(st.integers(0, 10_000))
def test_the_assignment_as_printed_has_the_greatest_total(seed: int) -> None:
    scores = np.random.default_rng(seed).random((3, 5)).astype(np.float32)

    found = continued(scores, np.arange(3), PAPER)

    total = sum(scores[row, slot if slot != NEW else 4] for row, slot in enumerate(found.tolist()))
    assert total == pytest.approx(best_total(scores, 3))


def test_as_released_whoever_takes_an_identity_that_nobody_has_is_new() -> None:
    said = rows({0: 0.9}, {7: 0.9, 1: 0.6}, {19: 0.9})

    assert continued(said, np.arange(2), PRESET).tolist() == [0, NEW, NEW]
    assert continued(said, np.arange(2), PAPER).tolist() == [0, 1, NEW]


def test_as_released_two_of_one_identity_leave_the_second_its_next_best() -> None:
    said = rows({0: 0.9}, {0: 0.8, 19: 0.05})

    assert continued(said, np.arange(1), PRESET).tolist() == [0, NEW]


def test_any_number_of_detections_may_be_new() -> None:
    said = rows(*[{19: 0.9}] * 30)

    assert continued(said, np.arange(5), PRESET).tolist() == [NEW] * 30
    assert continued(said, np.arange(5), PAPER).tolist() == [NEW] * 30


@pytest.mark.parametrize("rules", [PRESET, PAPER], ids=["release", "paper"])
def test_no_detections_have_no_identities(rules: Preset) -> None:
    assert continued(rows(), np.arange(3), rules).tolist() == []
    assert Identities(rules).take(slots([])).new is False


def test_identities_are_numbered_in_the_order_of_the_detections() -> None:
    identities = Identities(PRESET)
    identities.take(slots([NEW, NEW]))

    found = identities.take(slots([1, NEW, 0, NEW]))

    assert found.slots.tolist() == [1, 2, 0, 3]
    assert found.track_ids.tolist() == [2, 3, 1, 4]
    assert found.new
    assert not identities.take(slots([3, 0])).new


def test_of_22_new_objects_18_have_an_identity_of_their_own_and_the_rest_share_one() -> None:
    identities = Identities(PRESET)

    found = identities.take(slots([NEW] * 22))

    assert found.slots.tolist() == [*range(18), 18, 18, 18, 18]
    assert found.track_ids.tolist() == [*range(1, 19), *[NOBODY] * 4]
    assert identities.take(slots([NEW])).slots.tolist() == [18]
    assert identities.take(slots([NEW])).new  # on every frame, so that all of them are remembered


def test_as_printed_19_have_one_and_the_rest_none() -> None:
    identities = Identities(PAPER)

    found = identities.take(slots([NEW] * 22))

    assert found.slots.tolist() == [*range(19), NEW, NEW, NEW]
    assert found.track_ids.tolist() == [*range(1, 20), *[NOBODY] * 3]
    assert not identities.take(slots([0, NEW])).new


def test_an_identity_comes_back_into_use_after_the_longest_absence_and_not_too_soon() -> None:
    identities = Identities(replace(PAPER, max_ids=4, recycle_after=2))
    identities.take(slots([NEW, NEW, NEW]))
    identities.take(slots([0, 2]))

    refused = identities.take(slots([2, NEW]))
    first = identities.take(slots([2, NEW]))
    second = identities.take(slots([2, 1, NEW]))

    assert refused.track_ids.tolist() == [3, NOBODY]
    assert (first.slots.tolist(), first.track_ids.tolist(), first.reused) == ([2, 1], [3, 4], (1,))
    assert (second.slots.tolist(), second.track_ids.tolist(), second.reused) == ([2, 1, 0], [3, 4, 5], (0,))


def test_identities_are_not_taken_from_anybody_while_there_are_others() -> None:
    identities = Identities(replace(PAPER, max_ids=5, recycle_after=0))
    identities.take(slots([NEW]))
    identities.take(slots([]))

    assert identities.take(slots([NEW])).slots.tolist() == [1]


@given(
    st.lists(st.sets(st.integers(0, 7), max_size=6), max_size=25),
    st.integers(2, 6),
    st.sampled_from(["shared", "drop"]),
    st.sampled_from([None, 0, 1, 3]),
)
@example([set(range(6)), set(), {6, 7}, set(range(6))], 4, "drop", 0)
def test_a_track_is_one_object_and_its_id_never_comes_back(
    frames: list[set[int]], ids: int, overflow: str, recycle_after: int | None
) -> None:
    """Objects come and go under a head that knows each by its slot, as long as it is its own."""
    identities = Identities(replace(PRESET, max_ids=ids, overflow=overflow, recycle_after=recycle_after))
    own: dict[int, int] = {}  # object → slot
    told: dict[int, int] = {}  # track id → object
    over: set[int] = set()

    for present in frames:
        objects = sorted(present)
        found = identities.take(slots([own.get(each, NEW) for each in objects]))
        over |= {track_id for track_id, each in told.items() if own.get(each) in found.reused}
        own = {each: slot for each, slot in own.items() if slot not in found.reused}
        for each, slot, track_id in zip(objects, found.slots.tolist(), found.track_ids.tolist(), strict=True):
            if track_id != NOBODY:
                assert told.setdefault(track_id, each) == each
                assert track_id not in over
                own[each] = slot

        seen = found.track_ids[found.track_ids != NOBODY]
        assert len(set(seen.tolist())) == len(seen)
        assert len(set(own.values())) == len(own)
        assert len(identities.known) <= ids - (2 if overflow == "shared" else 1)


def test_a_preset_of_the_paper_differs_from_the_released_one_in_what_the_paper_says() -> None:
    released, printed = PRESETS["r50-ovis"], PRESETS["r50-ovis-paper"]

    assert (released.max_ids, released.id_bank, released.overflow) == (25, "convolution", "shared")
    assert (printed.max_ids, printed.id_bank, printed.overflow) == (20, "pixel", "drop")
    assert printed.image == released.image


def test_a_preset_without_a_head_cannot_follow_by_it() -> None:
    with pytest.raises(ValueError, match="overlap"):
        replace(PRESET, id_head=False)
    with pytest.raises(ValueError, match="14"):
        replace(PRESET, local_window=14)


class TestFollowingByOverlap:
    @staticmethod
    def shapes(*boxes: tuple[int, int, int, int]) -> list[masks.Rle]:
        stack = np.zeros((len(boxes), 20, 30), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(stack, boxes, strict=True):
            mask[y0:y1, x0:x1] = True
        return list(masks.encode_stack(stack))

    def test_objects_are_followed_to_where_they_overlap_their_last_sight_most(self) -> None:
        sights, labels = LastSights(), np.array([0, 0])
        first = self.shapes((0, 0, 10, 10), (10, 0, 20, 10))
        assert sights.continued(first, labels).tolist() == [NEW, NEW]
        sights.see(slots([4, 2]), first, labels)

        assert sights.continued(self.shapes((11, 0, 21, 10), (3, 0, 13, 10)), labels).tolist() == [2, 4]

    def test_another_class_or_too_little_overlap_is_another_object(self) -> None:
        sights, first = LastSights(), self.shapes((0, 0, 10, 10))
        sights.continued(first, np.array([0]))
        sights.see(slots([0]), first, np.array([0]))

        assert sights.continued(first, np.array([1])).tolist() == [NEW]
        assert sights.continued(self.shapes((8, 0, 18, 10)), np.array([0])).tolist() == [NEW]
        assert sights.continued(first, np.array([0])).tolist() == [0]

    def test_who_was_out_of_sight_for_long_is_not_looked_for(self) -> None:
        sights, first = LastSights(), self.shapes((0, 0, 10, 10))
        sights.continued(first, np.array([0]))
        sights.see(slots([0]), first, np.array([0]))

        for _ in range(23):
            sights.continued([], np.zeros(0, np.int64))

        assert sights.continued(first, np.array([0])).tolist() == [0]
        assert sights.continued(first, np.array([0])).tolist() == [NEW]
