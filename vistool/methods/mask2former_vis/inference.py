"""From pictures to evidence: the clip model behind `vistool segment --method mask2former-vis`."""

from __future__ import annotations

from torch import Tensor

from ...types import RunOptions
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import load_into
from ..clip_inference import ClipEvidence, ClipSegmenter, autocast, prepare
from .network import Mask2FormerVis
from .presets import Mask2FormerSizes


def build(checkpoint: Checkpoint) -> Mask2FormerVis:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Mask2FormerVis(Mask2FormerSizes(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> ClipSegmenter:
    """The model that the runner drives."""
    network = build(checkpoint).to(options.device)

    def predict(images: Tensor) -> ClipEvidence:
        frames, letterbox = prepare(images, checkpoint.info, options)
        with autocast(options):
            output = network(frames).final
        probs = output.class_logits[0].float().softmax(-1)[:, :-1]
        return ClipEvidence(probs, output.mask_logits[0], letterbox)

    return ClipSegmenter(predict, checkpoint.info, options)
