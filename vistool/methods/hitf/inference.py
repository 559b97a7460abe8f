"""From frames to tracks: the model behind `vistool segment --method hitf`."""

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
from .network import Hitf
from .online import OnlineTracker, VideoPass
from .presets import Preset
from .stream import Stream


def load(checkpoint: Checkpoint, options: RunOptions) -> HitfModel:
    """The model that the runner drives."""
    return HitfModel(build(checkpoint).to(options.device), checkpoint.info, options)


class HitfModel:
    """An online model. Holds no state of a video."""

    def __init__(self, network: Hitf, info: CheckpointInfo, options: RunOptions) -> None:
        self._network, self._info, self._options = network, info, options

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._info.categories

    def begin(self, video: VideoInfo) -> OnlineTracker:
        return OnlineTracker(Stream(self._network), self._network.preset, self._info, self._options)


def probe(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """frames (T, 3, H, W) normalised → what the online pass says of them; InputError for other shapes, or padding.

    class_logits (T, L, K + 1), the last class is nothing, and mask_logits (T, L, h, w). For each frame t of the objects
    ids_t int64 (n,), which last; slots_t, labels_t, scores_t (n,), class times mask; masks_t bool (n, H, W). All rules
    are the preset's.
    """
    frames = probe_frames(arrays)[0]
    if "padding" in arrays and arrays["padding"].any():
        raise InputError("padding does not fit: `hitf` sees frames of any size (expected none)")
    size_hw = (frames.shape[2], frames.shape[3])
    network = build(checkpoint)
    video = VideoPass(Stream(network), network.preset)
    letterbox = Letterbox(size_hw, size_hw, size_hw)
    with torch.inference_mode():
        seen = [video.step(frame, letterbox) for frame in frames.split(1)]
    found: dict[str, NDArray[Any]] = {
        "class_logits": np.concatenate([one.output.class_logits.numpy() for one in seen]),
        "mask_logits": np.concatenate([one.output.mask_logits.numpy() for one in seen]),
    }
    for t, one in enumerate(seen):
        shapes = [masks.decode(shape) for shape in one.objects.shapes]
        found |= {
            f"ids_{t}": one.track_ids,
            f"slots_{t}": one.objects.slots,
            f"labels_{t}": one.objects.class_scores.argmax(1),
            f"scores_{t}": one.objects.class_scores.max(1),
            f"masks_{t}": np.stack(shapes) if shapes else np.zeros((0, *size_hw), np.bool_),
        }
    return found


def build(checkpoint: Checkpoint) -> Hitf:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Hitf(Preset(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()
