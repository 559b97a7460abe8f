"""Indexed PNGs: the picture of values is exact, in any reader that keeps values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from writer_samples import CAT, RING, prediction, square, write

from vistool.types import Track
from vistool.writers.indexed_png import davis_palette, encode_indexed_png


def _decode(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Values (H, W) and RGB palette (256, 3) as FFmpeg reads them."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    assert picture.format.name == "pal8"
    values, palette = picture.to_ndarray()
    return values, palette[:, 1:]  # alpha, red, green, blue


def test_the_palette_is_the_one_of_davis() -> None:
    palette = davis_palette()

    assert palette[:6].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
    assert len({tuple(colour) for colour in palette.tolist()}) == 256


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_another_reader_sees_the_same_values_and_colours(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    path = tmp_path_factory.mktemp("png") / "00000.png"

    path.write_bytes(encode_indexed_png(values))
    read, palette = _decode(path)

    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(palette, davis_palette())


def test_every_frame_that_was_looked_at_has_a_picture_named_by_its_index(tmp_path: Path) -> None:
    write(tmp_path / "masks", prediction(CAT, frames=12, stride=5))

    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == ["00000.png", "00005.png", "00010.png", "tracks.json"]
    assert not _decode(tmp_path / "masks" / "00005.png")[0].any()


def test_the_map_says_what_each_value_stands_for(tmp_path: Path) -> None:
    write(tmp_path / "masks", prediction(CAT, RING, method="ifr"))

    legend = json.loads((tmp_path / "masks" / "tracks.json").read_text())
    assert legend["info"]["method"] == "ifr"
    assert legend["tracks"] == [
        {"value": 1, "track_id": 2, "category_id": 7, "category": "ring", "score": 0.5},
        {"value": 2, "track_id": 7, "category_id": 3, "category": "cat", "score": 0.9},
    ]
    assert legend["left_out"] == []


def test_where_masks_overlap_the_higher_score_wins_and_a_tie_goes_to_the_lower_id(tmp_path: Path) -> None:
    low, high = Track(1, 0, 0.3, {0: square(0, 0, 4)}), Track(3, 0, 0.8, {0: square(0, 0, 2)})
    tied = replace(high, id=2, masks={0: square(1, 1, 2)})

    write(tmp_path / "masks", prediction(low, high, tied))

    values, _ = _decode(tmp_path / "masks" / "00000.png")
    assert values.tolist() == [[3, 3, 1, 1, 0], [3, 2, 2, 1, 0], [1, 2, 2, 1, 0], [1, 1, 1, 1, 0]]


def test_of_more_than_254_tracks_the_best_are_written_and_the_others_named(tmp_path: Path) -> None:
    tracks = [Track(number, 0, number / 1000, {0: square(0, 0, 1)}) for number in range(1, 257)]

    write(tmp_path / "masks", prediction(*tracks))

    legend = json.loads((tmp_path / "masks" / "tracks.json").read_text())
    assert legend["left_out"] == [1, 2]
    assert [entry["value"] for entry in legend["tracks"]] == list(range(1, 255))
    assert _decode(tmp_path / "masks" / "00000.png")[0][0, 0] == 254
