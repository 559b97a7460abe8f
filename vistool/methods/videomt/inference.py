"""From frames to tracks: the online model behind `vistool segment --method videomt`. A slot is an identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import VideomtForUniversalSegmentation

from ... import masks
from ...errors import InputError, UsageError
from ...nn.letterbox import Letterbox
from ...types import Category, Frame, FramePrediction, RunOptions, VideoInfo
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.fitting import load_into
from ..clip_inference import autocast, probe_frames
from ..frame_masks import Selection, frame_masks
from .network import FrameOutput, empty_network, step
from .presets import VideomtSizes


def build(checkpoint: Checkpoint, device: str = "cpu") -> VideomtForUniversalSegmentation:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = empty_network(VideomtSizes(**checkpoint.info.sizes), device)
    load_into(network, checkpoint)
    return network


def load(checkpoint: Checkpoint, options: RunOptions) -> Videomt:
    """The model that the runner drives. UsageError for an input size that the weights have no positions for."""
    side = checkpoint.info.sizes["image_size"]
    if options.short_side not in (None, side):
        raise UsageError(
            f"--size does not fit the weights: `{options.short_side}` (they see every frame as {side}x{side} pixels)",
            hint="leave --size out",
        )
    return Videomt(build(checkpoint, options.device), checkpoint.info, options)


class Videomt:
    """An online model. Holds no state of a video."""

    def __init__(self, network: VideomtForUniversalSegmentation, info: CheckpointInfo, options: RunOptions) -> None:
        self._network = network
        self._info = info
        self._options = options

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._info.categories

    def begin(self, video: VideoInfo) -> VideomtTracker:
        return VideomtTracker(self._network, self._info, self._options)


class VideomtTracker:
    """One video. Keeps the queries of the last frame and nothing else, however long it is."""

    def __init__(self, network: VideomtForUniversalSegmentation, info: CheckpointInfo, options: RunOptions) -> None:
        self._network = network
        self._info = info
        self._options = options
        self._selection = Selection.of(info, options)
        self._queries: Tensor | None = None  # (Q, D)

    def step(self, frame: Frame) -> FramePrediction:
        """The slots that reach the floor and have a pixel, best first; with a floor of 0 all slots, seen or not.

        The id of a track is the number of its slot, from 1.
        """
        with torch.inference_mode():
            image = squared(frame.image, self._info).to(self._options.device)
            with autocast(self._options):
                output = step(self._network, image, self._queries)
            self._queries = output.queries
            return self._prediction(frame, output)

    def _prediction(self, frame: Frame, output: FrameOutput) -> FramePrediction:
        probs = output.class_logits.float().softmax(-1)[:, :-1]
        slots = self._selection.slots(probs)
        rles = frame_masks(output.mask_logits[slots], way_back(frame.image, output.mask_logits))
        seen = {slot: rle for slot, rle in zip(slots.tolist(), rles, strict=True) if rle is not None}
        shown = np.arange(len(probs)) if self._selection.floor == 0 else np.array(list(seen), np.int64)
        nothing = masks.empty((frame.image.shape[0], frame.image.shape[1]))
        class_scores = probs.cpu().numpy()[shown]
        return FramePrediction(
            frame_index=frame.index,
            track_ids=shown + 1,  # 0 is the background of an indexed picture
            labels=class_scores.argmax(1),
            scores=class_scores.max(1),
            masks=tuple(seen.get(slot, nothing) for slot in shown.tolist()),
            class_scores=class_scores,
        )


def squared(image: NDArray[np.uint8], info: CheckpointInfo) -> Tensor:
    """image (H, W, 3) RGB → normalised (3, S, S): stretched to a square whatever its shape, nothing is padded."""
    square = (info.sizes["image_size"], info.sizes["image_size"])
    box = Letterbox((image.shape[0], image.shape[1]), inner_hw=square, padded_hw=square)
    return box.apply(torch.from_numpy(image), torch.tensor(info.pixel_mean), torch.tensor(info.pixel_std))


def way_back(image: NDArray[np.uint8], mask_logits: Tensor) -> Letterbox:
    """From mask_logits (Q, h, w) to the size of the image (H, W, 3) in one step, not by way of the network's input."""
    cells = (mask_logits.shape[1], mask_logits.shape[2])
    return Letterbox((image.shape[0], image.shape[1]), inner_hw=cells, padded_hw=cells)


def probe(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """frames (T, 3, S, S) normalised → class_logits (T, Q, K + 1), mask_logits (T, Q, h, w), frame after frame.

    As the network gives them: no threshold, no sigmoid, no softmax. InputError for frames of another size.
    """
    frames = probe_frames(arrays)[0]
    side = checkpoint.info.sizes["image_size"]
    if frames.shape[2:] != (side, side):
        raise InputError(f"frames do not fit: `{tuple(frames.shape)}` (the network takes (T, 3, {side}, {side}))")
    network = build(checkpoint)
    outputs: list[FrameOutput] = []
    with torch.inference_mode():
        for frame in frames:
            outputs.append(step(network, frame, outputs[-1].queries if outputs else None))
    return {
        "class_logits": torch.stack([output.class_logits for output in outputs]).numpy(),
        "mask_logits": torch.stack([output.mask_logits for output in outputs]).numpy(),
    }
