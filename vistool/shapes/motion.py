"""Where things are on every frame. Lengths are in frame heights, x to the right, y down; times run from 0 to 1.

Every object gets one part to play, and the parts are cast so that things happen: an object goes out of the picture and
comes back, hides behind a pole, or passes closely before or behind another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Part = Literal["wander", "exit", "hide", "meet"]


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Centre and depth on every frame."""

    centres: Floats  # (T, 2), frame heights
    depths: Floats  # (T,), 0 near … 1 far; the nearer thing covers the farther one


@dataclass(frozen=True, slots=True)
class Stage:
    """What a path can be planned around."""

    frames: int
    aspect: float  # width of the frame over its height
    difficulty: float  # in [0, 1]
    linger: float  # how long a planned occlusion lasts, as a share of the video
    hiding: float  # how much likelier than usual an object is to hide or to pass another one
    poles: tuple[Path, ...]

    @property
    def clock(self) -> Floats:
        return np.linspace(0, 1, self.frames)


def spline(times: Floats, values: Floats, at: Floats) -> Floats:
    """The smooth curve through `values` (K, D) at rising `times` (K,), read at `at` (T,) → (T, D); K is at least 2."""
    slopes = np.gradient(values, times, axis=0)
    piece = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    span = (times[piece + 1] - times[piece])[:, None]
    s = (at - times[piece])[:, None] / span
    start, stop = values[piece], values[piece + 1]
    curve: Floats = (
        (2 * s**3 - 3 * s**2 + 1) * start
        + (s**3 - 2 * s**2 + s) * span * slopes[piece]
        + (3 * s**2 - 2 * s**3) * stop
        + (s**3 - s**2) * span * slopes[piece + 1]
    )
    return curve


def wave(rng: Generator, frames: int, amplitude: float, points: int, width: int = 1) -> Floats:
    """A smooth random curve around 0, (T, width)."""
    times = np.linspace(0, 1, points)
    return spline(times, amplitude * rng.uniform(-1, 1, (points, width)), np.linspace(0, 1, frames))


def plan_paths(rng: Generator, stage: Stage, radii: Floats, labels: NDArray[np.int64]) -> list[Path]:
    """One path an object, of the given radius and class; later ones are planned around earlier ones."""
    paths: list[Path] = []
    for radius, label in zip(radii, labels, strict=True):
        others = [(paths[k], radii[k], labels[k] == label) for k in range(len(paths))]
        part = _cast(rng, stage, can_meet=bool(paths))
        paths.append(_PLANS[part](rng, stage, radius, others))
    return paths


_Others = list[tuple[Path, float, bool]]  # path, radius, same class


def _cast(rng: Generator, stage: Stage, *, can_meet: bool) -> Part:
    events = stage.difficulty
    weights: dict[Part, float] = {
        "wander": 1 - 0.5 * events,
        "exit": 0.45 * events,
        "hide": 0.35 * stage.hiding * events if stage.poles else 0.0,
        "meet": 0.6 * stage.hiding * events if can_meet else 0.0,
    }
    shares = np.array(list(weights.values()))
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]


def _wander(rng: Generator, stage: Stage, radius: float, others: _Others) -> Path:
    times = np.linspace(0, 1, 2 + round(3 * stage.difficulty))
    points = np.array([_free_point(rng, stage, radius, others, time) for time in times])
    return Path(spline(times, points, stage.clock), _depths(rng, stage))


def _exit(rng: Generator, stage: Stage, radius: float, others: _Others) -> Path:
    """In, out beyond an edge for a while, and in again, often elsewhere."""
    leave = rng.uniform(0.3, 0.42)
    back = leave + rng.uniform(0.1, 0.22)
    side = int(rng.integers(4))
    first = _free_point(rng, stage, radius, others, 0.0)
    goal = _free_point(rng, stage, radius, others, 1.0)
    out = [_outside(stage, radius, side, near) for near in (first, goal)]
    times = np.array([0, leave, back, min(0.93, back + rng.uniform(0.28, 0.38)), 1])
    goal_before = goal + rng.normal(0, 0.08, 2)
    centres = spline(times, np.array([first, *out, goal_before, goal]), stage.clock)
    return Path(centres, _depths(rng, stage))


def _hide(rng: Generator, stage: Stage, radius: float, others: _Others) -> Path:
    """Behind a pole for a while, then out on either side."""
    centres = stage.poles[rng.integers(len(stage.poles))].centres
    start = rng.uniform(0.2, 0.7 - stage.linger)
    height = rng.uniform(0.25, 0.75)
    times = np.array([0, start, start + stage.linger, 1])
    points = np.array([_free_point(rng, stage, radius, others, time) for time in times])
    for k in (1, 2):
        behind = centres[round(times[k] * (stage.frames - 1))]
        points[k] = behind[0] + rng.uniform(-0.03, 0.03), height + rng.uniform(-0.1, 0.1)
    return Path(spline(times, points, stage.clock), _depths(rng, stage))


def _meet(rng: Generator, stage: Stage, radius: float, others: _Others) -> Path:
    """Close to another object for a while, the smaller one mostly behind; of the same class where there is one."""
    weights = np.array([1.0 + 5.0 * same for _, _, same in others])
    other, other_radius, _ = others[rng.choice(len(others), p=weights / weights.sum())]
    start = _meeting_start(rng, stage, other, stage.linger)
    times = np.array([0, start, start + stage.linger / 2, start + stage.linger, 1])
    points = np.array([_free_point(rng, stage, radius, others, time) for time in times])
    direction = rng.normal(0, 1, 2)
    direction /= np.linalg.norm(direction)
    for k, offset in ((1, -0.45), (2, 0.05), (3, 0.45)):
        at = round(times[k] * (stage.frames - 1))
        points[k] = other.centres[at] + offset * other_radius * direction
    covers = radius > other_radius if rng.random() < 0.8 else radius < other_radius
    apart = -0.3 if covers else 0.3
    near = spline(times, np.interp(times, stage.clock, other.depths)[:, None] + apart, stage.clock)[:, 0]
    return Path(spline(times, points, stage.clock), near)


_PLANS: dict[Part, Callable[[Generator, Stage, float, _Others], Path]] = {
    "wander": _wander,
    "exit": _exit,
    "hide": _hide,
    "meet": _meet,
}


def _meeting_start(rng: Generator, stage: Stage, other: Path, linger: float) -> float:
    """A time from which the other object is inside the frame, of a few that are tried."""
    starts = rng.uniform(0.15, 0.75 - linger, 6)
    middle = np.rint((starts + linger / 2) * (stage.frames - 1)).astype(np.int64)
    x, y = other.centres[middle].T
    inside = (x > 0.1) & (x < stage.aspect - 0.1) & (y > 0.1) & (y < 0.9)
    return float(starts[np.argmax(inside)])


def _free_point(rng: Generator, stage: Stage, radius: float, others: _Others, time: float) -> Floats:
    """Inside the frame and, of a few tries, farthest from what is already there."""
    margin = 0.7 * radius
    tries = rng.uniform([margin, margin], [stage.aspect - margin, 1 - margin], (4, 2))
    if not others:
        return np.asarray(tries[0])
    at = round(time * (stage.frames - 1))
    taken = np.array([path.centres[at] for path, _, _ in others])
    distances = np.linalg.norm(tries[:, None] - taken, axis=-1).min(axis=1)
    return np.asarray(tries[np.argmax(distances)])


def _outside(stage: Stage, radius: float, side: int, near: Floats) -> Floats:
    """The point beyond an edge (left, right, top, bottom) that is level with `near`."""
    beyond = 1.9 * radius + 0.06
    x = (-beyond, stage.aspect + beyond, near[0], near[0])[side]
    y = (near[1], near[1], -beyond, 1 + beyond)[side]
    return np.array([x, y])


def _depths(rng: Generator, stage: Stage) -> Floats:
    times = np.linspace(0, 1, 3)
    return spline(times, rng.uniform(0, 1, (3, 1)), stage.clock)[:, 0]
