"""Decoded pictures as RGB the right way up: orientation, pixel formats, transparency."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: mirrored left to right first, then turned."""

    rotation: int = 0  # degrees counter-clockwise: 0, 90, 180 or 270
    mirrored: bool = False

    @classmethod
    def of_matrix(cls, matrix: bytes) -> Orientation:
        """The orientation nearest to a display matrix: nine int32 that act on row vectors (x, y, 1), y downwards."""
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
        mirrored = a * d - b * c < 0
        if mirrored:
            a, b = -a, -b
        if (a, b) == (0, 0):
            a, b = d, -c
        quarter_turns = round(-math.atan2(b, a) / (math.pi / 2))
        return cls(quarter_turns * 90 % 360, mirrored)

    @classmethod
    def of_frame(cls, frame: VideoFrame) -> Orientation:
        matrix = cast("Buffer | None", frame.side_data.get("DISPLAYMATRIX"))
        return cls() if matrix is None else cls.of_matrix(bytes(matrix))

    def size_hw(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after turning."""
        return (height, width) if self.rotation % 180 == 0 else (width, height)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) as stored → (H', W', 3) upright."""
        if self.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, self.rotation // 90))


def to_rgb(frame: VideoFrame, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Any decoded picture → (H, W, 3) RGB of the given size, as stored; what is transparent lies over black."""
    if not any(component.is_alpha for component in frame.format.components):
        return _converted(frame, "rgb24", size_hw)
    return over_black(_converted(frame, "rgba", size_hw))


def _converted(frame: VideoFrame, pixel_format: str, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    # One thread: starting more takes longer than the conversion itself, above all where the cores are busy.
    height, width = size_hw
    return np.asarray(frame.reformat(width, height, pixel_format, threads=1).to_ndarray(), np.uint8)


def over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) with straight alpha in the last place → (H, W, 3) over a black background."""
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colour)
    return ((colour.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
