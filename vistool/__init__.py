"""Video in, instance tracks out. The public names, each loaded on first use: importing vistool is light."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .methods import METHODS, Method
    from .methods.loading import load_model
    from .protocols import FrameSource, OfflineModel, OnlineModel, OnlineTracker, VideoModel, Writer
    from .ranking import Ranking
    from .runner import run
    from .types import Category, Frame, FramePrediction, Rle, RunOptions, Track, VideoInfo, VideoPrediction
    from .video import open_video
    from .writers import WRITERS, open_writer
    from .writers.reading import read_result

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "WRITERS",
    "Category",
    "Frame",
    "FramePrediction",
    "FrameSource",
    "Method",
    "OfflineModel",
    "OnlineModel",
    "OnlineTracker",
    "Ranking",
    "Rle",
    "RunOptions",
    "Track",
    "VideoInfo",
    "VideoModel",
    "VideoPrediction",
    "Writer",
    "load_model",
    "open_video",
    "open_writer",
    "read_result",
    "run",
]

_PLACES = {
    "methods": ("METHODS", "Method"),
    "methods.loading": ("load_model",),
    "protocols": ("FrameSource", "OfflineModel", "OnlineModel", "OnlineTracker", "VideoModel", "Writer"),
    "ranking": ("Ranking",),
    "runner": ("run",),
    "types": ("Category", "Frame", "FramePrediction", "Rle", "RunOptions", "Track", "VideoInfo", "VideoPrediction"),
    "video": ("open_video",),
    "writers": ("WRITERS", "open_writer"),
    "writers.reading": ("read_result",),
}


def __getattr__(name: str) -> object:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
