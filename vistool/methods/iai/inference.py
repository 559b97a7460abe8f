"""From frames to tracks: the model behind `vistool segment --method iai`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ... import masks
from ...errors import InputError
from ...nn.letterbox import Letterbox
from ...types import Category, RunOptions, VideoInfo
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.fitting import load_into
from ..clip_inference import probe_frames
from .id_bank import STRIDE
from .network import Iai
from .online import OnlineTracker, VideoPass
from .presets import Preset


def build(checkpoint: Checkpoint) -> Iai:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Iai(Preset(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> IaiModel:
    """The model that the runner drives."""
    return IaiModel(build(checkpoint).to(options.device), checkpoint.info, options)


class IaiModel:
    """An online model. Holds no state of a video."""

    def __init__(self, network: Iai, info: CheckpointInfo, options: RunOptions) -> None:
        self._network, self._info, self._options = network, info, options

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._info.categories

    def begin(self, video: VideoInfo) -> OnlineTracker:
        return OnlineTracker(self._network, self._info, self._options)


def probe(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """frames (T, 3, H, W) normalised, padding bool (T, H, W) if there is some → what the online pass finds.

    For each frame t: ids_t int64 (n,), the network's identities from 0; labels_t, scores_t (n,), best class times
    quality; boxes_xyxy_t (n, 4) in pixels; masks_t bool (n, H, W); and association_t (d, h, w), the output of the block
    (not there without one). All rules are the preset's. InputError for other shapes.
    """
    frames = probe_frames(arrays)[0]
    visible_hw = _visible_hw(arrays, (frames.shape[2], frames.shape[3]), len(frames))
    network = build(checkpoint)
    video = VideoPass(network, network.preset)
    letterbox = _letterbox(visible_hw, (frames.shape[2], frames.shape[3]))
    found: dict[str, NDArray[Any]] = {}
    with torch.inference_mode():
        for t, frame in enumerate(frames.split(1)):
            seen = video.step(frame, letterbox)
            class_scores = seen.objects.class_scores.numpy()
            shapes = np.zeros((len(class_scores), *frames.shape[2:]), np.bool_)
            for row, shape in enumerate(seen.objects.shapes):
                shapes[row, : visible_hw[0], : visible_hw[1]] = masks.decode(shape)
            found |= {
                f"ids_{t}": seen.assigned.slots,
                f"labels_{t}": class_scores.argmax(1),
                f"scores_{t}": class_scores.max(1),
                f"boxes_xyxy_{t}": seen.objects.boxes.numpy(),
                f"masks_{t}": shapes,
            }
            if seen.mixed.shape[1]:
                found[f"association_{t}"] = seen.mixed[0].numpy()
    return found


def _letterbox(visible_hw: tuple[int, int], given_hw: tuple[int, int]) -> Letterbox:
    """Nothing is resized; the network sees what was given, padded as it needs."""
    height, width = (-(-side // STRIDE) * STRIDE for side in given_hw)
    return Letterbox(visible_hw, visible_hw, (height, width))


def _visible_hw(arrays: Mapping[str, NDArray[Any]], size_hw: tuple[int, int], count: int) -> tuple[int, int]:
    """The part of the frames that is not padded, the same on all of them; InputError for another padding."""
    if "padding" not in arrays:
        return size_hw
    padding: NDArray[np.bool_] = arrays["padding"].astype(np.bool_)
    expected = (count, *size_hw)
    if padding.shape != expected:
        raise InputError(f"padding does not fit: `{padding.shape}` (expected {expected}, as the frames are)")
    rows, columns = (np.asarray(~padding.all(axes)) for axes in ((0, 2), (0, 1)))
    height, width = int(rows.sum()), int(columns.sum())
    if padding[:, :height, :width].any() or not (rows[:height].all() and columns[:width].all()):
        raise InputError("padding does not fit: it must lie on the right and below, the same on all frames")
    return height, width
