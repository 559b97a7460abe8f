"""What tubes share and where they are, against dense masks frame by frame: over several strips, of several sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vistool import masks
from vistool.evaluation.measured import SIDE_BY_SIDE
from vistool.evaluation.records import predictions
from vistool.evaluation.tubes import GroundTruth, Notes, Tube, Video, overlap

SIZES_HW = ((3, 4), (4, 3), (3, 4 * SIDE_BY_SIDE))


def random_track(rng: np.random.Generator, length: int) -> list[Any]:
    """Dense masks: of one size mostly, some empty, some full, some corners alone, and gaps."""
    track: list[Any] = []
    for _ in range(length):
        size = SIZES_HW[rng.choice(len(SIZES_HW), p=[0.8, 0.1, 0.1])]
        mask = rng.random(size) < rng.choice([0.0, 0.1, 0.5, 1.0])
        if rng.random() < 0.3:
            mask[-1, -1] = True  # ends inside
        track.append(mask if rng.random() < 0.8 else None)
    return track


def tubes_of(tracks: list[list[Any]], rng: np.random.Generator) -> list[Tube]:
    """Through the reader, run lengths spelt either way."""
    entries = []
    for track in tracks:
        slots: list[Any] = []
        for mask in track:
            rle = None if mask is None else masks.encode(mask)
            spelt = rng.random() < 0.5
            as_list = rle and {"size": list(rle.size_hw), "counts": list(masks.to_counts(rle))}
            slots.append(rle and (masks.to_json(rle) if spelt else as_list))
        entries.append({"video_id": 1, "category_id": 1, "score": 1.0, "segmentations": slots})
    truth = GroundTruth({1: Video(1, SIZES_HW[0], None, ())}, {1: "cat"}, ())
    return [*predictions(entries, truth, Notes())]


def dense_box(mask: Any) -> list[int]:
    if mask is None or not mask.any():
        return [0, 0, 0, 0]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("length", [1, SIDE_BY_SIDE, 2 * SIDE_BY_SIDE + 5])
def test_what_two_tubes_share_is_what_their_pixels_share(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = [random_track(rng, length) for _ in range(3)]
    annotated = [random_track(rng, int(rng.integers(1, length + 1))) for _ in range(2)]
    wanted = None if seed % 2 else rng.random((3, 2)) < 0.7

    shared = overlap(tubes_of(found, rng), tubes_of(annotated, rng), wanted)

    boxes = [[[dense_box(mask) for mask in track] for track in side] for side in (found, annotated)]
    for d, track in enumerate(found):
        assert shared.found.boxes[: len(track), d].tolist() == boxes[0][d]
    for g, track in enumerate(annotated):
        assert shared.annotated.boxes[: len(track), g].tolist() == boxes[1][g]
        for d, other in enumerate(found):
            for t, (a, b) in enumerate(zip(track, other, strict=False)):
                same = a is not None and b is not None and a.shape == b.shape
                assert shared.uneven[t, d, g] == (a is not None and b is not None and not same)
                if wanted is None or wanted[d, g]:
                    assert shared.shared[t, d, g] == (int((a & b).sum()) if same else 0)
