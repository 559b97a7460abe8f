"""What flows between the parts: frames, masks, predictions. Frozen, NumPy only, every field with its unit and shape.

Indices are 0-based and count the frames of the source, so a prediction made with `--stride 5` still says frame 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RankingProtocol = Literal["people", "ytvis"]
"""How predictions are ranked: one class a track, or the benchmark's list of (track, class) pairs."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before its frames are read."""

    name: str
    size_hw: tuple[int, int]  # pixels, upright (rotation applied)
    frame_rate: Fraction  # nominal, frames per second; for labels, never for timing
    frame_count: int | None  # what the container claims; None when it does not say
    rotation: int = 0  # degrees, counter-clockwise, that were applied to make the frames upright


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Frame:
    """One picture of a video."""

    index: int  # position in the source, display order
    time_s: float  # seconds after the first frame of the source, from its timestamps
    image: NDArray[np.uint8]  # (H, W, 3), RGB, upright


@dataclass(frozen=True, slots=True)
class Category:
    """One class that a model can name."""

    id: int  # the data set's own number, which may start at 1 and have gaps
    name: str


@dataclass(frozen=True, slots=True)
class Rle:
    """One instance mask as run lengths down the columns, background first (the COCO order)."""

    size_hw: tuple[int, int]
    counts: bytes  # the compressed COCO string


@dataclass(frozen=True, slots=True, eq=False)
class FramePrediction:
    """The instances on one frame; row n of every array is the same instance.

    Raises ValueError when the rows do not agree or a track appears twice.
    """

    frame_index: int
    track_ids: NDArray[np.int64]  # (N,), unique within the frame
    labels: NDArray[np.int64]  # (N,), row of the model's `categories`
    scores: NDArray[np.float32]  # (N,), in [0, 1]
    masks: tuple[Rle, ...]  # N, at the size of the source
    class_scores: NDArray[np.float32] | None = None  # (N, K) in [0, 1]; None where a model knows one class only
    judged: NDArray[np.bool_] | None = None
    """(N,) rows whose scores count for those of their track; None: all. A track's first row, or clip, has one."""

    def __post_init__(self) -> None:
        rows = {
            "track_ids": len(self.track_ids),
            "labels": len(self.labels),
            "scores": len(self.scores),
            "masks": len(self.masks),
        }
        if self.class_scores is not None:
            rows["class_scores"] = len(self.class_scores)
        if self.judged is not None:
            rows["judged"] = len(self.judged)
        if len(set(rows.values())) > 1:
            raise ValueError(f"frame {self.frame_index}: {', '.join(f'{k} has {n} rows' for k, n in rows.items())}")
        if len(np.unique(self.track_ids)) != len(self.track_ids):
            raise ValueError(f"frame {self.frame_index}: a track appears twice in {self.track_ids.tolist()}")


@dataclass(frozen=True, slots=True)
class Track:
    """One object through a video, or through one window of it."""

    id: int  # stable for the whole video, never reused
    label: int  # row of `categories`
    score: float  # of the whole track, in [0, 1]
    masks: Mapping[int, Rle]  # frame index → mask; a missing frame means not visible
    class_scores: tuple[float, ...] | None = None  # K values in [0, 1]; None where only `label` is known


@dataclass(frozen=True, slots=True)
class VideoPrediction:
    """All tracks of one video."""

    video: VideoInfo
    categories: tuple[Category, ...]
    tracks: tuple[Track, ...]
    times_s: Mapping[int, float]  # frame index → seconds, for every frame that was looked at, in order
    facts: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Provenance as the result's `info` (method, weights, sha256, command …); JSON values only."""

    @property
    def length(self) -> int:
        """Frames of the source up to the last one that was looked at."""
        return max(self.times_s, default=-1) + 1


CANDIDATE_SHARE = 1 / 3
"""Of the threshold for tracks. These are judged over all their windows, so a candidate may lack something in one; what
is below this share seldom becomes part of a track that is kept, and its masks would cost as much."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a model is to be run; the same for every method."""

    device: str = "cpu"  # a torch device, resolved (never "auto")
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    short_side: int | None = None  # pixels the network sees; None: the checkpoint's own
    score_floor: float | None = None
    """Candidates of a window whose best class is below it are dropped before their masks are made; None: a share, that
    of CANDIDATE_SHARE, of the checkpoint's own threshold."""
    max_instances: int | None = None  # candidates kept a window, best first; None: the method's own number
    memory_frames: int | None = None  # of long-term memory, where a method has one; None: its own number
    tta: bool = False
    seed: int = 0
