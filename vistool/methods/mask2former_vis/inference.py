"""From pictures to evidence: the clip model behind `vistool segment --method mask2former-vis`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...nn.presets import Mask2FormerSizes
from ...types import RunOptions
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import load_into
from ..clip_inference import ClipEvidence, ClipSegmenter, Images, autocast, prepare, probe_frames
from .network import Mask2FormerVis


def build(checkpoint: Checkpoint) -> Mask2FormerVis:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Mask2FormerVis(Mask2FormerSizes(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> ClipSegmenter:
    """The model that the runner drives."""
    network = build(checkpoint).to(options.device)

    def predict(images: Images) -> ClipEvidence:
        frames, letterbox = prepare(images, checkpoint.info, options)
        with autocast(options):
            output = network(frames).final
        probs = output.class_logits[0].float().softmax(-1)[:, :-1]
        return ClipEvidence(probs, output.mask_logits[0], letterbox)

    return ClipSegmenter(predict, checkpoint.info, options)


def probe(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """frames (T, 3, H, W) normalised → class_logits (Q, K + 1), mask_logits (Q, T, h, w).

    As the network gives them, masks at a quarter of the padded size: no threshold, no sigmoid, no softmax.
    """
    frames = probe_frames(arrays)
    with torch.inference_mode():
        final = build(checkpoint)(frames).final
    return {"class_logits": final.class_logits[0].numpy(), "mask_logits": final.mask_logits[0].numpy()}
