"""The overlay as a video: frames, times, and the picture that arrives."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from writer_samples import CATEGORIES, prediction, square, write

from vistool.types import Track, VideoInfo
from vistool.video import open_video
from vistool.writers.palette import track_colour

SIZE_HW = (96, 128)
MOVING = Track(4, 0, 0.9, {index: square(20, 8 * index, 50, SIZE_HW) for index in range(10)})


def _frames(path: Path) -> list[tuple[float, np.ndarray]]:
    source = open_video(path)
    frames = [(frame.time_s, frame.image) for frame in source]
    source.close()
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_overlay_has_the_frames_and_the_times_of_its_source(tmp_path: Path, suffix: str) -> None:
    uneven = replace(
        prediction(MOVING, frames=10, size_hw=SIZE_HW),
        times_s=dict(enumerate([0, 0.1, 0.2, 0.5, 0.6, 1.0, 1.1, 1.2, 1.3, 2.0])),
    )

    write(tmp_path / f"overlay{suffix}", uneven)

    frames = _frames(tmp_path / f"overlay{suffix}")
    np.testing.assert_allclose([time_s for time_s, _ in frames], list(uneven.times_s.values()), atol=0.002)


def test_the_colour_of_the_track_is_where_its_mask_is(tmp_path: Path) -> None:
    write(tmp_path / "overlay.mp4", prediction(MOVING, frames=3, size_hw=SIZE_HW))

    _, picture = _frames(tmp_path / "overlay.mp4")[0]
    expected = 0.45 * np.array(track_colour(4))  # over black
    np.testing.assert_allclose(picture[40:60, 15:35].mean(axis=(0, 1)), expected, atol=12)
    assert picture[80:, 100:].max() < 20


@pytest.mark.parametrize("size_hw", [(1, 1), (17, 33), (32, 32)])
def test_videos_of_any_size_have_an_overlay(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    write(tmp_path / "overlay.mp4", prediction(Track(1, 0, 1.0, {0: square(0, 0, 9, size_hw)}), size_hw=size_hw))

    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def test_a_single_frame_is_a_video(tmp_path: Path) -> None:
    one = replace(prediction(frames=1, size_hw=SIZE_HW), video=VideoInfo("a.png", SIZE_HW, Fraction(25), 1))
    assert one.categories == CATEGORIES

    write(tmp_path / "overlay.mp4", one)

    assert len(_frames(tmp_path / "overlay.mp4")) == 1
