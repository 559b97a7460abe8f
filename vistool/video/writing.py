"""Video files out: H.264 in the timing of the source, sound copied, complete or absent. Knows nothing of masks."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..errors import OutputExistsError, UsageError, VistoolError
from .audio import AudioCopy, AudioError
from .encoders import best_encoder

TICKS = {".mp4": 90_000, ".m4v": 90_000, ".mov": 90_000, ".mkv": 1_000}
"""Steps a second that the container of each suffix can tell apart."""

_INDEX_FIRST = {"movflags": "+faststart"}  # so that browsers can begin at once
_REPRODUCIBLE = {"fflags": "+bitexact"}  # no random ids in the file
_BT709 = 1  # number of the colour matrix, the primaries and the transfer curve in FFmpeg's tables
_LIMITED_RANGE = 1


class VideoWriter:
    """A video that grows as `.NAME.partial.SUFFIX` and takes its name in `finish`.

    Holds one frame and the encoder's look-ahead, whatever the length. The first frame written is time zero of the file;
    the distances of `time_s` are kept to 1/90000 s (.mkv: 1/1000 s). An odd height or width grows by one repeated
    row or column. The sound of `audio_from` (whose first picture is zero of `time_s`) is copied for the time of the
    frames; where it cannot be, a warning says why. The same input and `threads` give the same bytes.
    """

    def __init__(
        self,
        path: Path,
        size_hw: tuple[int, int],
        *,
        frame_rate: Fraction,
        audio_from: Path | None = None,
        crf: int = 20,
        preset: str = "veryfast",
        threads: int = 4,
        overwrite: bool = False,
    ) -> None:
        if path.suffix.lower() not in TICKS:
            raise UsageError(f"not a video that can be written: `{path}`", hint=f"use one of {', '.join(TICKS)}")
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputExistsError(f"output exists: `{path}`", hint="add --overwrite, or choose another name")
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._size_hw = size_hw
        self._frame_rate = frame_rate
        self._ticks = TICKS[path.suffix.lower()]
        self._encoder = best_encoder()
        self._encoder_options = self._encoder.options(crf, preset, threads)
        self._start_s: float | None = None  # time of the first frame
        self._pending: VideoFrame | None = None  # the last frame, until its duration is known
        self._published = False
        self._audio: AudioCopy | None = None
        try:
            with self._write_errors():
                self._container, self._stream = self._new_container()
                self._audio = None if audio_from is None else self._open_audio(audio_from)
                self._container.start_encoding()
        except VistoolError:
            self._partial.unlink(missing_ok=True)
            raise

    def write(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Append an image (H, W, 3) RGB, shown at `time_s` of the source; not before the last one."""
        if image.shape != (*self._size_hw, 3):
            raise ValueError(f"image has shape {image.shape}, expected {(*self._size_hw, 3)}")
        if self._start_s is None:
            self._start_s = time_s
        tick = round((time_s - self._start_s) * self._ticks)
        if self._pending is not None:
            assert self._pending.pts is not None
            tick = max(tick, self._pending.pts + 1)
            self._encode(self._pending, until=tick)
        frame = VideoFrame.from_ndarray(_even(image), format="rgb24")
        self._pending = frame.reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE, threads=1
        )
        self._pending.pts = tick

    def finish(self) -> None:
        """Write what is left and publish the file under its name."""
        if self._pending is None or self._pending.pts is None:
            raise VistoolError(f"cannot write video: `{self._path}` (it has no frame)")
        self._encode(self._pending, until=self._pending.pts + max(1, round(self._ticks / self._frame_rate)))
        with self._write_errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._partial.replace(self._path)
        self._published = True
        self.close()

    def close(self) -> None:
        """Release everything and drop what was not published; may be called twice."""
        self._pending = None
        if self._audio is not None:
            self._audio.close()
        if not self._published:
            with contextlib.suppress(av.FFmpegError, OSError):  # a full disk: the index is lost with the rest
                self._container.close()
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_container(self) -> tuple[OutputContainer, VideoStream]:
        options = _REPRODUCIBLE if self._path.suffix.lower() == ".mkv" else _REPRODUCIBLE | _INDEX_FIRST
        container = av.open(str(self._partial), "w", options=options)
        stream = cast(
            VideoStream, container.add_stream(self._encoder.name, rate=self._frame_rate, options=self._encoder_options)
        )
        stream.height, stream.width = (side + side % 2 for side in self._size_hw)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        stream.time_base = context.time_base = Fraction(1, self._ticks)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        context.flags |= Flags.frame_duration
        return container, stream

    def _open_audio(self, source: Path) -> AudioCopy | None:
        """The sound as a stream of the container, or a warning and a container without it."""
        audio = None
        try:
            audio = AudioCopy.open(source, self._container)
            self._container.start_encoding()
            return audio
        except OSError:  # the output cannot be written, with sound or without
            raise
        except (AudioError, av.FFmpegError) as error:
            warnings.warn(f"no sound in `{self._path.name}` ({error})", stacklevel=3)
            if audio is not None:
                audio.close()
            self._container, self._stream = self._new_container()
            return None

    def _encode(self, frame: VideoFrame, until: int) -> None:
        """Write a frame that is shown up to the tick `until`, and the sound of that time."""
        assert frame.pts is not None and self._start_s is not None
        frame.time_base = Fraction(1, self._ticks)
        frame.duration = until - frame.pts
        with self._write_errors():
            self._container.mux(self._stream.encode(frame))
            if self._audio is not None:
                for packet in self._audio.packets(self._start_s, self._start_s + until / self._ticks):
                    self._container.mux(packet)

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise VistoolError(
                f"cannot write video: `{self._path}` ({error.strerror or error})",
                hint="check the space and the permissions there",
            ) from error


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) with the last row and column repeated where their number is odd, which H.264 does not take."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
