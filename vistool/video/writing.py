"""Video files out: H.264 in the timing of the source, sound copied, complete or absent. Knows nothing of masks."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from ..errors import OutputExistsError, VistoolError
from .audio import AudioCopy, AudioError
from .encoders import Encoder, best_encoder

_BT709 = 1  # number of the colour matrix, primaries and transfer curve in FFmpeg's tables
_LIMITED_RANGE = 1

_TICKS = {".mp4": 90_000, ".m4v": 90_000, ".mov": 90_000, ".mkv": 1_000}
"""Steps a second that the container of each suffix can tell apart."""


class VideoWriter:
    """A video that grows as `.NAME.partial.SUFFIX` and takes its name in `finish`. Holds one frame and the encoder's
    look-ahead, whatever the length.

    Times may start anywhere and be any distance apart; the first frame written is time zero of the file. Sound of
    `audio_from`, whose own first frame is time zero of `time_s`, is copied for the range that was written; where the
    container cannot hold it, a warning says so. The same input gives the same bytes for the same `threads`.
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
        if path.suffix.lower() not in _TICKS:
            raise VistoolError(
                f"not a video format that can be written: `{path}`", hint=f"use one of {', '.join(_TICKS)}"
            )
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputExistsError(f"output exists: `{path}`", hint="add --overwrite, or choose another name")
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._size_hw = size_hw
        self._frame_rate = frame_rate
        self._ticks = _TICKS[path.suffix.lower()]
        self._options = best_encoder(), crf, preset, threads
        self._pending: av.VideoFrame | None = None  # the last frame, until its duration is known
        self._start_s: float | None = None
        self._finished = False
        with self._write_errors():
            self._open(audio_from)

    def write(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Append an image (H, W, 3) RGB; `time_s` is its time in the source, in seconds, later than the last one's."""
        if image.shape != (*self._size_hw, 3):
            raise ValueError(f"image has shape {image.shape}, expected {(*self._size_hw, 3)}")
        if self._start_s is None:
            self._start_s = time_s
            self._audio.skip_to(time_s)
        pts = round((time_s - self._start_s) * self._ticks)
        if self._pending is not None:
            pts = max(pts, self._pending.pts + 1)
            self._encode(self._pending, until=pts)
        frame = av.VideoFrame.from_ndarray(_even(image), format="rgb24")
        self._pending = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE)
        self._pending.pts = pts

    def finish(self) -> None:
        """Write what is left and publish the file under its name."""
        if self._pending is None:
            raise VistoolError(f"cannot write video: `{self._path}` (it has no frame)")
        with self._write_errors():
            self._encode(self._pending, until=self._pending.pts + round(self._ticks / self._frame_rate))
            self._pending = None
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._partial.replace(self._path)
        self._finished = True
        self.close()

    def close(self) -> None:
        """Release everything and drop what was not published; may be called twice."""
        self._audio.close()
        if not self._finished:
            with contextlib.suppress(av.FFmpegError, OSError):  # a full disk: the trailer is lost with the rest
                self._container.close()
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, audio_from: Path | None) -> None:
        self._audio = AudioCopy.none()
        self._container, self._stream = self._new_container()
        try:
            if audio_from is not None:
                self._audio = AudioCopy.into(self._container, audio_from)
            self._container.start_encoding()
        except AudioError as error:
            warnings.warn(f"no sound in `{self._path}` ({error})", stacklevel=3)
            self._container.start_encoding()

    def _new_container(self) -> tuple[av.container.OutputContainer, av.VideoStream]:
        encoder, crf, preset, threads = self._options
        # bitexact: no random ids and no dates in the file. The index comes first, so that browsers can begin at once.
        options = {"fflags": "+bitexact", "movflags": "+faststart"}
        container = av.open(str(self._partial), "w", options=options)
        stream = container.add_stream(encoder.name, rate=self._frame_rate, options=encoder.options(crf, preset, threads))
        stream.height, stream.width = (side + side % 2 for side in self._size_hw)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, self._ticks)
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        context.flags |= Flags.frame_duration
        return container, stream
