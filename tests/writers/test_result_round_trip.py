"""Write then read gives the same tracks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from writer_samples import CAT, RING, prediction, predictions, square, write

from vistool.types import VideoPrediction
from vistool.writers.reading import read_result

SUFFIXES = [".json", ".jsonl", ".jsonl.gz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=40)
@given(result=predictions())
def test_write_then_read_gives_the_same_prediction(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, result: VideoPrediction
) -> None:
    path = tmp_path_factory.mktemp("result") / f"tracks{suffix}"

    write(path, result)
    read = read_result(path)

    assert read.tracks == result.tracks
    assert read.times_s == result.times_s
    assert read.categories == result.categories
    assert read.facts == result.facts
    assert replace(read.video, frame_count=None) == result.video


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".results.json"])
def test_the_same_prediction_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    format = "ytvis-results" if "results" in suffix else None

    write(tmp_path / f"first{suffix}", prediction(CAT, RING), format=format)
    write(tmp_path / f"second{suffix}", prediction(CAT, RING), format=format)

    assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mask_without_a_pixel_is_a_gap(tmp_path: Path, suffix: str) -> None:
    blinking = replace(CAT, masks={0: square(0, 0, 2), 1: square(0, 0, 0)})

    write(tmp_path / f"tracks{suffix}", prediction(blinking))

    assert list(read_result(tmp_path / f"tracks{suffix}").tracks[0].masks) == [0]


def test_the_end_line_decides_which_tracks_of_a_jsonl_remain(tmp_path: Path) -> None:
    path = tmp_path / "tracks.jsonl"
    write(path, prediction(CAT, RING))
    lines = path.read_text().splitlines(keepends=True)
    end = '{"type": "end", "frames": 3, "tracks": [{"track_id": 2, "category_id": 3, "score": 0.25}]}\n'
    path.write_text("".join([*lines[:-1], end]))

    (track,) = read_result(path).tracks

    assert (track.id, track.label, track.score) == (2, 0, 0.25)
    assert track.masks == RING.masks
