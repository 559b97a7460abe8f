"""One video, frame by frame: each goes through the backbone once, and its keys and values are kept for R frames."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from .network import FrameOutput, Hitf
from .temporal import Remembered


class Stream:
    """The state of one video: what is remembered of its last frames, and no more."""

    def __init__(self, network: Hitf) -> None:
        if network.training:
            raise ValueError("a network in training cannot follow a video: its norms still change")
        self._network = network
        self._stride = network.preset.ref_stride
        self._past: deque[Remembered] = deque(maxlen=network.preset.references * self._stride)  # newest first

    def step(self, frames: Tensor) -> FrameOutput:
        """The next frame (1, 3, H, W), normalised, of the size of the one before."""
        encoded = self._network.encode(frames)
        remembered = self._network.remember(encoded.reference)
        references = list(self._past)[self._stride - 1 :: self._stride] or [remembered]
        said = self._network.recall(encoded, references)
        self._past.appendleft(remembered)
        return said
