"""Films made on the spot, whose pictures say which frame they are."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vistool.protocols import FrameSource
from vistool.types import Frame
from vistool.video import open_video

SIZE_HW = 48, 64
MARK = 8  # pixels a side of one binary digit
TICKS = 90_000


def picture(index: int, size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.uint8]:
    """A grey picture (H, W, 3); its number stands in the top left as eight squares, black or white."""
    image = np.full((*size_hw, 3), 96, np.uint8)
    for digit in range(8):
        image[:MARK, digit * MARK : (digit + 1) * MARK] = 255 * (index >> digit & 1)
    return image


def number(image: NDArray[np.uint8]) -> int:
    """Which frame a picture is, also after lossy coding."""
    squares = image[MARK // 2, MARK // 2 : 8 * MARK : MARK, 1] > 127
    return int(squares @ (1 << np.arange(8)))


def make_film(
    path: Path,
    times: Sequence[float],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: int = 25,
    matrix: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    interlaced: bool = False,
    size_hw: tuple[int, int] = SIZE_HW,
) -> Path:
    """A film of numbered pictures at the given seconds, which are kept to 1/90000 where the container can."""
    settings = {"preset": "ultrafast"} if codec == "libx264" else {}
    if interlaced:
        settings["flags"] = "+ildct"
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=settings | (options or {}))
        stream.height, stream.width = size_hw
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for index, time in enumerate(times):
            frame = VideoFrame.from_ndarray(picture(index, size_hw), format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady(count: int, rate: int = 25) -> list[float]:
    return [index / rate for index in range(count)]


def read(source: str | Path, **options: object) -> list[Frame]:
    return drain(open_video(source, **options))  # type: ignore[arg-type]


def drain(source: FrameSource) -> list[Frame]:
    try:
        return list(source)
    finally:
        source.close()
