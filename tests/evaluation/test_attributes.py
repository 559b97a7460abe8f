"""What makes a video hard: each threshold from both sides, and a plain second implementation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from vistool.evaluation.attributes import (
    ASPECT_CHANGE,
    ATTRIBUTES,
    FAST_MOTION,
    OCCLUSION,
    SIZE_CHANGE,
    describe,
    track_attributes,
)

Box = tuple[float, float, float, float]


def attributes(*boxes: Box | None, hidden: list[float] | None = None) -> set[str]:
    """Of a track with these boxes, x, y, width, height; None where it is not seen."""
    rows = np.array([box or (math.nan,) * 4 for box in boxes])
    seen = np.array([box is not None for box in boxes])
    return set(track_attributes(rows, seen, None if hidden is None else np.array(hidden)))


CASES = {
    "still": ([(0, 0, 10, 10)] * 3, set()),
    "a step of 0.3 lengths": ([(0, 0, 10, 10), (3, 0, 10, 10)], {FAST_MOTION}),
    "a step just below": ([(0, 0, 10, 10), (2, 2, 10, 10)], set()),
    "a step to the side and down": ([(0, 0, 50, 50), (9, 12, 50, 50)], {FAST_MOTION}),
    "a step of the centre alone": ([(0, 0, 10, 10), (0, 0, 14, 10)], set()),
    "a step is measured by the frame before": ([(0, 0, 10, 40), (4, 0, 10, 40)], set()),
    "a leap over a gap": ([(0, 0, 10, 10), None, (90, 0, 10, 10)], set()),
    "half as large again": ([(0, 0, 10, 10), (0, 0, 15, 10)], set()),
    "one pixel more": ([(1, 0, 20, 20), (0, 0, 20, 31)], {SIZE_CHANGE, ASPECT_CHANGE}),
    "grows in proportion": ([(2, 2, 20, 20), (0, 0, 25, 25)], {SIZE_CHANGE}),
    "shrinks over a gap": ([(0, 0, 25, 25), None, (2, 2, 20, 20)], {SIZE_CHANGE}),
    "turns": ([(0, 0, 12, 15), (0, 0, 15, 12)], {ASPECT_CHANGE}),
    "aspects of 1/3 and 1/2, a ratio of 1.5": ([(0, 0, 10, 30), (0, 0, 12, 24)], set()),
    "never seen": ([None, None], set()),
    "seen once": ([None, (0, 0, 10, 30)], set()),
}


@pytest.mark.parametrize(("boxes", "expected"), CASES.values(), ids=CASES)
def test_motion_and_shape_by_hand(boxes: list[Box | None], expected: set[str]) -> None:
    assert attributes(*boxes) == expected


@pytest.mark.parametrize(
    ("hidden", "occluded"),
    [
        (None, False),
        ([0.0, 0.5, 0.5], False),
        ([0.0, 0.51, 0.0], True),
        ([math.nan, 0.2, math.nan], False),
        ([math.nan, 0.2, 0.9], True),
    ],
    ids=["unknown", "half", "over half", "known once", "outside once"],
)
def test_occlusion_is_over_half_hidden_on_some_frame(hidden: list[float] | None, occluded: bool) -> None:
    box = (0.0, 0.0, 10.0, 10.0)

    assert (OCCLUSION in attributes(box, box, box, hidden=hidden)) == occluded


def test_a_frame_on_which_all_is_hidden_counts_as_hidden() -> None:
    assert attributes((0, 0, 9, 9), None, (0, 0, 9, 9), hidden=[0.0, 1.0, 0.0]) == {OCCLUSION}


def slow_attributes(boxes: list[Box | None], hidden: list[float]) -> set[str]:
    found = set()
    for before, after in pairwise(boxes):
        if before is not None and after is not None:
            dx = (after[0] + after[2] / 2) - (before[0] + before[2] / 2)
            dy = (after[1] + after[3] / 2) - (before[1] + before[3] / 2)
            if math.sqrt(dx * dx + dy * dy) >= 0.3 * math.sqrt(before[2] * before[3]):
                found.add("fast motion")
    visible = [box for box in boxes if box is not None]
    for _, _, w, h in visible:
        for _, _, v, g in visible:
            if 2 * w * h > 3 * v * g:
                found.add("size change")
            if 2 * w * g > 3 * v * h:
                found.add("aspect-ratio change")
    if any(share > 0.5 for share in hidden):
        found.add("occlusion")
    return found


@pytest.mark.parametrize("seed", range(60))
def test_random_tracks_agree_with_the_slow_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = np.array([*rng.integers(0, 90, 2), *rng.integers(5, 30, 2)])
    steps = np.vstack([np.zeros((1, 4), np.int64), rng.integers(-2, 3, (int(rng.integers(0, 8)), 4))])
    boxes = np.maximum(np.cumsum(steps, axis=0) + start, 1).astype(np.float64)
    seen = rng.random(len(boxes)) < 0.8
    hidden = rng.choice([math.nan, 0.0, 0.2, 0.5, 0.6], len(boxes), p=[0.2, 0.3, 0.3, 0.15, 0.05])

    ours = track_attributes(boxes, seen, hidden)

    listed = [(x, y, w, h) if there else None for (x, y, w, h), there in zip(boxes.tolist(), seen, strict=True)]
    assert ours == slow_attributes(listed, hidden.tolist())


@pytest.mark.parametrize("seed", range(30))
def test_neither_the_place_nor_the_unit_of_length_matters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(5, 15, (6, 4))
    seen = rng.random(6) < 0.8
    moved = 4 * (boxes + np.array([100.0, 200.0, 0.0, 0.0]))

    assert track_attributes(moved, seen, None) == track_attributes(boxes, seen, None)


def test_the_description_names_every_attribute_and_threshold() -> None:
    text = "\n".join(describe())

    assert all(f"{name}:" in text for name in ATTRIBUTES)
    assert all(number in text for number in ("0.3", "1.5", "0.5"))
