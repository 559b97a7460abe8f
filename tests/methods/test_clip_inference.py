"""From evidence to tracks, whatever the network is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from vistool import masks
from vistool.methods.clip_inference import ClipEvidence, ClipSegmenter, fit_long_side
from vistool.methods.frame_masks import SLOTS_MAX, Selection
from vistool.methods.published_info import describe
from vistool.nn.letterbox import Letterbox
from vistool.nn.presets import Mask2FormerSizes
from vistool.types import CANDIDATE_SHARE, Frame, RunOptions, VideoInfo

INFO = describe("ifr", Mask2FormerSizes(backbone="resnet-tiny", num_classes=2, queries=3), {})
VIDEO = VideoInfo("film", (64, 96), Fraction(25), None)
FRAMES = [Frame(index, index / 25, np.zeros((64, 96, 3), np.uint8)) for index in (10, 15, 20)]


def segmenter(probs: list[list[float]], seen: list[list[bool]], **options: float) -> ClipSegmenter:
    """Slot q of class probabilities `probs[q]` covers the left half of frame t where `seen[q][t]`."""
    box = Letterbox.fit((64, 96), short_side=64)
    logits = torch.full((len(probs), len(FRAMES), 16, 24), -1.0)
    for slot, frames in enumerate(seen):
        logits[slot, torch.tensor(frames), :, :12] = 1.0

    def predict(frames: Sequence[Frame]) -> ClipEvidence:
        assert list(frames) == FRAMES
        return ClipEvidence(torch.tensor(probs), logits, box)

    return ClipSegmenter(predict, INFO, RunOptions(**options))  # type: ignore[arg-type]


def test_a_track_has_a_mask_where_its_slot_is_seen_and_counts_source_frames() -> None:
    tracks = segmenter([[0.1, 0.9], [0.8, 0.1]], [[True, False, True], [True] * 3]).segment(VIDEO, FRAMES)

    assert [(track.id, track.label, sorted(track.masks)) for track in tracks] == [
        (0, 1, [10, 20]),
        (1, 0, [10, 15, 20]),
    ]
    assert masks.box_xywh(tracks[0].masks[10]) == (0, 0, 48, 64)


def test_a_frame_on_which_nothing_is_seen_is_no_failure() -> None:
    tracks = segmenter([[0.9, 0.1]], [[True, False, True]]).segment(VIDEO, FRAMES)

    assert [sorted(track.masks) for track in tracks] == [[10, 20]]


def test_slots_that_are_empty_or_unlikely_are_no_candidates() -> None:
    probs = [[0.9, 0.0], [0.04, 0.03], [0.5, 0.2]]
    tracks = segmenter(probs, [[False] * 3, [True] * 3, [True] * 3]).segment(VIDEO, FRAMES)

    assert [track.id for track in tracks] == [2]


def test_no_candidate_at_all_gives_no_track() -> None:
    assert segmenter([[0.01, 0.0]], [[True] * 3]).segment(VIDEO, FRAMES) == ()


def test_slots_are_kept_best_first_and_no_more_than_asked_for() -> None:
    probs = torch.tensor([[0.2, 0.1], [0.9, 0.1], [0.1, 0.5], [0.3, 0.6]])

    assert Selection(0.15, 10).slots(probs).tolist() == [1, 3, 2, 0]
    assert Selection(0.15, 2).slots(probs).tolist() == [1, 3]
    assert Selection(0.55, 10).slots(probs).tolist() == [1, 3]


def test_options_say_which_slots_are_kept_and_are_filled_in() -> None:
    assert Selection.of(INFO, RunOptions(score_floor=0.0, max_instances=7)) == Selection(0.0, 7)
    assert Selection.of(INFO, RunOptions()) == Selection(CANDIDATE_SHARE * INFO.conf, SLOTS_MAX)


def test_without_a_floor_candidates_are_kept_from_a_share_of_the_threshold_of_the_weights_on() -> None:
    at = CANDIDATE_SHARE * INFO.conf
    tracks = segmenter([[at + 0.01, 0.0], [at - 0.01, 0.0]], [[True] * 3] * 2).segment(VIDEO, FRAMES)

    assert [track.id for track in tracks] == [0]


def test_a_frame_is_fitted_by_both_sides_and_another_size_keeps_their_ratio() -> None:
    wide, info = np.zeros((100, 400, 3), np.uint8), replace(INFO, short_side=64)

    seen = [
        fit_long_side(wide, info, options, long_side=128, multiple=32).inner_hw
        for options in (RunOptions(), RunOptions(short_side=128))
    ]

    assert seen == [(32, 128), (64, 256)]
