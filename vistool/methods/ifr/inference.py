"""From pictures to evidence: the clip model behind `vistool segment --method ifr`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...nn.letterbox import Letterbox
from ...types import Frame, RunOptions
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import load_into
from ..clip_inference import ClipEvidence, ClipSegmenter, Images, autocast, fit, prepare, probe_frames
from ..frame_features import FrameFeatures
from .loss import class_probs
from .network import Ifr, IfrOutput
from .presets import Preset
from .tta import PIVOT, SHORT_SIDES, SizeResult, merge


def build(checkpoint: Checkpoint) -> Ifr:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Ifr(Preset(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> ClipSegmenter:
    """The model that the runner drives."""
    network = build(checkpoint).to(options.device)
    info = checkpoint.info

    remembered = FrameFeatures(network.trunk, info, options)

    def one_size(frames: Sequence[Frame]) -> ClipEvidence:
        features, letterbox = remembered.of(frames)
        with autocast(options):
            output = network.decoder(features, len(frames))
        return evidence(output, letterbox)

    def of_side(images: Images, short_side: int) -> ClipEvidence:
        letterbox = fit(images[0], info, options, short_side)
        with autocast(options):
            output = network(prepare(images, letterbox, info, options))
        return evidence(output, letterbox)

    def evidence(output: IfrOutput, letterbox: Letterbox) -> ClipEvidence:
        probs = class_probs(output.final.class_logits[0].float(), network.preset)
        return ClipEvidence(probs, output.mask_logits()[0], letterbox)

    def four_sizes(frames: Sequence[Frame]) -> ClipEvidence:
        side = options.short_side or info.short_side
        found = [of_side([frame.image for frame in frames], round(side * share)) for share in SHORT_SIDES]
        pivot = found[PIVOT]
        size = pivot.mask_logits.shape[-2:]
        merged = merge([SizeResult(e.class_probs, _at_size(e, pivot, size)) for e in found], network.preset)
        return ClipEvidence(merged.class_probs, torch.logit(merged.mask_probs, eps=1e-6), pivot.letterbox)

    return ClipSegmenter(four_sizes if options.tta else one_size, info, options)


def _at_size(evidence: ClipEvidence, pivot: ClipEvidence, size: torch.Size) -> Tensor:
    """Mask probabilities on the pivot's grid: padding cropped, picture resized, the pivot's padding left empty."""
    if evidence is pivot:
        return evidence.mask_logits.float().sigmoid()
    quarter = [
        side / padded for side, padded in zip(evidence.letterbox.inner_hw, evidence.letterbox.padded_hw, strict=True)
    ]
    h, w = (round(n * share) for n, share in zip(evidence.mask_logits.shape[-2:], quarter, strict=True))
    wanted = [
        round(n * side / padded)
        for n, side, padded in zip(size, pivot.letterbox.inner_hw, pivot.letterbox.padded_hw, strict=True)
    ]
    logits = F.interpolate(evidence.mask_logits[..., :h, :w].float(), size=wanted, mode="bilinear", align_corners=False)
    return F.pad(logits.sigmoid(), (0, size[1] - wanted[1], 0, size[0] - wanted[0]))


def probe(checkpoint: Checkpoint, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """`frames` float32 (T, 3, H, W) normalised → `class_logits` (Q, K), `mask_logits` (Q, T, h, w)."""
    frames = probe_frames(arrays)
    with torch.inference_mode():
        output = build(checkpoint)(frames)
        return {
            "class_logits": output.final.class_logits[0].numpy(),
            "mask_logits": output.mask_logits()[0].numpy(),
        }
