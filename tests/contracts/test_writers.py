"""What every row of WRITERS keeps to."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vistool import masks
from vistool.errors import InputError, OutputExistsError, UsageError
from vistool.protocols import Writer
from vistool.types import Category, Frame, FramePrediction, Rle, Track, VideoInfo, VideoPrediction
from vistool.writers import WRITERS, check_outputs, open_writer

VIDEO = VideoInfo("clip.mp4", (48, 64), Fraction(25), None)
CATEGORIES = (Category(1, "ring"),)
OUTPUTS = [(name, f"out{suffix}") for name, row in WRITERS.items() for suffix in row.suffixes or ("",)]

each_output = pytest.mark.parametrize(("format", "name"), OUTPUTS, ids=[f"{format}{name}" for format, name in OUTPUTS])


def _open(path: Path | str, format: str | None = None, *, overwrite: bool = False) -> Writer:
    return open_writer(path, format=format, categories=CATEGORIES, video=VIDEO, facts={}, overwrite=overwrite)


def _mask(index: int) -> Rle:
    mask = np.zeros(VIDEO.size_hw, bool)
    mask[8:30, index % 30 : index % 30 + 20] = True
    return masks.encode(mask)


def _write_frames(writer: Writer, frames: int, *, instances: int = 1) -> VideoPrediction:
    """Feed frames with up to one instance; the result that belongs to them."""
    image = np.full((*VIDEO.size_hw, 3), 128, np.uint8)
    track_masks = {index: _mask(index) for index in range(frames)} if instances else {}
    ids, labels, scores = np.ones(instances, np.int64), np.zeros(instances, np.int64), np.ones(instances, np.float32)
    for index in range(frames):
        rles = (track_masks[index],) if instances else ()
        writer.write_frame(Frame(index, index / 25, image), FramePrediction(index, ids, labels, scores, rles))
    tracks = (Track(1, 0, 1.0, track_masks),) * instances
    return VideoPrediction(VIDEO, CATEGORIES, tracks, {index: index / 25 for index in range(frames)})


def _publish(path: Path | str, format: str | None = None, *, frames: int = 3, instances: int = 1) -> None:
    writer = _open(path, format, overwrite=True)
    writer.finish(_write_frames(writer, frames, instances=instances))
    writer.close()


def _contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@each_output
def test_nothing_is_under_the_name_before_finish_and_all_of_it_after(tmp_path: Path, format: str, name: str) -> None:
    writer = _open(tmp_path / name, format)
    result = _write_frames(writer, 3)
    before = (tmp_path / name).exists()
    writer.finish(result)
    writer.close()

    assert not before
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert all(_contents(tmp_path).values())


@each_output
@pytest.mark.parametrize("frames", [0, 3])
def test_close_without_finish_leaves_the_folder_empty(tmp_path: Path, format: str, name: str, frames: int) -> None:
    writer = _open(tmp_path / name, format)
    _write_frames(writer, frames)

    writer.close()
    writer.close()

    assert list(tmp_path.iterdir()) == []


@each_output
def test_an_existing_output_is_refused_and_left_as_it_was(tmp_path: Path, format: str, name: str) -> None:
    _publish(tmp_path / name, format)
    before = _contents(tmp_path)

    with pytest.raises(OutputExistsError, match="output exists"):
        _open(tmp_path / name, format)
    with pytest.raises(OutputExistsError, match="output exists"):
        check_outputs([tmp_path / name], format=format)

    assert _contents(tmp_path) == before


@each_output
def test_overwrite_replaces_an_output_when_the_new_one_is_complete(tmp_path: Path, format: str, name: str) -> None:
    _publish(tmp_path / name, format, frames=3)
    before = _contents(tmp_path)

    abandoned = _open(tmp_path / name, format, overwrite=True)
    _write_frames(abandoned, 2)
    abandoned.close()
    after_abandoning = _contents(tmp_path)
    _publish(tmp_path / name, format, frames=2)

    assert after_abandoning == before
    assert _contents(tmp_path) != before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@each_output
def test_a_missing_parent_folder_is_named_before_any_work(tmp_path: Path, format: str, name: str) -> None:
    with pytest.raises(InputError, match="no such folder") as caught:
        _open(tmp_path / "missing" / name, format)

    assert "mkdir" in str(caught.value.hint)
    with pytest.raises(InputError, match="no such folder"):
        check_outputs([tmp_path / "missing" / name], format=format)


@each_output
def test_a_video_without_any_instance_is_written(tmp_path: Path, format: str, name: str) -> None:
    _publish(tmp_path / name, format, instances=0)

    assert all(_contents(tmp_path).values())


@each_output
def test_the_same_result_gives_the_same_bytes(tmp_path: Path, format: str, name: str) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _publish(tmp_path / folder / name, format)

    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")


@each_output
def test_what_a_writer_holds_does_not_grow_with_the_frames(tmp_path: Path, format: str, name: str) -> None:
    writer = _open(tmp_path / name, format)
    _write_frames(writer, 30)  # caches and encoder queues fill up
    image = np.zeros((*VIDEO.size_hw, 3), np.uint8)
    prediction = FramePrediction(0, np.ones(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.float32), (_mask(0),))

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index in range(30, 330):
        writer.write_frame(Frame(index, index / 25, image), prediction)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    writer.close()

    assert grown < 3 * image.nbytes


@each_output
def test_two_outputs_of_one_name_are_refused(tmp_path: Path, format: str, name: str) -> None:
    with pytest.raises(UsageError, match="two outputs have the same path"):
        check_outputs([tmp_path / name, tmp_path / "." / name], format=format)
