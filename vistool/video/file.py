"""Video files and pipes as upright RGB pictures: opens, converts, and says what is wrong. Decoding is elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..errors import InputError
from ..types import VideoInfo
from .damage import DamageLog
from .decoding import Decoded, Decoding, DecodingError
from .source import Placed, UnreadablePictureError
from .upright import Orientation, to_rgb

_RE_WRAP = "check that it plays; `ffmpeg -i INPUT -c copy OUTPUT.mkv` repairs some files"
_STREAMABLE = "a pipe cannot be rewound: send MPEG-TS, Matroska or fragmented MP4, or name the file instead of `-`"
_ERRORS = (DecodingError, OSError, av.FFmpegError)
_LOCAL_ONLY = {"protocol_whitelist": "file"}  # a playlist must not make the reader go to the network


@dataclass(frozen=True, slots=True)
class VideoPicture:
    """A decoded picture that becomes RGB when it is wanted."""

    frame: VideoFrame
    stored_hw: tuple[int, int]  # of the first picture, as stored
    orientation: Orientation

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3), upright, at the size of the first picture."""
        try:
            return self.orientation.apply(to_rgb(self.frame, self.stored_hw))
        except (av.FFmpegError, ValueError) as error:  # a pixel format that FFmpeg cannot convert
            raise UnreadablePictureError(f"no RGB from {self.frame.format.name}: {error}") from error


class VideoFile:
    """All pictures of one video file, or of standard input where `path` is None.

    The first picture decides size and orientation; one of another size is resized to it. InputError when there is no
    picture at all.
    """

    def __init__(self, path: Path | None, frame_rate: Fraction | None = None) -> None:
        self._path = path
        try:
            self.decoding = self._open()
            self._pictures = iter(self.decoding)
            self._first = self._decode_first()
        except _ERRORS as error:
            raise self._failure(error) from error
        frame = self._first.frame
        self._stored_hw = frame.height, frame.width
        self.orientation = Orientation.of_frame(frame)
        self.info = VideoInfo(
            name="stdin" if path is None else path.name,
            size_hw=self.orientation.size_hw(*self._stored_hw),
            frame_rate=frame_rate or self.decoding.frame_rate,
            frame_count=self.decoding.stream.frames or None,
            rotation=self.orientation.rotation,
        )

    @property
    def damage(self) -> DamageLog:
        return self.decoding.damage

    def __iter__(self) -> Iterator[Placed]:
        for index, (frame, time) in enumerate(self.decoded()):
            yield Placed(index, time, VideoPicture(frame, self._stored_hw, self.orientation))

    def decoded(self) -> Iterator[Decoded]:
        """All pictures as they were decoded; instead of iterating, not beside it."""
        try:
            yield self._first
            yield from self._pictures
        except _ERRORS as error:  # the file has gone
            raise self._failure(error) from error

    def close(self) -> None:
        self.decoding.close()

    def _open(self) -> Decoding:
        path = self._path
        if path is None:
            if sys.stdin.isatty():
                raise DecodingError("it is a terminal")
            return Decoding(open_container(sys.stdin.buffer), reopen=None)
        if not path.is_file():  # a named pipe
            return Decoding(open_container(path), reopen=None)
        if path.stat().st_size == 0:
            raise DecodingError("it is empty")
        return Decoding(open_container(path), reopen=lambda: open_container(path))

    def _decode_first(self) -> Decoded:
        first = next(self._pictures, None)
        if first is None:
            self.close()
            reasons = self.damage.so_far.messages
            raise DecodingError(f"no picture can be decoded{f'; {reasons[0]}' if reasons else ''}")
        return first

    def _failure(self, error: Exception) -> InputError:
        if isinstance(error, av.error.InvalidDataError):
            reason = "no video, or damaged beyond reading"
        else:
            reason = str(getattr(error, "strerror", None) or error)
        name = self._path or "standard input"
        return InputError(f"cannot read video: `{name}` ({reason})", hint=_RE_WRAP if self._path else _STREAMABLE)


def open_container(source: Path | IO[bytes]) -> InputContainer:
    """An open container of a local file or of a stream; raises what FFmpeg says where it cannot be opened."""
    # `file:` keeps FFmpeg from taking a name such as `a:b.mp4` for a protocol. Metadata may be in any encoding.
    file = f"file:{source}" if isinstance(source, Path) else source
    return cast(InputContainer, av.open(file, options=_LOCAL_ONLY, metadata_errors="replace"))
