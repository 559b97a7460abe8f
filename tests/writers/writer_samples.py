"""Predictions to write, and the loop that writes them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from vistool import masks
from vistool.types import Category, Frame, FramePrediction, Rle, Track, VideoInfo, VideoPrediction
from vistool.writers import open_writer

CATEGORIES = (Category(3, "cat"), Category(7, "ring"))
SIZE_HW = (4, 5)


def square(top: int, left: int, side: int, size_hw: tuple[int, int] = SIZE_HW) -> Rle:
    mask = np.zeros(size_hw, bool)
    mask[top : top + side, left : left + side] = True
    return masks.encode(mask)


def prediction(
    *tracks: Track, frames: int = 3, size_hw: tuple[int, int] = SIZE_HW, stride: int = 1, **facts: object
) -> VideoPrediction:
    """A result over every `stride`-th of `frames` frames at 6 frames per second."""
    video = VideoInfo("clip.mp4", size_hw, Fraction(6), frames)
    times_s = {index: index / 6 for index in range(0, frames, stride)}
    return VideoPrediction(video, CATEGORIES, tracks, times_s, facts)


CAT = Track(7, 0, 0.9, {0: square(1, 1, 2), 2: square(1, 2, 2)})
RING = Track(2, 1, 0.5, {0: square(2, 2, 2), 1: square(0, 0, 1)})


def frame_prediction(result: VideoPrediction, index: int) -> FramePrediction:
    there = [track for track in result.tracks if index in track.masks]
    return FramePrediction(
        index,
        np.array([track.id for track in there], np.int64),
        np.array([track.label for track in there], np.int64),
        np.array([track.score for track in there], np.float32),
        tuple(track.masks[index] for track in there),
    )


def write(out: Path | str, result: VideoPrediction, *, finish: bool = True, **options: Any) -> None:
    """Open, write every frame, publish and close, as a run does."""
    writer = open_writer(out, categories=result.categories, video=result.video, facts=result.facts, **options)
    try:
        for index, time_s in result.times_s.items():
            image = np.zeros((*result.video.size_hw, 3), np.uint8)
            writer.write_frame(Frame(index, time_s, image), frame_prediction(result, index))
        if finish:
            writer.finish(result)
    finally:
        writer.close()


@st.composite
def predictions(draw: st.DrawFn) -> VideoPrediction:
    """Any result: gaps, frames that were not looked at, tracks without a mask, ids in any order."""
    size_hw = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    indices = sorted(draw(st.sets(st.integers(0, 12), min_size=1, max_size=6)))
    ids = draw(st.lists(st.integers(1, 99), unique=True, max_size=4))
    tracks = []
    for track_id in ids:
        seen = draw(st.sets(st.sampled_from(indices)))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        dense = {index: rng.random(size_hw) < 0.5 for index in sorted(seen)}
        visible = {index: masks.encode(mask) for index, mask in dense.items() if mask.any()}
        tracks.append(Track(track_id, draw(st.integers(0, 1)), draw(st.floats(0, 1)), visible))
    rate = draw(st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(1, 3)]))
    video = VideoInfo("a ünicode name.mkv", size_hw, rate, None, draw(st.sampled_from([0, 90, 180, 270])))
    times_s = {index: draw(st.floats(0, 1e5)) for index in indices}
    return VideoPrediction(video, CATEGORIES, tuple(tracks), times_s, {"method": "ifr", "conf": 0.3, "window": None})
