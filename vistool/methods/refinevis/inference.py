"""From frames to tracks: the model behind `vistool segment --method refinevis`, online and offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...types import Category, RunOptions, VideoInfo
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.fitting import load_into
from ..clip_inference import probe_frames
from .detections import FrameReader, ReadFrame
from .network import RefineVis
from .offline import ClipRefiner
from .online import OnlineRefiner
from .presets import Preset


def build(checkpoint: Checkpoint) -> RefineVis:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = RefineVis(Preset(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> RefineVisModel:
    """The model that the runner drives."""
    return RefineVisModel(build(checkpoint).to(options.device), checkpoint.info, options)


class RefineVisModel:
    """The same tracker either way; offline, the refinement sees the rest of the clip too. Holds no state of a video."""

    def __init__(
        self, network: RefineVis, info: CheckpointInfo, options: RunOptions, read: ReadFrame | None = None
    ) -> None:
        """`read`: where detections come from; None: of the network's image model."""
        self._network, self._info, self._options = network, info, options
        self._read = read or FrameReader(network, info, options)

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._info.categories

    def begin(self, video: VideoInfo) -> OnlineRefiner:
        """The tracks of one video, frame by frame."""
        return OnlineRefiner(self._network, self._info, self._options, self._read)

    def begin_clips(self, video: VideoInfo, window: int) -> ClipRefiner:
        """The tracks of one video, clip by clip."""
        return ClipRefiner(self._network, self._info, self._options, self._read, window)


def probe(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """frames (T, 3, H, W) normalised, padding bool (T, H, W) if there is some → what the image model says of each.

    class_logits (T, Q, K), boxes_cxcywh_norm (T, Q, 4), mask_logits (T, Q, h, w), embeddings (T, Q, D), and association
    (T, Q, D) of a trained head for it. No threshold, no sigmoid; nothing is refined. InputError for other shapes.
    """
    frames = probe_frames(arrays)[0]
    padding = _padding(arrays, frames)
    network = build(checkpoint)
    found: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for frame, padded in zip(frames.split(1), padding, strict=True):
            for name, tensor in _look(network, frame, padded).items():
                found.setdefault(name, []).append(tensor)
        return {name: torch.stack(tensors).numpy() for name, tensors in found.items()}


def _look(network: RefineVis, frame: Tensor, padding: Tensor | None) -> dict[str, Tensor]:
    """The arrays of one frame (1, 3, H, W)."""
    objects = network(frame, padding)
    references = None if objects.references is None else objects.references[0]
    arrays = {
        "class_logits": objects.class_logits[0],
        "boxes_cxcywh_norm": objects.boxes[0],
        "mask_logits": network.image.masks(objects.embeddings[0], objects.pixels[0], references),
        "embeddings": objects.embeddings[0],
    }
    return arrays | ({"association": network.association(objects)[0]} if network.tells_apart else {})


def _padding(arrays: Mapping[str, NDArray[Any]], frames: Tensor) -> list[Tensor | None]:
    """The array `padding` a frame, (1, H, W) each; None where there is no such array."""
    if "padding" not in arrays:
        return [None] * len(frames)
    padding, expected = arrays["padding"], (frames.shape[0], *frames.shape[2:])
    if padding.shape != expected:
        raise InputError(f"padding does not fit: `{padding.shape}` (expected {expected}, as the frames are)")
    return list(torch.from_numpy(padding.astype(np.bool_)).split(1))
