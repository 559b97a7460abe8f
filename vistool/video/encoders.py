"""Which video encoder this machine has, and how it is set. Knows nothing of files and timing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from ..errors import VistoolError

MAX_CRF = 51
_OTHER_SCALE = 63 / MAX_CRF  # AV1 and VP9 count quality from 0 to 63, H.264 from 0 to 51


@dataclass(frozen=True, slots=True)
class Encoder:
    """One row of the table: the library's name and its options for a quality, a speed and a number of threads."""

    name: str
    options: Callable[[int, str, int], dict[str, str]]


def _x264(crf: int, preset: str, threads: int) -> dict[str, str]:
    # The macroblock tree of x264 gives other bytes from run to run; without it the same frames give the same file.
    return {"crf": str(crf), "preset": preset, "threads": str(threads), "x264-params": "mbtree=0"}


def _svt_av1(crf: int, preset: str, threads: int) -> dict[str, str]:
    return {"crf": str(round(crf * _OTHER_SCALE)), "preset": "10", "svtav1-params": f"lp={threads}"}


def _vp9(crf: int, preset: str, threads: int) -> dict[str, str]:
    quality = str(round(crf * _OTHER_SCALE))
    return {"crf": quality, "b": "0", "deadline": "good", "cpu-used": "5", "threads": str(threads)}


ENCODERS = (Encoder("libx264", _x264), Encoder("libsvtav1", _svt_av1), Encoder("libvpx-vp9", _vp9))
"""Best first: what plays nearly everywhere, then what plays in browsers."""


@functools.cache
def best_encoder() -> Encoder:
    """The first encoder of the table that really encodes a picture here; being listed is no proof."""
    for encoder in ENCODERS:
        if _works(encoder):
            return encoder
    raise VistoolError(
        f"no video encoder works: `{', '.join(encoder.name for encoder in ENCODERS)}` (PyAV was built without them)",
        hint="install PyAV from its wheel: pip install --force-reinstall av",
    )


def _works(encoder: Encoder) -> bool:
    try:
        context = cast(VideoCodecContext, av.CodecContext.create(encoder.name, "w"))
        context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
        context.time_base = Fraction(1, 25)
        context.options = encoder.options(30, "veryfast", 1)
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24").reformat(format="yuv420p")
        frame.pts = 0
        packets = [*context.encode(frame), *context.encode(None)]
    except (av.FFmpegError, ValueError):  # ValueError: unknown name
        return False
    return bool(packets)
