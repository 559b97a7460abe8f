"""Online: every frame is told at once, refined by the W - 1 frames before it as they were refined."""

from __future__ import annotations

from collections.abc import Mapping

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
from .telling import Teller, Tracklets, matched_tracklets, no_tracklets
from .tokens import TokenHistory, extended, held


class OnlineRefiner:
    """One video, frame by frame. Its state is W - 1 tokens a tracklet in sight, and the tracker's memory."""

    def __init__(self, network: RefineVis, info: CheckpointInfo, options: RunOptions, read: ReadFrame) -> None:
        self._network, self._options, self._read = network, options, read
        self._teller = Teller(network, info, options)
        self._memory = TrackMemory(network.preset)
        self._history = TokenHistory(network.preset.window)
        self._centres: dict[int, Tensor] = {}  # id → (2,) xy of the last box

    def step(self, frame: Frame) -> FramePrediction:
        """The matched tracklets in the order of the detections, then the recovered ones."""
        with torch.inference_mode():
            seen = self._read(frame)
            ids = self._memory.associate(seen.scores, seen.looks, seen.overlaps)
            if self._network.preset.window > 1:
                refined, missing = self._refine(seen, ids)
            else:
                refined, missing = seen.embeddings, no_tracklets(seen)
            return self._teller.tell(seen, matched_tracklets(seen, ids, refined), missing)

    def withdrawn(self) -> frozenset[int]:
        """Tracks that came to nothing, if the video ends here."""
        return self._memory.withdrawn

    def _refine(self, seen: Detections, ids: NDArray[np.int64]) -> tuple[Tensor, Tracklets]:
        """Embeddings of the detections, refined (N, D), and the tracklets that were not detected."""
        preset = self._network.preset
        hold = preset.missing == "hold"
        live = self._live()
        row_of = {track_id: row for row, track_id in enumerate(ids.tolist())}
        rows = torch.tensor([row_of.get(each, -1) for each in live], dtype=torch.int64, device=seen.embeddings.device)
        matched = rows >= 0
        past = self._history.past(list(live), seen.embeddings)
        tokens = held(past) if hold else seen.embeddings.new_zeros(len(live), seen.embeddings.shape[1])
        tokens[matched] = seen.embeddings[rows[matched]]
        window = extended(past, tokens, seen.frame_index, matched | hold)
        with autocast(self._options):
            found = self._network.tar(window.tokens, window.times, window.exists, window.seen, last=1)[:, 0]

        left = matched | preset.write_back  # R8
        self._history.keep(list(live), extended(past, found * left[:, None], seen.frame_index, left))
        self._centres = {each: seen.centres[row_of[each]] if each in row_of else self._centres[each] for each in live}
        embeddings = seen.embeddings.clone()
        embeddings[rows[matched]] = found[matched]
        return embeddings, self._missing(live, found)

    def _live(self) -> dict[int, int]:
        """Tracklets to refine, and for how many frames each was not detected.

        After W of them nothing would be left of a tracklet but what the refinement made itself.
        """
        preset = self._network.preset
        missing = {
            track.id: self._memory.missing(track)
            for track in self._memory.known
            if preset.refined == "all" or track.scores[-1] > preset.new_score  # R7
        }
        return {each: frames for each, frames in missing.items() if frames < preset.window}

    def _missing(self, live: Mapping[int, int], found: Tensor) -> Tracklets:
        preset = self._network.preset
        told = [row for row, frames in enumerate(live.values()) if frames and preset.missing != "null"]
        ids = np.array(list(live), np.int64)[told]
        rows = torch.tensor(told, dtype=torch.int64, device=found.device)
        centres = [self._centres[each] for each in ids.tolist()]
        decay = preset.hold_decay if preset.missing == "hold" else 1.0
        trust = torch.tensor([decay ** live[each] for each in ids.tolist()], device=found.device)
        return Tracklets(ids, found[rows], torch.stack(centres) if centres else found.new_zeros(0, 2), trust)
