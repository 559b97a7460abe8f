"""Frame by frame: every frame is decoded on its own, and its queries are put in the order of the frame before.

The association is that of MinVIS (Huang et al., NeurIPS 2022): a query that follows an object looks much the same on
the next frame. But every slot finds a successor, so an object would get the number of one that left long ago. For
people a slot therefore keeps its number on conditions (`SlotMemory`). Under the benchmark's ranking, with a floor of 0,
every slot is shown on every frame and keeps its number, as published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ... import masks
from ...likeness import directions
from ...nn.letterbox import Letterbox
from ...types import Frame, FramePrediction, RunOptions
from ...weights.checkpoint import CheckpointInfo
from ..frame_masks import Selection, frame_masks

MEMORY = 24  # frames in a row on which a slot may show nothing without losing its number
MIN_LIKENESS = 0.3  # cosine with what a slot showed last, below which it shows another object


@dataclass(frozen=True, slots=True)
class FrameEvidence:
    """What the network says of one frame; row q is one query, in the network's order."""

    class_probs: Tensor  # (Q, K) in [0, 1], no-object left out
    mask_logits: Tensor  # (Q, h, w), covering `letterbox.padded_hw`
    embeddings: Tensor  # (Q, D), what each query looks like
    letterbox: Letterbox


class QueryTracker:
    """One video, frame by frame. Its state is an embedding and two numbers a slot, however long the video is."""

    def __init__(
        self, look: Callable[[NDArray[np.uint8]], FrameEvidence], info: CheckpointInfo, options: RunOptions
    ) -> None:
        self._look = look
        self._selection = Selection.of(info, options)
        self._all_shown = self._selection.floor == 0
        self._memory = SlotMemory(min_likeness=-np.inf if self._all_shown else MIN_LIKENESS)

    def step(self, frame: Frame) -> FramePrediction:
        """The slots that reach the floor and have a pixel, best first; with a floor of 0 all slots, seen or not."""
        with torch.inference_mode():
            evidence = self._look(frame.image)
            looks = directions(evidence.embeddings.float().cpu().numpy())
            order = self._memory.order(looks)
            queries = torch.from_numpy(order).to(evidence.class_probs.device)  # (Q,), of each slot
            probs = evidence.class_probs[queries]
            slots = self._selection.slots(probs)
            rles = frame_masks(evidence.mask_logits[queries[slots]], evidence.letterbox)
        seen = {slot: rle for slot, rle in zip(slots.tolist(), rles, strict=True) if rle is not None}
        shown = np.arange(len(order)) if self._all_shown else np.array(list(seen), np.int64)
        nothing = masks.empty(evidence.letterbox.source_hw)
        class_scores = probs.float().cpu().numpy()[shown]
        return FramePrediction(
            frame.index,
            track_ids=self._memory.update(looks[order], shown),
            labels=class_scores.argmax(1),
            scores=class_scores.max(1),
            masks=tuple(seen.get(slot, nothing) for slot in shown.tolist()),
            class_scores=class_scores,
        )


class SlotMemory:
    """What each slot looked like and which track it shows.

    A slot that shows something is compared, on the next frame, as it looks now; one that shows nothing, as it looked
    when it last showed something, for MEMORY frames. After that its track is over. What a slot shows belongs to its
    track when the cosine of the two looks is at least `min_likeness`; else it opens a new one.
    """

    def __init__(self, min_likeness: float = MIN_LIKENESS) -> None:
        self._min_likeness = min_likeness
        self._looks = np.zeros((0, 0), np.float32)  # (Q, D) of length 1, what the next frame is compared with
        self._track_ids = np.zeros(0, np.int64)  # (Q,), 0: none
        self._hidden = np.zeros(0, np.int64)  # (Q,) frames in a row, up to now, on which the slot showed nothing
        self._next_id = 1

    def order(self, looks: NDArray[np.float32]) -> NDArray[np.int64]:
        """For each slot the query that continues it; looks (Q, D) of length 1 → (Q,), every query once."""
        if len(self._looks):
            return associate(self._looks, looks)
        self._looks = looks.copy()
        self._track_ids, self._hidden = np.zeros((2, len(looks)), np.int64)
        return np.arange(len(looks))

    def update(self, looks: NDArray[np.float32], shown: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next frame: looks (Q, D) of length 1 in the order of the slots, slots `shown` (N,) → track ids (N,)."""
        strange = (self._looks * looks).sum(1) < self._min_likeness
        for slot in shown:
            if not self._track_ids[slot] or strange[slot]:
                self._track_ids[slot] = self._next_id
                self._next_id += 1
        self._hidden += 1
        self._hidden[shown] = 0
        self._track_ids[self._hidden > MEMORY] = 0
        renewed = (self._hidden == 0) | (self._track_ids == 0)
        self._looks[renewed] = looks[renewed]
        return self._track_ids[shown]


def associate(old: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.int64]:
    """Row of `new` that continues each row of `old`; both (Q, D) of length 1. One to one, greatest total cosine."""
    _, columns = linear_sum_assignment(old @ new.T, maximize=True)
    return np.asarray(columns, np.int64)
