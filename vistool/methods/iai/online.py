"""One video, frame by frame: what is seen is mixed with memory, found, named, painted, and remembered.

`VideoPass` is that loop on tensors; `OnlineTracker` tells people, or the benchmark, what it found.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import torch
from torch import Tensor

from ...nn.frame_sizes import padded
from ...nn.letterbox import Letterbox
from ...types import Frame, FramePrediction, RunOptions
from ...weights.checkpoint import CheckpointInfo
from ..clip_inference import autocast, fit_long_side, prepare
from ..telling import MeanOverVideo, told
from .association import FrameTokens
from .frame_objects import FrameObjects, find_objects
from .id_bank import STRIDE, as_stacks, paint
from .identities import NEW, NOBODY, Assigned, Identities, continued
from .memory import Memory, Remembered
from .network import Iai
from .overlaps import LastSights
from .presets import Preset

MEMORY_FRAMES = 10
"""Frames of long-term memory for people, where the weights do not say: memory and speed must not depend on the length
of a video."""
RECYCLE_AFTER = 30
"""Frames out of sight after which, for people, an object may lose its identity to a new one that finds none."""

_NOTES = logging.getLogger(__name__)


def rules_of_run(preset: Preset, options: RunOptions) -> Preset:
    """The choices of a run. A floor of 0 asks for the benchmark's list, made as the preset says.

    For people memory is bounded and identities come back into use; objects for which there is none are left out rather
    than mixed up; and a track is judged by the frames it is seen on.
    """
    preset = replace(
        preset,
        max_per_frame=options.max_instances or preset.max_per_frame,
        memory_frames=options.memory_frames or preset.memory_frames,
    )
    if options.score_floor == 0:
        return preset
    return replace(
        preset,
        memory_frames=preset.memory_frames or MEMORY_FRAMES,
        recycle_after=RECYCLE_AFTER if preset.recycle_after is None else preset.recycle_after,
        overflow="drop",
        score_average="detected",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was made of one frame."""

    objects: FrameObjects
    assigned: Assigned  # the identities of the objects
    mixed: Tensor  # (1, D, h, w), the output of the association block


@dataclass(frozen=True, slots=True, eq=False)
class _Painted:
    """What the memory of a frame was made from, and can be made from again."""

    tokens: FrameTokens
    picture: Tensor  # (H, W), see `id_bank.paint`


class VideoPass:
    """The state of one video: its memory and its identities. What is said of a frame depends on no later one."""

    def __init__(self, network: Iai, rules: Preset) -> None:
        self._network, self._rules = network, rules
        self._memory = Memory(interval=rules.long_interval, most=rules.memory_frames)
        self.identities = Identities(rules)
        self._sights = LastSights() if rules.identities == "overlap" else None
        self._painted: dict[int, _Painted] = {}  # by the number of the frame, those that memory holds
        self._channels = rules.max_ids + 1
        self._step = -1

    @property
    def remembered_frames(self) -> tuple[int, ...]:
        """Numbers, from 0, of the frames in long-term memory."""
        return self._memory.frames

    def step(self, image: Tensor, letterbox: Letterbox) -> Seen:
        """The next frame: image (1, 3, h, w) normalised, of `letterbox.inner_hw`."""
        self._step += 1
        first = self._step == 0
        *finer, c5 = self._network.look(padded(image, STRIDE))
        seen = self._network.associate(c5, None if first else self._memory)
        found = self._network.detector.detect((*finer, seen.c5), letterbox.inner_hw)
        objects = find_objects(self._network.detector, found, letterbox, self._rules, first=first)
        assigned = self._name(objects)
        self._remember(seen.tokens, objects, assigned)
        return Seen(objects, assigned, seen.mixed)

    def _name(self, objects: FrameObjects) -> Assigned:
        if self._sights is None:
            id_scores = objects.id_scores.cpu().numpy()
            return self.identities.take(continued(id_scores, self.identities.known, self._rules))
        labels = objects.class_scores.argmax(1).cpu().numpy()
        assigned = self.identities.take(self._sights.continued(objects.shapes, labels))
        own = np.where(assigned.track_ids == NOBODY, NEW, assigned.slots)
        self._sights.see(own, objects.shapes, labels)
        return assigned

    def _remember(self, tokens: FrameTokens, objects: FrameObjects, assigned: Assigned) -> None:
        """Paint the objects by their identities and add the frame to the memory."""
        self._forget(assigned.reused)
        named = assigned.slots != NEW
        shown = objects.masks[torch.from_numpy(named).to(objects.masks.device)]
        painted = _Painted(tokens, paint(shown, torch.from_numpy(assigned.slots[named]), self._channels))
        self._memory.add(self._remembered(painted), new_objects=assigned.new)
        if self._rules.recycle_after is not None:
            self._painted[self._step] = painted
            self._painted = {number: self._painted[number] for number in self._memory.frames}

    def _forget(self, slots: tuple[int, ...]) -> None:
        """Paint over, wherever memory holds them, objects whose identity is another's from now on."""
        if not slots:
            return

        def repainted(number: int) -> Remembered | None:
            held = self._painted[number]
            gone = torch.isin(held.picture, held.picture.new_tensor(slots))
            if not gone.any():
                return None
            background = self._channels - 1
            self._painted[number] = _Painted(held.tokens, held.picture.masked_fill(gone, background))
            return self._remembered(self._painted[number])

        self._memory.rewrite(repainted)

    def _remembered(self, painted: _Painted) -> Remembered:
        return self._network.remember(painted.tokens, as_stacks(painted.picture[None], self._channels))


class OnlineTracker:
    """What the runner asks, frame by frame.

    For people every object with an identity of its own is told on the frames it is seen on. For the benchmark every
    known track is told on every frame, with an empty mask where it is not seen, if scores are means over the video.
    """

    def __init__(self, network: Iai, info: CheckpointInfo, options: RunOptions) -> None:
        self._preset, self._info, self._options = network.preset, info, options
        self._rules = rules_of_run(network.preset, options)
        self._pass = VideoPass(network, self._rules)
        self._means = MeanOverVideo(network.preset.num_classes) if self._rules.score_average == "all" else None
        self._noted = False

    def step(self, frame: Frame) -> FramePrediction:
        """The objects in the order of their detections, then, for means over the video, the tracks out of sight."""
        long_side = self._preset.long_side
        letterbox = fit_long_side(frame.image, self._info, self._options, long_side=long_side, multiple=STRIDE)
        with torch.inference_mode(), autocast(self._options):
            seen = self._pass.step(prepare([frame.image], letterbox, self._info, self._options)[0], letterbox)
        self._note(frame, seen.assigned)
        own = seen.assigned.track_ids != NOBODY
        track_ids = seen.assigned.track_ids[own]
        class_scores = seen.objects.class_scores.cpu().numpy()[own]
        shapes = list(compress(seen.objects.shapes, own))
        return told(frame, track_ids, class_scores, shapes, self._means)

    def _note(self, frame: Frame, assigned: Assigned) -> None:
        """Said once a video: some objects are left out from now on."""
        if not self._noted and (assigned.track_ids == NOBODY).any():
            self._noted = True
            _NOTES.warning(
                "note: more objects than identities: from frame %d on some are left out (the network tells %d apart)",
                frame.index,
                len(self._pass.identities.known),
            )
