"""Offline models on videos of any length: overlapping windows, and one identity for what several windows saw.

The clip tracking of IFC (Hwang et al., "Video Instance Segmentation using Inter-Frame Communication Transformers",
NeurIPS 2021) with running state instead of buffers over the whole video. Held at any moment: the pixels of one window
and of the frame that follows it, the run lengths of the windows that overlap the newest, and nothing of the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import masks
from .errors import UsageError
from .likeness import cosines, nearness, one_to_one
from .ranking import class_vector
from .types import Frame, Rle, Track

MIN_SIMILARITY = 0.05  # a candidate that agrees no better with any known identity opens a new one
CLASS_WEIGHT = 0.5  # share of the similarity that is lost when two candidates have no class in common
MEMORY = 48  # frames after which an identity that is out of sight is given up
MIN_RETURN = 0.25  # likeness of a candidate and an identity out of sight below which they are two objects
MIN_RETURN_SCORE = 0.15  # of the candidate: a doubtful one revives nothing


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One frame that is settled, and what was learnt since the step before."""

    frame: Frame
    masks: Mapping[int, Rle]  # by track id; none of them empty
    opinions: Sequence[tuple[int, NDArray[np.float64]]]  # track id, class scores (K,)


def check(window: int, overlap: int) -> None:
    """UsageError unless windows of `window` frames (0: the whole video) can share `overlap` frames."""
    if window < 0 or overlap < 0:
        raise UsageError(f"window and overlap cannot be negative: `{window}` and `{overlap}`", hint="0 is allowed")
    if 0 < window <= overlap:
        raise UsageError(
            f"overlap must be smaller than the window: `{overlap}` (window is {window})",
            hint=f"use at most --overlap {window - 1}, or a larger --window",
        )


def settle(
    frames: Iterable[Frame],
    segment: Callable[[Sequence[Frame]], Sequence[Track]],
    *,
    window: int,
    overlap: int,
    classes: int,
) -> Iterator[Step]:
    """Every frame in order, as soon as no later window can cover it.

    Windows start at frames 0, S, 2S, … with S = window - overlap; the last is moved back to end on the last frame. A
    source does not say when it ends, so a frame is settled when the frame `window` places behind it arrives: until
    then it may belong to that last window.
    """
    check(window, overlap)
    held: deque[Frame] = deque()
    joiner = Joiner(classes)
    unseen = 0  # frames at the end of `held` that no window has covered
    for frame in frames:
        if window and len(held) == window:
            yield joiner.settle(held.popleft())
        held.append(frame)
        unseen += 1
        if len(held) == window and unseen >= window - overlap:
            joiner.add([each.index for each in held], segment(tuple(held)))
            unseen = 0
    if unseen:
        joiner.add([each.index for each in held], segment(tuple(held)))
    while held:
        yield joiner.settle(held.popleft())


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one window held, under the lasting ids."""

    frames: tuple[int, ...]
    tracks: Mapping[int, Track]


@dataclass(frozen=True, slots=True)
class _LastSeen:
    """What is remembered of an identity, in sight or not."""

    frame: int
    box: tuple[int, int, int, int]  # x, y, width, height
    classes: NDArray[np.float64]  # (K,) scores


class Joiner:
    """Gives the candidates of successive windows lasting identities, and frames their final masks.

    A candidate belongs to the identity it overlaps on the frames that both windows saw, one to one, sure ones first.
    One that overlaps none, while an identity of its class was lost not long ago and not far from there, is its return.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._next_id = 1
        self._recent: list[_Seen] = []  # the windows that overlap the newest, or the newest alone
        self._votes: dict[int, dict[int, list[tuple[Rle | None, int]]]] = {}  # frame → track id → mask, weight
        self._opinions: list[tuple[int, NDArray[np.float64]]] = []
        self._remembered: dict[int, _LastSeen] = {}

    def add(self, frames: Sequence[int], candidates: Sequence[Track]) -> None:
        """One window: the indices of its frames, rising, and what the model found there."""
        self._recent = [seen for seen in self._recent if seen.frames[-1] >= frames[0]] or self._recent[-1:]
        tracks = dict(zip(self._identities(frames, candidates), candidates, strict=True))
        self._recent.append(_Seen(tuple(frames), tracks))
        self._remember(frames[-1], tracks)
        self._opinions += [(track_id, self._vector(track)) for track_id, track in tracks.items()]
        for position, frame in enumerate(frames):
            weight = 1 + min(position, len(frames) - 1 - position)  # a window knows least at its edges
            votes = self._votes.setdefault(frame, {})
            for track_id, track in tracks.items():
                votes.setdefault(track_id, []).append((track.masks.get(frame), weight))

    def settle(self, frame: Frame) -> Step:
        """The frame with the masks its windows agree on: of each identity, a vote of the windows it occurs in."""
        chosen = {track_id: _elect(votes) for track_id, votes in self._votes.pop(frame.index, {}).items()}
        opinions, self._opinions = self._opinions, []
        return Step(frame, {track_id: mask for track_id, mask in chosen.items() if mask is not None}, opinions)

    def _identities(self, frames: Sequence[int], candidates: Sequence[Track]) -> list[int]:
        """The lasting id of each candidate: that of its best match, one to one, or a new one."""
        known = sorted({track_id for seen in self._recent for track_id in seen.tracks})
        similarity = self._similarity(known, frames, candidates)
        similarity[similarity <= MIN_SIMILARITY] = 0
        latest = {track_id: track.score for seen in self._recent for track_id, track in seen.tracks.items()}
        sureness = np.outer([latest[track_id] for track_id in known], [track.score for track in candidates])
        matched = _one_to_one(known, similarity * np.sqrt(sureness))
        unmatched = [column for column in range(len(candidates)) if column not in matched]
        lost = [track_id for track_id in self._remembered if track_id not in matched.values()]
        returned = self._returned(lost, candidates, unmatched)
        matched |= {unmatched[column]: track_id for column, track_id in returned.items()}
        return [matched[column] if column in matched else self._new_id() for column in range(len(candidates))]

    def _returned(self, lost: Sequence[int], candidates: Sequence[Track], rows: Sequence[int]) -> dict[int, int]:
        """Which of the candidates in `rows` are identities out of sight: position in `rows` → id."""
        likeness = np.zeros((len(lost), len(rows)))
        for column, row in enumerate(rows):
            track = candidates[row]
            if track.masks and track.score >= MIN_RETURN_SCORE:
                likeness[:, column] = [
                    _likeness(self._remembered[track_id], track, self._vector(track)) for track_id in lost
                ]
        return _one_to_one(lost, np.where(likeness < MIN_RETURN, 0, likeness))

    def _remember(self, now: int, tracks: Mapping[int, Track]) -> None:
        """Where and what each identity was when it was last seen; what was seen too long ago is forgotten."""
        visible = {track_id: track for track_id, track in tracks.items() if track.masks}
        for track_id, track in visible.items():
            last = max(track.masks)
            self._remembered[track_id] = _LastSeen(last, _outer_box(track, last), self._vector(track))
        self._remembered = {key: seen for key, seen in self._remembered.items() if seen.frame >= now - MEMORY}

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _similarity(
        self, known: Sequence[int], frames: Sequence[int], candidates: Sequence[Track]
    ) -> NDArray[np.float64]:
        """Agreement of each known identity with each candidate, averaged over the recent windows it occurs in."""
        total = np.zeros((len(known), len(candidates)))
        times = np.zeros((len(known), 1))
        for seen in self._recent:
            rows = [row for row, track_id in enumerate(known) if track_id in seen.tracks]
            tracks = [seen.tracks[known[row]] for row in rows]
            total[rows] += self._agreement(tracks, candidates, _shared_frames(seen.frames, frames))
            times[rows] += 1
        return total / np.maximum(times, 1)

    def _agreement(
        self, tracks: Sequence[Track], candidates: Sequence[Track], shared: Sequence[tuple[int, int]]
    ) -> NDArray[np.float64]:
        """IoU over the shared frames × a factor for the class, (N, M).

        The factor is 1 for parallel class scores and 1 - CLASS_WEIGHT for scores with no class in common: it decides
        between candidates in one place, and never parts an object from itself because its class was read differently.
        """
        if not tracks or not candidates:
            return np.zeros((len(tracks), len(candidates)))
        old, new = (np.stack([self._vector(one) for one in side]) for side in (tracks, candidates))
        return _iou(tracks, candidates, shared) * (1 - CLASS_WEIGHT + CLASS_WEIGHT * cosines(old, new))

    def _vector(self, track: Track) -> NDArray[np.float64]:
        return class_vector(self._classes, track.label, track.score, track.class_scores)


def _one_to_one(ids: Sequence[int], similarity: NDArray[np.float64]) -> dict[int, int]:
    """Column → id of its row; similarity (N, M)."""
    return {column: ids[row] for row, column in one_to_one(similarity)}


def _outer_box(track: Track, frame: int) -> tuple[int, int, int, int]:
    return masks.box_xywh(track.masks[frame]) or (0, 0, 0, 0)


def _likeness(lost: _LastSeen, track: Track, classes: NDArray[np.float64]) -> float:
    """How much a candidate looks like the return of an identity, in [0, 1]: later, of the same classes, and not far."""
    first = min(track.masks)
    if first <= lost.frame:
        return 0.0
    boxes = (np.array([box], np.float64) for box in (lost.box, _outer_box(track, first)))
    return float((cosines(lost.classes[None], classes[None]) * nearness(*boxes))[0, 0])


def _shared_frames(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """Frames of both windows to compare. Windows that only touch are compared across the cut, last frame with first."""
    both = set(old) & set(new)
    return [(frame, frame) for frame in new if frame in both] or [(old[-1], new[0])]


def _iou(
    tracks: Sequence[Track], candidates: Sequence[Track], shared: Sequence[tuple[int, int]]
) -> NDArray[np.float64]:
    """Sum of intersections over sum of unions, (N, M); 0 where neither has a mask on any shared frame."""
    intersection = np.zeros((len(tracks), len(candidates)), np.int64)
    areas = np.zeros_like(intersection)
    for old_frame, new_frame in shared:
        old, rows = _on_frame(tracks, old_frame)
        new, columns = _on_frame(candidates, new_frame)
        intersection[np.ix_(rows, columns)] += masks.intersection_matrix(old, new)
        areas[rows] += np.array([masks.area(rle) for rle in old], np.int64)[:, None]
        areas[:, columns] += np.array([masks.area(rle) for rle in new], np.int64)
    return np.asarray(intersection / np.maximum(areas - intersection, 1))


def _on_frame(tracks: Sequence[Track], frame: int) -> tuple[list[Rle], list[int]]:
    """Masks on one frame and the rows they belong to."""
    visible = [(track.masks[frame], row) for row, track in enumerate(tracks) if frame in track.masks]
    return [rle for rle, _ in visible], [row for _, row in visible]


def _elect(votes: Sequence[tuple[Rle | None, int]]) -> Rle | None:
    """The weighted majority; a window that does not see the instance votes for background."""
    visible = [rle for rle, _ in votes if rle is not None]
    if not visible:
        return None
    background = masks.empty(visible[0].size_hw)
    elected = masks.majority([rle or background for rle, _ in votes], [weight for _, weight in votes])
    return elected if masks.area(elected) else None
