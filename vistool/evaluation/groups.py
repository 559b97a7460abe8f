"""Parts of a data set that are worth a line of their own: by video, by length, by size, by attribute, by category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .scoring import Figures, Scores

Grouping = Literal["category", "video", "length", "size", "attribute"]

LENGTHS = (0, 16, 32, 64, 128, 256)  # frames; a group reaches from above one to the next, the last has no end
_SIZES = {
    "small (to 128² px)": ("APs", "ARs"),
    "medium (to 256² px)": ("APm", "ARm"),
    "large (above)": ("APl", "ARl"),
}


def grouped(scores: Scores, by: Grouping) -> dict[str, Figures]:
    """Name of the group → its numbers. Groups of videos say how many there are."""
    if by == "category":
        return scores.per_category()
    if by == "size":
        if scores.ap is None:
            return {}
        ap = scores.ap.figures()
        return {name: {"ap": {"AP": ap[p], "AR100": ap[r]}} for name, (p, r) in _SIZES.items()}
    return {
        name: {"counts": {"videos": int(chosen.sum())}, **scores.figures(chosen.astype(np.float64))}
        for name, chosen in _videos(scores, by).items()
        if chosen.any()
    }


def _videos(scores: Scores, by: Grouping) -> Mapping[str, NDArray[np.bool_]]:
    """Which videos each group holds, (V,)."""
    if by == "attribute":
        return scores.attributes or {}
    if by == "video":
        each = np.eye(len(scores.videos), dtype=np.bool_)
        times = Counter(video.names[:1] for video in scores.videos)
        names = [
            video.names[0]
            if video.names and times[video.names[:1]] == 1
            else " ".join([*video.names[:1], f"({video.id})"])
            for video in scores.videos
        ]
        return dict(zip(names, each, strict=True))
    return {
        f"{low + 1} to {high} frames" if high else f"over {low} frames": (scores.lengths > low)
        & (scores.lengths <= (high or np.inf))
        for low, high in pairwise([*LENGTHS, None])
        if low is not None
    }
