"""One video, frame by frame: what is seen is fused with the last frames, becomes objects, and gets its names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...nn.letterbox import Letterbox
from ...types import Frame, FramePrediction, RunOptions
from ...weights.checkpoint import CheckpointInfo
from ..clip_inference import autocast, fit_long_side, prepare
from ..frame_masks import Selection
from ..telling import MeanOverVideo, told
from .detections import FrameObjects, find_objects, whole_objects
from .identities import Identities
from .motion import Motion
from .network import FrameOutput
from .presets import Preset

OVERLAP = 0.3
"""For people, by slots: IoU with a mask of the frame before, above which it is the same object."""
SLOT_GAP = 10
"""For people, where the weights do not say: frames that a slot may be empty before it forgets whose it was."""
MIN_SHARE = 100 / 641**2
"""For people: of the frame, what a mask covers at least."""


def rules_of_run(preset: Preset, info: CheckpointInfo, options: RunOptions) -> Preset:
    """The choices of a run. A floor of 0 asks for the benchmark's list, made as the preset says, which is the paper.

    For people a slot is not an identity for ever: there may be more objects in a video than slots. Who asks for what
    is half as sure as the weights have it gets tracks that begin half as sure, too.
    """
    if options.score_floor == 0:
        return preset
    floor, usual = (Selection.of(info, one).floor for one in (options, replace(options, score_floor=None)))
    return replace(
        preset,
        overlap=preset.overlap if preset.naming == "motion" else min(preset.overlap, OVERLAP),
        begin_score=preset.begin_score * (min(1.0, floor / usual) if usual else 1.0),
        slot_gap=SLOT_GAP if preset.slot_gap is None else preset.slot_gap,
        same_class=True,
        score_average="detected",
        class_threshold=max(preset.class_threshold, floor),
        min_share=max(preset.min_share, MIN_SHARE),
    )


class Steps(Protocol):
    """What a video goes through; see `stream.Stream`."""

    def step(self, frames: Tensor) -> FrameOutput:
        """The next frame, (1, 3, H, W) normalised."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was made of one frame."""

    output: FrameOutput
    objects: FrameObjects
    track_ids: NDArray[np.int64]  # of the objects


class VideoPass:
    """The state of one video: the last frames, and whose the slots are. No later frame has a say."""

    def __init__(self, stream: Steps, rules: Preset, most: int | None = None) -> None:
        self._stream, self._rules, self._most = stream, rules, most
        self._names = Motion(rules) if rules.naming == "motion" else Identities(rules)

    def step(self, image: Tensor, letterbox: Letterbox) -> Seen:
        """The next frame: image (1, 3, h, w) normalised, of `letterbox.inner_hw`."""
        output = self._stream.step(image)
        objects = find_objects(output, letterbox, self._rules, self._most)
        track_ids = self._names.name(objects.slots, objects.shapes, objects.class_scores)
        return Seen(output, *whole_objects(objects, track_ids))


class OnlineTracker:
    """What the runner asks, frame by frame."""

    def __init__(self, stream: Steps, preset: Preset, info: CheckpointInfo, options: RunOptions) -> None:
        self._preset, self._info, self._options = preset, info, options
        rules = rules_of_run(preset, info, options)
        self._pass = VideoPass(stream, rules, options.max_instances)
        self._means = MeanOverVideo(preset.num_classes) if rules.score_average == "all" else None

    def step(self, frame: Frame) -> FramePrediction:
        """The objects in the order of their slots, then, for means over the video, the tracks out of sight."""
        long_side = self._preset.long_side
        letterbox = fit_long_side(frame.image, self._info, self._options, long_side=long_side, multiple=1)
        with torch.inference_mode(), autocast(self._options):
            seen = self._pass.step(prepare([frame.image], letterbox, self._info, self._options)[0], letterbox)
        objects = seen.objects
        return told(frame, seen.track_ids, objects.class_scores, objects.shapes, self._means)
