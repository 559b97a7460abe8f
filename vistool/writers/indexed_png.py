"""A folder of indexed PNGs in the DAVIS layout: a pixel's value is its object. Written when all scores are known."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..protocols import Writer
from ..types import Frame, FramePrediction, Track, VideoPrediction
from . import Output
from .publishing import MAP_NAME, PartialFolder
from .ytvis_json import video_record

MAX_TRACKS = 254  # 0 is background, 255 is void
_COMPRESSION = 6  # of zlib: index pictures are small at any level


class IndexedPngWriter(Writer):
    """`00000.png`, … for every frame that was looked at, and `tracks.json`, which says what each value stands for.

    Where masks overlap, the higher score wins and a tie goes to the lower track id. Of more than 254 tracks the best
    254 are written; the others are listed as `left_out`.
    """

    def __init__(self, output: Output) -> None:
        assert output.path is not None
        self._facts = output.facts
        self._folder = PartialFolder(output.path)

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        """Nothing: which tracks remain, and which of them wins a pixel, is known at the end."""

    def finish(self, result: VideoPrediction) -> None:
        best_first = sorted(result.tracks, key=lambda track: (-track.score, track.id))
        kept, left_out = best_first[:MAX_TRACKS], best_first[MAX_TRACKS:]
        by_id = sorted(kept, key=lambda track: track.id)
        values = {track.id: value for value, track in enumerate(by_id, start=1)}
        legend = {
            "info": {**self._facts, **result.facts},
            "video": video_record(result.video, result.length),
            "tracks": [
                {
                    "value": values[track.id],
                    "track_id": track.id,
                    "category_id": result.categories[track.label].id,
                    "category": result.categories[track.label].name,
                    "score": track.score,
                }
                for track in by_id
            ],
            "left_out": sorted(track.id for track in left_out),
        }
        self._folder.write(MAP_NAME, (json.dumps(legend, indent=1, allow_nan=False) + "\n").encode())
        for index in result.times_s:
            picture = _paint(kept, values, index, result.video.size_hw)
            self._folder.write(f"{index:05d}.png", encode_indexed_png(picture))
        self._folder.publish()

    def close(self) -> None:
        self._folder.discard()


def davis_palette() -> NDArray[np.uint8]:
    """RGB of every value, (256, 3): its bits are dealt to r, g, b in turn, the lowest to the highest bit of each."""
    values = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= ((values >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette


def encode_indexed_png(indices: NDArray[np.uint8]) -> bytes:
    """Values (H, W) → an 8-bit PNG with the DAVIS palette."""
    height, width = indices.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter: 0, none
    rows[:, 1:] = indices
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, palette, no interlacing
    chunks = (
        (b"IHDR", header),
        (b"PLTE", davis_palette().tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), _COMPRESSION)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _paint(best_first: list[Track], values: dict[int, int], index: int, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture of one frame: the worst first, so that the better paint over it."""
    picture = np.zeros(size_hw, np.uint8)
    for track in reversed(best_first):
        if (rle := track.masks.get(index)) is not None:
            np.putmask(picture, masks.decode(rle), values[track.id])
    return picture
