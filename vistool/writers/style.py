"""How an overlay looks. Light, so that the command line can name the choices without loading what draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StyleKind = Literal["fill", "contour", "box", "id"]


@dataclass(frozen=True, slots=True)
class OverlayStyle:
    """What is drawn for each instance, and how the video is encoded."""

    kind: StyleKind = "fill"  # fill: tint, outline and label · contour: without tint · box · id: outline and number
    alpha: float = 0.45  # opacity of the tint, in [0, 1]
    ids: frozenset[int] | None = None  # tracks to draw; None: all
    crf: int = 20  # H.264 quality, 0 (lossless) to 51
