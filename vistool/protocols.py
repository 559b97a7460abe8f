"""The seams. Whoever satisfies one of these joins without touching the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from .types import Category, Frame, FramePrediction, Track, VideoInfo, VideoPrediction


class FrameSource(Protocol):
    """A video that can be read once, from front to back."""

    @property
    def info(self) -> VideoInfo: ...

    def __iter__(self) -> Iterator[Frame]:
        """Frames with rising indices and times that never go back."""
        ...

    def close(self) -> None:
        """Release the file; may be called twice."""
        ...


class OnlineTracker(Protocol):
    """The state of one video."""

    def step(self, frame: Frame) -> FramePrediction:
        """The instances on this frame; has seen no later one."""
        ...


class OnlineModel(Protocol):
    """Weights, shared and unchanging; one model serves many videos."""

    @property
    def categories(self) -> tuple[Category, ...]: ...

    def begin(self, video: VideoInfo) -> OnlineTracker: ...


class OfflineModel(Protocol):
    """A model that sees several frames at once."""

    @property
    def categories(self) -> tuple[Category, ...]: ...

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        """Candidate tracks over these frames; ids are unique within the call and mean nothing outside it."""
        ...


class ClipTracker(Protocol):
    """The state of one video that is seen clip by clip, under identities of the model's own."""

    def segment(self, frames: Sequence[Frame]) -> Sequence[FramePrediction]:
        """The instances on each of the next frames, which no other call sees; has seen no later one."""
        ...


class ClipModel(Protocol):
    """A model that sees several frames at once and follows objects from one clip to the next itself."""

    @property
    def categories(self) -> tuple[Category, ...]: ...

    def begin_clips(self, video: VideoInfo, window: int) -> ClipTracker:
        """`window`: frames of a clip but for the last, which may be shorter; 0: all frames."""
        ...


@runtime_checkable
class Withdrawing(Protocol):
    """What a tracker may offer besides: second thoughts at the end of the video."""

    def withdrawn(self) -> Collection[int]:
        """Tracks that were told on some frames and turned out to be no objects; asked once, after the last frame."""
        ...


VideoModel: TypeAlias = OnlineModel | OfflineModel | ClipModel


class Writer(Protocol):
    """One output of one video."""

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        """Called once a frame, in order; `labels` and `scores` are the tracks' standing at this moment."""
        ...

    def finish(self, result: VideoPrediction) -> None:
        """Called once, after the last frame: publish the output under its name."""
        ...

    def close(self) -> None:
        """Called always, also after a failure: release, and drop what was not published."""
        ...
