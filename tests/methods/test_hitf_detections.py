"""Which slots are taken, and whose each pixel is, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hitf_fakes import SMALL, H, K, L, W, output

from vistool import masks
from vistool.methods.hitf import detections
from vistool.methods.hitf.detections import find_objects, taken_slots, whole_objects
from vistool.methods.hitf.identities import NOBODY
from vistool.methods.hitf.network import FrameOutput
from vistool.nn.letterbox import Letterbox

SAME = Letterbox((H, W), (H, W), (H, W))
FREE = replace(SMALL, pixel_threshold=0.0)


def random_output(size_hw: tuple[int, int], seed: int = 0, slots: int = L) -> FrameOutput:
    random = torch.Generator().manual_seed(seed)
    class_logits = 2 * torch.randn(1, slots, K + 1, generator=random)
    cells = [-(-side // 4) for side in size_hw]
    mask_logits = 2 * torch.randn(1, slots, *cells, generator=random)
    return FrameOutput(class_logits, mask_logits, mask_logits, None)


def read(plane: np.ndarray, y: float, x: float) -> float:  # type: ignore[type-arg]
    """Between four cells, as in a textbook."""
    y, x = (min(max(at, 0.0), side - 1.0) for at, side in zip((y, x), plane.shape, strict=True))
    top, left = int(y), int(x)
    bottom, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
    v, u = y - top, x - left
    upper = (1 - u) * plane[top, left] + u * plane[top, right]
    lower = (1 - u) * plane[bottom, left] + u * plane[bottom, right]
    return float((1 - v) * upper + v * lower)


@pytest.mark.parametrize(
    ("source", "inner"),
    [((13, 18), (13, 18)), ((17, 21), (33, 41)), ((30, 22), (15, 11))],
    ids=["as it is", "small", "large"],
)
@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_every_pixel_is_decided_as_by_a_loop(
    source: tuple[int, int], inner: tuple[int, int], threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detections, "BAND", 7)
    said = random_output(inner, seed=sum(source))
    probs = said.class_logits[0].softmax(-1)
    taken = [slot for slot in range(L) if int(probs[slot].argmax()) != K]
    planes = said.mask_logits[0].double().numpy()
    nobody = np.log(sum(np.exp(planes[slot]) for slot in range(L) if slot not in taken))
    expected = {slot: np.zeros(source, np.bool_) for slot in taken}
    sureness: dict[int, list[float]] = {slot: [] for slot in taken}
    for y in range(source[0]):
        for x in range(source[1]):
            at = (((y + 0.5) * inner[0] / source[0] - 0.5) / 4, ((x + 0.5) * inner[1] / source[1] - 0.5) / 4)
            logits = [read(nobody, *at), *(read(planes[slot], *at) for slot in taken)]
            shares = np.exp(logits) / np.exp(logits).sum()
            best = int(np.argmax(logits))
            if best > 0 and shares[best] >= threshold:
                expected[taken[best - 1]][y, x] = True
                sureness[taken[best - 1]].append(shares[best])

    found = find_objects(said, Letterbox(source, inner, inner), replace(SMALL, pixel_threshold=threshold))

    assert 0 < len(taken) < L
    assert found.slots.tolist() == [slot for slot in taken if expected[slot].any()]
    for slot, mask, scores in zip(found.slots.tolist(), found.shapes, found.class_scores, strict=True):
        np.testing.assert_array_equal(masks.decode(mask), expected[slot])
        np.testing.assert_allclose(scores, probs[slot, :K].numpy() * np.mean(sureness[slot]), atol=1e-5)


def test_what_is_said_beyond_the_frame_has_no_say() -> None:
    """The network pads frames; the cells there may say anything."""
    said = random_output((33, 41))
    more = torch.nn.functional.pad(said.mask_logits, (0, 3, 0, 2), value=100.0)
    box = Letterbox((50, 60), (33, 41), (33, 41))

    one, other = find_objects(said, box, FREE), find_objects(replace(said, mask_logits=more), box, FREE)

    assert one.shapes == other.shapes


def test_masks_share_no_pixel_and_none_is_empty() -> None:
    found = find_objects(random_output((H, W), slots=20), SAME, FREE)

    stack = np.stack([masks.decode(shape) for shape in found.shapes])
    assert len(stack) > 5
    assert stack.sum(0).max() == 1
    assert stack.any((1, 2)).all()


def test_a_slot_that_names_nothing_is_no_object_however_sure_its_mask_is() -> None:
    said = output({1: (0, (0, 0, 32, 48))})
    said.mask_logits[0, 3, :, 12:] = 20.0

    found = find_objects(said, SAME, SMALL)

    assert found.slots.tolist() == [1]
    assert masks.box_xywh(found.shapes[0]) == (0, 0, 45, 30)  # not quite half of the way to the next cell


def test_nothing_at_all_is_found_where_all_slots_are_empty() -> None:
    found = find_objects(output({}), SAME, SMALL)

    assert (len(found.slots), found.class_scores.shape, found.shapes) == (0, (0, K), ())


def test_all_slots_may_be_objects() -> None:
    said = output({slot: (0, (0, 16 * slot, 64, 16 * slot + 16)) for slot in range(L)})

    assert find_objects(said, SAME, SMALL).slots.tolist() == list(range(L))


@pytest.mark.parametrize(("share", "count"), [(0.0, 2), (0.04, 1), (0.5, 0)])
def test_masks_that_are_too_small_are_left_out(share: float, count: int) -> None:
    said = output({0: (0, (0, 0, 32, 48)), 1: (1, (48, 80, 56, 88))})

    assert len(find_objects(said, SAME, replace(SMALL, min_share=share)).slots) == count


def test_slots_are_taken_that_are_sure_enough_and_surer_than_of_nothing() -> None:
    probs = torch.tensor([[0.5, 0.1, 0.0, 0.4], [0.3, 0.2, 0.1, 0.4], [0.0, 0.9, 0.1, 0.0], [0.1, 0.1, 0.4, 0.3]])

    assert taken_slots(probs, SMALL).tolist() == [0, 2, 3]
    assert taken_slots(probs, replace(SMALL, class_threshold=0.45)).tolist() == [0, 2]
    assert taken_slots(probs, SMALL, most=2).tolist() == [0, 2]
    assert taken_slots(probs, SMALL, most=1).tolist() == [2]


@pytest.mark.parametrize(("weight", "taken"), [(0.0, [0, 1, 2, 3]), (0.5, [0, 1, 2]), (1.0, [0, 2]), (8.0, [2])])
def test_nothing_may_weigh_less_against_the_best_class(weight: float, taken: list[int]) -> None:
    probs = torch.tensor([[0.4, 0.3, 0.3], [0.35, 0.25, 0.4], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]])

    assert taken_slots(probs, replace(SMALL, empty_weight=weight)).tolist() == taken


def test_an_object_that_is_one_too_many_becomes_background() -> None:
    said = output({0: (0, (0, 0, 32, 48)), 1: (1, (32, 48, 64, 96))})
    said.class_logits[0, 1] *= 2

    found = find_objects(said, SAME, SMALL, most=1)

    assert found.slots.tolist() == [1]
    assert find_objects(said, SAME, SMALL).shapes[1] == found.shapes[0]


def test_pieces_of_a_track_become_one_object_in_place_of_the_surest() -> None:
    objects = find_objects(random_output((H, W)), SAME, replace(FREE, empty_weight=0.0))
    surest = objects.class_scores.max(1).argmax()
    track_ids = np.array([7 if row in {surest, 0, 1} else 10 + row for row in range(L)])
    others = [row for row in range(L) if row not in {surest, 0, 1}]

    whole, kept = whole_objects(objects, track_ids)

    at = kept.tolist().index(7)
    assert sorted(kept.tolist()) == sorted([*(10 + row for row in others), 7])
    assert whole.slots[at] == objects.slots[surest]
    np.testing.assert_array_equal(whole.class_scores[at], objects.class_scores[surest])
    assert whole.shapes[at] == masks.merge([objects.shapes[row] for row in {surest, 0, 1}])
    assert [whole.shapes[n] for n in range(len(kept)) if n != at] == [objects.shapes[row] for row in others]


def test_objects_of_different_tracks_stay_as_they_are() -> None:
    objects = find_objects(random_output((H, W)), SAME, FREE)

    whole, kept = whole_objects(objects, 1 + np.arange(len(objects.slots)))

    assert whole is objects
    assert kept.tolist() == list(range(1, 1 + len(objects.slots)))


def test_what_is_nobody_s_is_left_out() -> None:
    objects = find_objects(random_output((H, W)), SAME, replace(FREE, empty_weight=0.0))

    whole, kept = whole_objects(objects, np.array([NOBODY, *range(2, L), NOBODY]))

    assert kept.tolist() == [*range(2, L)]
    assert whole.shapes == objects.shapes[1:-1]
