"""The eight classes as outlines. Knows geometry only: no colour, no motion, no pixels.

An outline is a few closed contours, float64 (P, 2) points around the origin, y down, radius about 1; a second contour
is a hole. The classes stay apart under rotation, a stretch to 3 : 4 and a mild wobble.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_CURVE_POINTS = 72
_EDGE_POINTS = 10  # on every straight edge, so that a wobble bends it


@dataclass(frozen=True, slots=True)
class Wobble:
    """A smooth change of the outline's radius: a few waves that run around it as time goes by."""

    amplitudes: Points  # (K,), share of the radius; wave k has k + 2 crests
    phases: Points  # (K,), radians
    speeds: Points  # (K,), radians a frame

    def apply(self, contours: tuple[Points, ...], frame: int) -> tuple[Points, ...]:
        """The contours as they are on one frame."""
        return tuple(self._bend(contour, frame) for contour in contours)

    def _bend(self, points: Points, frame: int) -> Points:
        angles = np.arctan2(points[:, 1], points[:, 0])
        crests = np.arange(len(self.amplitudes)) + 2
        waves = np.cos(crests * angles[:, None] + self.phases + self.speeds * frame)  # (P, K)
        bent: Points = points * (1 + waves @ self.amplitudes)[:, None]
        return bent


def _circle(radius: float, start: float = 0.0, stop: float = 2 * np.pi) -> Points:
    angles = np.linspace(start, stop, _CURVE_POINTS, endpoint=False)
    return np.asarray(radius * np.c_[np.cos(angles), np.sin(angles)])


def _polygon(corners: Points) -> Points:
    """Corners (C, 2) → the closed polygon with points on its edges."""
    steps = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)[:, None]
    following = np.roll(corners, -1, axis=0)
    return np.concatenate([a + (b - a) * steps for a, b in zip(corners, following, strict=True)])


def _square() -> Points:
    return _polygon(0.86 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64))


def _triangle() -> Points:
    angles = np.deg2rad([-90, 30, 150])
    return _polygon(1.2 * np.c_[np.cos(angles), np.sin(angles)])


def _star() -> Points:
    angles = np.deg2rad(-90 + 36 * np.arange(10))
    radii = np.where(np.arange(10) % 2 == 0, 1.25, 0.52)
    return _polygon(radii[:, None] * np.c_[np.cos(angles), np.sin(angles)])


def _cross() -> Points:
    arm, half = 1.1, 0.36
    quarter = np.array([[half, -arm], [half, -half], [arm, -half]])
    turns = [np.array([[0, -1], [1, 0]]), np.eye(2)]
    corners = [quarter @ np.linalg.matrix_power(turns[0], k).T for k in range(4)]
    return _polygon(np.concatenate(corners))


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, _CURVE_POINTS, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.asarray(np.c_[x, -y - 2] / 15)


def _crescent() -> Points:
    """A disk without a second one of the same size, shifted to the right; the tips are where the circles meet."""
    shift = 0.75
    tip = np.arccos(shift / 2)
    outer = _circle(1.15, tip, 2 * np.pi - tip)
    inner = 1.15 * np.array([shift, 0.0]) + _circle(1.15, np.pi + tip, np.pi - tip)
    right = np.array([0.4, 0.0])
    return np.asarray(np.concatenate([outer, inner]) + right)


OUTLINES: dict[str, tuple[Points, ...]] = {
    "disk": (_circle(1.0),),
    "square": (_square(),),
    "triangle": (_triangle(),),
    "star": (_star(),),
    "ring": (_circle(1.05), _circle(0.55)),
    "cross": (_cross(),),
    "heart": (_heart(),),
    "crescent": (_crescent(),),
}
"""Class name → contours; the position in this table, counted from 1, is the category id."""

CLASSES = tuple(OUTLINES)


def pole(width: float, length: float, bends: Points) -> tuple[Points, ...]:
    """The outline of what is no object: a strip from edge to edge of the frame; `bends` (2, B) makes its sides wavy."""
    along = np.linspace(-length, length, bends.shape[1])
    left = np.c_[-width * (1 + bends[0]), along]
    right = np.c_[width * (1 + bends[1]), along]
    return (np.concatenate([left, right[::-1]]),)
