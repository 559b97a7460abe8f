"""Offline: the tracker runs as it does online, then each clip of W frames is refined in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...types import Frame, FramePrediction, RunOptions
from ...weights.checkpoint import CheckpointInfo
from ..clip_inference import autocast
from .association import TrackMemory
from .detections import Detections, ReadFrame
from .network import RefineVis
from .telling import Teller, Tracklets, matched_tracklets


@dataclass(frozen=True, slots=True, eq=False)
class ClipTracks:
    """Which detection is which tracklet on T frames; a row a tracklet that was detected there."""

    ids: NDArray[np.int64]  # (N,), rising
    rows: NDArray[np.int64]  # (N, T), row of the detection on each frame; -1: none

    @classmethod
    def of(cls, ids: Sequence[NDArray[np.int64]]) -> ClipTracks:
        """From the ids of the detections of every frame; those that are no ids are left out."""
        tracked = np.unique(np.concatenate(ids))
        tracked = tracked[tracked > 0]
        rows = np.full((len(tracked), len(ids)), -1)
        for t, found in enumerate(ids):
            detections = np.flatnonzero(found > 0)
            rows[np.searchsorted(tracked, found[detections]), t] = detections
        return cls(tracked, rows)

    @property
    def first(self) -> NDArray[np.int64]:
        """(N,) frame of the first detection in the clip."""
        return np.asarray((self.rows >= 0).argmax(1))

    @property
    def nearest(self) -> NDArray[np.int64]:
        """(N, T) frame of the latest detection up to each frame, or of the first where there is none yet."""
        frames = np.where(self.rows >= 0, np.arange(self.rows.shape[1]), -1)
        return np.asarray(np.maximum(np.maximum.accumulate(frames, axis=1), self.first[:, None]))

    def only(self, wanted: NDArray[np.bool_]) -> ClipTracks:
        """Some of them; wanted (N,)."""
        return ClipTracks(self.ids[wanted], self.rows[wanted])


class ClipRefiner:
    """One video, clip by clip; no frame belongs to two.

    Of a clip the pixel features are held, of the past nothing but the tracker's memory.
    """

    def __init__(
        self, network: RefineVis, info: CheckpointInfo, options: RunOptions, read: ReadFrame, window: int
    ) -> None:
        """`window`: frames of a clip, 0: the whole video. 1 refines nothing, nor does a preset whose W is 0 or 1."""
        self._network, self._options, self._read = network, options, read
        self._teller = Teller(network, info, options)
        self._memory = TrackMemory(network.preset)
        self._refining = window != 1 and network.preset.window > 1

    def segment(self, frames: Sequence[Frame]) -> list[FramePrediction]:
        """The next clip: of each frame the matched tracklets in the order of the detections, then the recovered."""
        with torch.inference_mode():
            older = [track.id for track in self._memory.known]
            clip, ids = [], []
            for frame in frames:
                seen = self._read(frame)
                clip.append(seen)
                ids.append(self._memory.associate(seen.scores, seen.looks, seen.overlaps))
            tracks = self._wanted(ClipTracks.of(ids), clip)
            refined = self._refine(tracks, clip)
            missing = self._missing(tracks, clip, refined, older)
            predictions = []
            for t, (seen, found) in enumerate(zip(clip, ids, strict=True)):
                rows = torch.from_numpy(tracks.rows[:, t]).to(refined.device)
                embeddings = seen.embeddings.clone()
                embeddings[rows[rows >= 0]] = refined[rows >= 0, t]
                predictions.append(self._teller.tell(seen, matched_tracklets(seen, found, embeddings), missing[t]))
            return predictions

    def withdrawn(self) -> frozenset[int]:
        """Tracks that came to nothing, if the video ends here."""
        return self._memory.withdrawn

    def _wanted(self, tracks: ClipTracks, clip: Sequence[Detections]) -> ClipTracks:
        """The tracklets to refine."""
        if not self._refining:
            return tracks.only(np.zeros(len(tracks.ids), np.bool_))
        if self._network.preset.refined == "all":  # R7
            return tracks
        last = tracks.nearest[:, -1]
        latest = [clip[t].scores[row[t]] for row, t in zip(tracks.rows, last.tolist(), strict=True)]
        return tracks.only(np.array(latest) > self._network.preset.new_score)

    def _refine(self, tracks: ClipTracks, clip: Sequence[Detections]) -> Tensor:
        """Refined embeddings of the tracklets on every frame, (N, T, D): one pass over raw tokens."""
        raw = clip[0].embeddings.new_zeros(*tracks.rows.shape, clip[0].embeddings.shape[1])
        rows = torch.from_numpy(tracks.rows).to(raw.device)
        for t, seen in enumerate(clip):
            matched = rows[:, t] >= 0
            raw[matched, t] = seen.embeddings[rows[matched, t]]
        present = rows >= 0
        if self._network.preset.missing == "hold":
            nearest = torch.from_numpy(tracks.nearest).to(raw.device)
            raw = raw.gather(1, nearest[..., None].expand_as(raw))
            present = torch.ones_like(present)
        times = torch.tensor([seen.frame_index for seen in clip], device=raw.device)
        with autocast(self._options):
            refined: Tensor = self._network.tar(raw, times, torch.ones_like(present), present)
        return refined

    def _missing(
        self, tracks: ClipTracks, clip: Sequence[Detections], refined: Tensor, older: Sequence[int]
    ) -> list[Tracklets]:
        """Of every frame, the tracklets that were not detected there; `older`: ids from before the clip."""
        preset = self._network.preset
        frames = np.arange(len(clip))
        absent = tracks.rows < 0
        if preset.missing == "null":
            absent[:] = False
        if not preset.before_birth:  # R11
            absent &= (frames >= tracks.first[:, None]) | np.isin(tracks.ids, older)[:, None]
        distance = np.abs(frames - tracks.nearest)
        trust = preset.hold_decay**distance if preset.missing == "hold" else np.ones(distance.shape)
        centres = _centres(tracks, clip)

        def on(t: int) -> Tracklets:
            rows = np.flatnonzero(absent[:, t])
            made = [torch.from_numpy(each[rows, t].astype(np.float32)).to(refined.device) for each in (centres, trust)]
            return Tracklets(tracks.ids[rows], refined[torch.from_numpy(rows).to(refined.device), t], *made)

        return [on(t) for t in range(len(clip))]


def _centres(tracks: ClipTracks, clip: Sequence[Detections]) -> NDArray[np.float64]:
    """Centres of the boxes, between detections on a straight line, before and after them standing still; (N, T, 2)."""
    found = [seen.centres.cpu().numpy() for seen in clip]
    centres = np.zeros((*tracks.rows.shape, 2))
    for tracklet, rows in zip(centres, tracks.rows, strict=True):
        detected = np.flatnonzero(rows >= 0)
        known = np.stack([found[t][rows[t]] for t in detected])
        for axis in (0, 1):
            tracklet[:, axis] = np.interp(np.arange(len(rows)), detected, known[:, axis])
    return centres
