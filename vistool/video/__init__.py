"""Videos in and out. Reading: `open_video`; writing: `writing.VideoWriter`; facts: `facts.inspect_video`.

Knows files, codecs and time; knows no method and no mask. PyAV and OpenCV are imported when something is opened.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from .damage import Damage
from .selection import Selection
from .source import PictureReader, SelectedFrames

__all__ = ["Damage", "SelectedFrames", "open_video"]


def open_video(
    source: str | Path,
    *,
    start: str | None = None,
    end: str | None = None,
    stride: int = 1,
    frame_rate: Fraction | None = None,
) -> SelectedFrames:
    """The frames of a video file, a folder of images, a glob of images, one image, or standard input (`-`).

    `start` and `end` (not included) are seconds, `HH:MM:SS.mmm` or a frame as `123f`; every `stride`-th frame is
    taken. Indices and times are those of the source whatever is left out. `frame_rate` sets the time of images
    (default 25) and the nominal rate of a video, never its timing. A name that exists wins over its meaning as a glob.
    InputError when the source is missing or gives no frame; UsageError for a malformed start, end or stride.
    """
    selection = Selection.parse(start, end, stride)
    return SelectedFrames(_reader(source, frame_rate), selection)


def _reader(source: str | Path, frame_rate: Fraction | None) -> PictureReader:
    from .file import VideoFile
    from .images import ImageRow, find_images

    if str(source) == "-":
        return VideoFile(None, frame_rate)
    images = find_images(source)
    if images is not None:
        return ImageRow(images, Path(source).name, frame_rate)
    return VideoFile(Path(source), frame_rate)
