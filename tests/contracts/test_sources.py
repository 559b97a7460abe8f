"""What every source of frames keeps to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vistool.protocols import FrameSource
from vistool.testing import FakeSource, moving_rectangles
from vistool.types import Frame

SIZE = (48, 64)
LENGTH = 7
Opener = Callable[[Path], FrameSource]


def fake(folder: Path) -> FrameSource:
    return FakeSource.of(moving_rectangles(2, LENGTH, SIZE))


def file(folder: Path) -> FrameSource:
    from vistool.video import open_video

    return open_video(film(folder))


def stepped_file(folder: Path) -> FrameSource:
    from vistool.video import open_video

    return open_video(film(folder), stride=3)


def images(folder: Path) -> FrameSource:
    from vistool.video import open_video

    return open_video(pictures(folder))


def glob(folder: Path) -> FrameSource:
    from vistool.video import open_video

    return open_video(f"{pictures(folder)}/*.png")


def film(folder: Path) -> Path:
    import av

    path = folder / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=SIZE[1], height=SIZE[0], pix_fmt="bgr0")
        for frame in fake(folder):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24").reformat(format="bgr0"))
            )
        container.mux(stream.encode(None))
    return path


def pictures(folder: Path) -> Path:
    import cv2

    target = folder / "pictures"
    target.mkdir()
    for frame in fake(folder):
        assert cv2.imwrite(str(target / f"{frame.index:05d}.png"), frame.image[..., ::-1])
    return target


SOURCES: dict[str, tuple[Opener, int]] = {
    "fake": (fake, 1),
    "file": (file, 1),
    "file by steps": (stepped_file, 3),
    "folder of images": (images, 1),
    "glob": (glob, 1),
}
every_source = pytest.mark.parametrize(("opener", "stride"), SOURCES.values(), ids=SOURCES)


def read(source: FrameSource) -> list[Frame]:
    try:
        return list(source)
    finally:
        source.close()


@every_source
def test_frames_are_upright_rgb_bytes_of_the_announced_size(opener: Opener, stride: int, tmp_path: Path) -> None:
    source = opener(tmp_path)

    frames = read(source)

    assert source.info.size_hw == SIZE
    assert {(frame.image.shape, frame.image.dtype) for frame in frames} == {((*SIZE, 3), np.dtype(np.uint8))}


@every_source
def test_indices_count_the_frames_of_the_source_and_times_rise(opener: Opener, stride: int, tmp_path: Path) -> None:
    frames = read(opener(tmp_path))

    assert [frame.index for frame in frames] == list(range(0, LENGTH, stride))
    times = [frame.time_s for frame in frames]
    assert times[0] == 0
    assert times == sorted(set(times))


@every_source
def test_pictures_come_back_as_they_were_drawn(opener: Opener, stride: int, tmp_path: Path) -> None:
    drawn = read(fake(tmp_path))[::stride]

    frames = read(opener(tmp_path))

    for frame, original in zip(frames, drawn, strict=True):
        np.testing.assert_array_equal(frame.image, original.image)


@every_source
def test_closing_twice_is_harmless(opener: Opener, stride: int, tmp_path: Path) -> None:
    source = opener(tmp_path)

    source.close()
    source.close()
