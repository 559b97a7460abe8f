"""What the trunk of a network makes of each frame, computed once although windows overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..nn.letterbox import Letterbox
from ..nn.pixel_decoder import PixelFeatures
from ..types import Frame, RunOptions
from ..weights.checkpoint import CheckpointInfo
from .clip_inference import autocast, fit, prepare

AT_ONCE = 4  # frames that go through the trunk together: enough to fill a device, and little memory


class FrameFeatures:
    """Remembers the features of the frames of the last window, for as long as somebody holds these frames."""

    def __init__(self, trunk: Callable[[Tensor], PixelFeatures], info: CheckpointInfo, options: RunOptions) -> None:
        self._trunk, self._info, self._options = trunk, info, options
        self._known: WeakKeyDictionary[Frame, tuple[Tensor, ...]] = WeakKeyDictionary()

    def of(self, frames: Sequence[Frame]) -> tuple[PixelFeatures, Letterbox]:
        """Features of T frames of one size as a batch, and the letterbox that leads back to their pixels."""
        letterbox = fit(frames[0].image, self._info, self._options)
        known = {t: found for t, frame in enumerate(frames) if (found := self._known.get(frame)) is not None}
        new = [t for t in range(len(frames)) if t not in known]
        stack: tuple[Tensor, ...] = ()
        for begin in range(0, len(new), AT_ONCE):
            some = new[begin : begin + AT_ONCE]
            made = self._look([frames[t] for t in some], letterbox)
            stack = stack or _room(len(frames), [tensor[0] for tensor in made])
            for whole, part in zip(stack, made, strict=True):
                whole[some] = part
        for t, found in known.items():
            stack = stack or _room(len(frames), found)
            for whole, part in zip(stack, found, strict=True):
                whole[t] = part
        for t, frame in enumerate(frames):
            self._known[frame] = tuple(whole[t] for whole in stack)
        return PixelFeatures(stack[:-1], stack[-1]), letterbox

    def _look(self, frames: Sequence[Frame], letterbox: Letterbox) -> tuple[Tensor, ...]:
        pictures = prepare([frame.image for frame in frames], letterbox, self._info, self._options)
        with autocast(self._options):
            features = self._trunk(pictures)
        return (*features.levels, features.mask_features)


def _room(frames: int, like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.empty((frames, *each.shape), dtype=each.dtype, device=each.device) for each in like)
