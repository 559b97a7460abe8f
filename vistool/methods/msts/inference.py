"""From pictures to evidence: the clip model behind `vistool segment --method msts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ...nn.deformable_detr import Levels
from ...nn.letterbox import Letterbox
from ...nn.pixel_decoder import PixelFeatures
from ...types import Frame, RunOptions
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import load_into
from ..clip_inference import ClipEvidence, ClipSegmenter, autocast, probe_frames
from ..frame_features import FrameFeatures
from ..frame_masks import Selection
from .network import STRIDE, ClipOutput, Msts
from .presets import Preset

CLIP_SLOTS = 10
"""For the benchmark: slots of a clip that are kept, best first, as in VNext. The ten best pairs of slot and class of a
whole video are among theirs, for a pair is no better than the best class of its slot."""


def build(checkpoint: Checkpoint) -> Msts:
    """The network that `checkpoint` describes, with its weights, ready to be run."""
    network = Msts(Preset(**checkpoint.info.sizes))
    load_into(network, checkpoint)
    return network.eval()


def load(checkpoint: Checkpoint, options: RunOptions) -> ClipSegmenter:
    """The model that the runner drives.

    It makes masks of the slots that are kept, and of the last layer, alone.
    """
    network = build(checkpoint).to(options.device)
    info = checkpoint.info
    if options.score_floor == 0 and options.max_instances is None:
        options = replace(options, max_instances=CLIP_SLOTS)
    selection = Selection.of(info, options)
    remembered = FrameFeatures(_of_frames(network), info, options)

    def evidence(frames: Sequence[Frame]) -> ClipEvidence:
        features, letterbox = remembered.of(frames)
        with autocast(options):
            output = _told(network, features, letterbox.inner_hw)
            last = output.layers[-1]
            probs = network.class_probs(last.class_logits[0])
            slots = selection.slots(probs)
            points = last.references[0].transpose(0, 1)[slots]
            logits = network.masks(last.queries[0, slots], points, output.features[0])
        return ClipEvidence(probs[slots], logits, mask_letterbox(letterbox, network.preset))

    return ClipSegmenter(evidence, info, options)


def mask_letterbox(letterbox: Letterbox, preset: Preset) -> Letterbox:
    """The way from the masks of a clip back to the source (S11).

    They cover whole cells of stride 8. Exactly, what lies beyond the frame is cut off; the release takes them for the
    frame, which moves masks by up to a cell where its sides are no multiples of 8.
    """
    if preset.mask_geometry == "stretched":
        return Letterbox(letterbox.source_hw, letterbox.source_hw, letterbox.source_hw)
    height, width = (-(-side // STRIDE) * STRIDE for side in letterbox.inner_hw)
    return Letterbox(letterbox.source_hw, letterbox.inner_hw, (height, width))


def _of_frames(network: Msts) -> Callable[[Tensor], PixelFeatures]:
    """What is the same for a frame in whatever clip it is seen, so that windows that overlap can share it.

    Where frames do not see one another in the encoder, all that it makes of them; else what the backbone does.
    """

    def look(frames: Tensor) -> PixelFeatures:
        maps = network.look(frames.flatten(0, 1))
        if not network.preset.encoder_attention:
            memory = network.remember(maps)
            maps = (*memory.maps(), network.mask_features(memory))
        return PixelFeatures(maps[:-1], maps[-1])

    return look


def _told(network: Msts, found: PixelFeatures, size_hw: tuple[int, int]) -> ClipOutput:
    """What is said of one clip, from what `_of_frames` found on its frames, whose size is `size_hw`."""
    maps, frames = (*found.levels, found.mask_features), len(found.mask_features)
    if network.preset.encoder_attention:
        memory = network.remember(maps, frames=frames)
        features = network.mask_features(memory)
    else:
        memory, features = Levels.of(maps[:-1]), maps[-1]
    height, width = size_hw
    frame_wh = torch.tensor([[width, height]], dtype=torch.float32, device=features.device)
    return network.tell(memory, features, frame_wh, frames)


def probe(checkpoint: Checkpoint, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """frames (T, 3, H, W) normalised, padding bool (T, H, W) if there is some → what the last layer says of all slots.

    class_logits (Q, columns of the class head), boxes_cxcywh_norm (T, Q, 4), mask_logits (Q, T, h, w) at stride 4. No
    threshold, no sigmoid. InputError for other shapes.
    """
    frames = probe_frames(arrays)
    padding = _padding(arrays, frames)
    network = build(checkpoint)
    with torch.inference_mode():
        output = network(frames, padding)
        last = output.layers[-1]
        masks = network.masks(last.queries[0], last.references[0].transpose(0, 1), output.features[0])
        return {
            "class_logits": last.class_logits[0].numpy(),
            "boxes_cxcywh_norm": last.boxes[0].numpy(),
            "mask_logits": masks.numpy(),
        }


def _padding(arrays: Mapping[str, NDArray[Any]], frames: Tensor) -> Tensor | None:
    """The array `padding`, (1, T, H, W); None where there is no such array."""
    if "padding" not in arrays:
        return None
    padding, expected = arrays["padding"], (frames.shape[1], *frames.shape[3:])
    if padding.shape != expected:
        raise InputError(f"padding does not fit: `{padding.shape}` (expected {expected}, as the frames are)")
    return torch.from_numpy(padding.astype(np.bool_))[None]
