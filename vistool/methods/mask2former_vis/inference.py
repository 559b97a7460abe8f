"""From pictures to tracks: the models behind `vistool segment --method mask2former-vis`, offline and online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...nn.masked_decoder import ClipOutput
from ...nn.presets import Mask2FormerSizes
from ...types import Category, Frame, RunOptions, Track, VideoInfo
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.fitting import load_into
from .. import Mode
from ..clip_inference import ClipEvidence, ClipSegmenter, autocast, fit, prepare, probe_frames
from ..frame_features import FrameFeatures
from .network import Mask2FormerVis
from .online import FrameEvidence, QueryTracker


def build(checkpoint: Checkpoint) -> Mask2FormerVis:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Mask2FormerVis(Mask2FormerSizes(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> Mask2FormerModel:
    """The model that the runner drives."""
    return Mask2FormerModel(build(checkpoint).to(options.device), checkpoint.info, options)


class Mask2FormerModel:
    """Offline, a clip is seen at once; online, every frame is a clip of its own. Holds no state of a video."""

    def __init__(self, network: Mask2FormerVis, info: CheckpointInfo, options: RunOptions) -> None:
        self._network = network
        self._info = info
        self._options = options
        self._features = FrameFeatures(network.trunk, info, options)
        self._clips = ClipSegmenter(self._clip_evidence, info, options)

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._info.categories

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        """Candidate tracks over `frames`; ids are slots."""
        return self._clips.segment(video, frames)

    def begin(self, video: VideoInfo) -> QueryTracker:
        """The tracks of one video, frame by frame."""
        return QueryTracker(self._frame_evidence, self._info, self._options)

    def _clip_evidence(self, frames: Sequence[Frame]) -> ClipEvidence:
        features, letterbox = self._features.of(frames)
        with autocast(self._options):
            output = self._network.decoder(features, len(frames))
        return ClipEvidence(_class_probs(output), output.final.mask_logits[0], letterbox)

    def _frame_evidence(self, image: NDArray[np.uint8]) -> FrameEvidence:
        letterbox = fit(image, self._info, self._options)
        with autocast(self._options):
            output = self._network(prepare([image], letterbox, self._info, self._options))
        return FrameEvidence(_class_probs(output), output.final.mask_logits[0, :, 0], output.embeddings[0], letterbox)


def _class_probs(output: ClipOutput) -> Tensor:
    """(Q, K) in [0, 1], no-object left out."""
    return output.final.class_logits[0].float().softmax(-1)[:, :-1]


def probe(
    checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray[Any, Any]], mode: Mode
) -> dict[str, np.ndarray[Any, Any]]:
    """frames (T, 3, H, W) normalised → class_logits (Q, K + 1), mask_logits (Q, T, h, w).

    Online: class_logits (T, Q, K + 1), mask_logits (T, Q, h, w), the queries of every frame in the network's order.
    As the network gives them, masks at a quarter of the padded size: no threshold, no sigmoid, no softmax.
    """
    frames = probe_frames(arrays)
    network = build(checkpoint)
    with torch.inference_mode():
        if mode == "offline":
            final = network(frames).final
            return {"class_logits": final.class_logits[0].numpy(), "mask_logits": final.mask_logits[0].numpy()}
        finals = [network(frame).final for frame in frames.split(1, dim=1)]
        return {
            "class_logits": torch.cat([final.class_logits for final in finals]).numpy(),
            "mask_logits": torch.cat([final.mask_logits[:, :, 0] for final in finals]).numpy(),
        }
