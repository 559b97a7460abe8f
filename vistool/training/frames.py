"""Decoded pictures of the training videos, kept in memory as far as a budget goes."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..video import open_video

Pictures = NDArray[np.uint8]
"""(T, H, W, 3), RGB, at the size of the source."""


class FrameCache:
    """Whole videos and single images by path, least recently used out first. Used by one thread."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._held: OrderedDict[Path, Pictures] = OrderedDict()
        self.held_bytes = 0

    def pictures(self, path: Path) -> Pictures:
        """All frames of a video file, or the one of an image. Must not be written to."""
        if path in self._held:
            self._held.move_to_end(path)
            return self._held[path]
        pictures = _decode(path)
        pictures.setflags(write=False)
        self._held[path] = pictures
        self.held_bytes += pictures.nbytes
        while self.held_bytes > self._budget:
            self.held_bytes -= self._held.popitem(last=False)[1].nbytes
        return pictures


def _decode(path: Path) -> Pictures:
    source = open_video(path)
    try:
        return np.stack([frame.image for frame in source])
    finally:
        source.close()
