"""IDOL's tracker (Wu et al., ECCV 2022), which RefineVIS keeps as it is: from detections to lasting identities.

Frame by frame and greedy: sure detections choose first. NumPy alone; arrays have a row a detection, best first, and a
column a track. Refined embeddings never come here: what tells objects apart and what segments them are two things.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...likeness import cosines

Floats = NDArray[np.float32]

BACKGROUND = -1  # in place of an id: unsure, but where nothing surer is
DISCARDED = -2  # in place of an id: unsure, and where something surer is


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRules:
    """Every threshold of the tracker; the defaults are those published for YouTube-VIS."""

    select_score: float = 0.1
    """Detections are queries above it, or the best one alone."""
    box_nms: float = 0.9
    """IoU with a surer detection of the same class from which on a detection is dropped."""
    mask_nms: float = 0.5
    """The same for masks, whatever the class."""
    init_score: float = 0.2
    """Above it a detection opens a track where none is remembered."""
    new_score: float = 0.2
    """Above it a detection that continues no track opens one."""
    candidate: float = 0.5
    """Similarity above which a track is a candidate; of several, the one of most detections is preferred."""
    match: float = 0.5
    """Value above which the best track is taken."""
    background_iou: float = 0.05
    """An unsure detection whose mask overlaps every surer one less than this is background."""
    memory_length: int = 3
    """R19. Embeddings remembered of a track; 0: an exponential mean instead."""
    momentum: float = 0.8
    """R19. Share of the newest in the exponential mean."""
    forget_after: int = 10
    """Frames out of sight after which a track is over; a return is a new track."""
    few_detections: int = 3
    """A track of fewer is withdrawn when it is out of sight at the end."""
    end_frames: int = 2
    """How many frames that end is."""
    withdraw_from: int = 9
    """Videos that end before this frame withdraw nothing."""
    similarity: Literal["dot", "cosine"] = "dot"
    """Dot products of a trained contrastive head, or scaled cosines of queries where there is none."""
    temperature: float = 15.0
    """What cosines are multiplied by before the softmax."""
    min_cosine: float = 0.5
    """Cosine that a continuation must exceed: the softmax alone cannot reject."""


def select(scores: Floats, rules: AssociationRules) -> NDArray[np.int64]:
    """Step 1. Scores (Q,) of queries → those above the threshold, or the best one alone; best first, (N,)."""
    order = np.argsort(-scores, kind="stable")
    return order[: max(1, int((scores > rules.select_score).sum()))]


def mask_iou(masks: NDArray[np.bool_]) -> Floats:
    """masks (N, h, w) → IoU of each with each, (N, N); 0 where both are empty."""
    pixels = masks.reshape(len(masks), prod(masks.shape[1:])).astype(np.float32)
    shared = pixels @ pixels.T
    areas = pixels.sum(1)
    return np.asarray(shared / np.maximum(areas[:, None] + areas - shared, 1), np.float32)


def similarity(new: Floats, old: Floats, rules: AssociationRules) -> Floats:
    """Step 6. new (N, D), old (M, D) → bi-softmax (N, M), in [0, 1]; 0 where the cosine rules a pair out.

    In single precision, as published: it makes 0.5 of what is a hair above it, and a stranger beside the only track has
    just that much of it.
    """
    if rules.similarity == "cosine":
        cosine = cosines(new, old)
        return np.where(cosine > rules.min_cosine, _bi_softmax(np.float32(rules.temperature) * cosine), np.float32(0))
    return _bi_softmax(new @ old.T)


def assign(likeness: Floats, detections: NDArray[np.int64], rules: AssociationRules) -> NDArray[np.int64]:
    """Step 7. likeness (N, M), detections (M,) each track had so far → column of each row, -1: none; (N,)."""
    left = likeness.copy()
    columns = np.full(len(left), -1)
    for row, values in enumerate(left):
        candidates = values > rules.candidate
        if candidates.sum() > 1:
            values = np.where(candidates, values * detections, values * detections[candidates].mean())
        best = int(values.argmax())
        if values[best] > rules.match:
            columns[row] = best
            left[:, best] = 0
    return columns


@dataclass(slots=True, eq=False)
class KnownTrack:
    """What is remembered of a track."""

    id: int
    embeddings: deque[Floats]  # (D,) each, raw, oldest first
    scores: deque[float]  # of the same detections
    look: Floats  # (D,) what the next frame is compared with
    last_step: int
    detections: int


class TrackMemory:
    """The identities of one video. Grows with the objects in sight, and by one number a track that came to nothing."""

    def __init__(self, rules: AssociationRules) -> None:
        self._rules = rules
        self.known: list[KnownTrack] = []  # tracks that are not over, in the order of their ids
        self._doubtful: dict[int, int] = {}  # tracks that are over after few detections: id → step of the last
        self._next_id = 1
        self._step = -1

    def missing(self, track: KnownTrack) -> int:
        """Frames in a row, up to the newest, on which the track was not detected."""
        return self._step - track.last_step

    @property
    def withdrawn(self) -> frozenset[int]:
        """Step 10, if the video ends here: tracks of too few detections that are out of sight."""
        if self._step < self._rules.withdraw_from:
            return frozenset()
        few = [track for track in self.known if track.detections < self._rules.few_detections]
        ends = {track.id: track.last_step for track in few} | self._doubtful
        return frozenset(key for key, last in ends.items() if self._step - last >= self._rules.end_frames)

    def associate(self, scores: Floats, looks: Floats, overlaps: Floats) -> NDArray[np.int64]:
        """The next frame: scores (N,) falling, looks (N, D), IoU of the masks (N, N) → ids (N,).

        An id is 1 or more; BACKGROUND and DISCARDED mark detections of no track.
        """
        self._step += 1
        columns, opening = np.full(len(scores), -1), self._rules.init_score
        if self.known and len(scores):
            likeness = similarity(looks, np.stack([track.look for track in self.known]), self._rules)
            columns = assign(likeness, np.array([track.detections for track in self.known]), self._rules)
            opening = self._rules.new_score
        ids = [self._follow(*row, opening) for row in zip(columns.tolist(), scores.tolist(), looks, strict=True)]
        for row in np.flatnonzero(np.array(ids) == DISCARDED).tolist():
            if (overlaps[row, :row] < self._rules.background_iou).all():
                ids[row] = BACKGROUND
        self._forget()
        return np.array(ids, np.int64)

    def _follow(self, column: int, score: float, look: Floats, opening: float) -> int:
        """Steps 7 and 8 for one detection."""
        if column >= 0:
            track = self.known[column]
        elif score > opening:
            length = max(1, self._rules.memory_length)
            track = KnownTrack(self._next_id, deque(maxlen=length), deque(maxlen=length), look, self._step, 0)
            self._next_id += 1
            self.known.append(track)
        else:
            return DISCARDED
        track.embeddings.append(look)
        track.scores.append(score)
        track.look = self._mean(track) if self._rules.memory_length else self._exponential_mean(track, look)
        track.last_step = self._step
        track.detections += 1
        return track.id

    def _mean(self, track: KnownTrack) -> Floats:
        """Step 5. The j-th oldest of L embeddings weighs its score + j / L."""
        count = len(track.embeddings)
        weights = np.array(track.scores, np.float32) + np.arange(1, count + 1, dtype=np.float32) / count
        return np.asarray(weights @ np.stack(track.embeddings) / weights.sum(), np.float32)

    def _exponential_mean(self, track: KnownTrack, look: Floats) -> Floats:
        share = self._rules.momentum if track.detections else 1.0
        return np.asarray((1 - share) * track.look + share * look, np.float32)

    def _forget(self) -> None:
        """Step 9, after the update."""
        over = [track for track in self.known if self._step - track.last_step >= self._rules.forget_after]
        self._doubtful |= {t.id: t.last_step for t in over if t.detections < self._rules.few_detections}
        self.known = [track for track in self.known if self._step - track.last_step < self._rules.forget_after]


def _bi_softmax(logits: Floats) -> Floats:
    """½ (softmax over the tracks + softmax over the detections)."""
    return np.asarray((_softmax(logits, axis=1) + _softmax(logits, axis=0)) / 2, np.float32)


def _softmax(logits: Floats, axis: int) -> Floats:
    powers = np.exp(logits - logits.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True), np.float32)
