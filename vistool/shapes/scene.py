"""One video before it is drawn: what there is, how it looks, and where it is on every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from . import textures
from .motion import Floats, Path, Stage, plan_paths, wave
from .outlines import CLASSES, OUTLINES, Points, Wobble, pole

_BACKGROUND_MARGIN = 0.4  # frame heights around the frame, for the camera to pan over


@dataclass(frozen=True, slots=True)
class Setting:
    """What a video of a split may hold."""

    size_hw: tuple[int, int]  # pixels
    frames: int
    objects: tuple[int, int]  # least, most
    linger: float  # how long a planned occlusion lasts, as a share of the video
    hiding: float  # how much likelier than usual an object is to hide or to pass another one
    repeat_class: float  # probability that an object takes the class of an earlier one
    difficulty: float  # in [0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """An object, or a pole that only stands in the way."""

    label: int | None  # row of CLASSES; None for a pole
    contours: tuple[Points, ...]
    wobble: Wobble
    surface: textures.Image  # covers [-1.5, 1.5]² around the outline
    rim: textures.Image  # (3,), colour of the line along the outline
    path: Path
    shapes: Floats  # (T, 2, 2), outline → frame heights: rotation, stretch and size


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """What moves the whole picture."""

    shifts: Floats  # (T, 2), frame heights: shake
    zooms: Floats  # (T,), about the middle of the frame
    pans: Floats  # (T, 2), frame heights: where the background is read
    rolls: Floats  # (T,), radians, of the background


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One video."""

    size_hw: tuple[int, int]  # pixels
    frames: int
    objects: tuple[Thing, ...]
    poles: tuple[Thing, ...]
    background: textures.Image  # larger than the frame by a margin on every side
    camera: Camera
    shutter: float  # share of the time between frames during which light falls in
    noise: float  # standard deviation of the sensor, grey levels


def compose(rng: Generator, setting: Setting) -> Scene:
    """Draw one video's content; everything in it comes from `rng`."""
    height, width = setting.size_hw
    difficulty, frames = setting.difficulty, setting.frames
    camera = _camera(rng, frames, difficulty)
    poles = _poles(rng, setting, camera)
    stage = Stage(
        frames, width / height, difficulty, setting.linger, setting.hiding, tuple(thing.path for thing in poles)
    )
    count = int(rng.integers(setting.objects[0], setting.objects[1] + 1))
    labels = _labels(rng, count, setting.repeat_class)
    radii = _radii(rng, count)
    paths = plan_paths(rng, stage, radii, labels)
    objects: list[Thing] = []
    for label, radius, path in zip(labels, radii, paths, strict=True):
        twins = [thing for thing in objects if thing.label == label]
        alike = twins[0] if twins and rng.random() < 0.5 * difficulty else None
        objects.append(_object(rng, int(label), radius, path, difficulty, alike))
    margin = round(_BACKGROUND_MARGIN * height)
    return Scene(
        size_hw=setting.size_hw,
        frames=frames,
        objects=tuple(objects),
        poles=poles,
        background=textures.background(rng, (height + 2 * margin, width + 2 * margin), 0.2 + 0.8 * difficulty),
        camera=camera,
        shutter=0.15 + 0.5 * difficulty,
        noise=1.0 + 8.0 * difficulty * rng.random(),
    )


def _labels(rng: Generator, count: int, repeat_class: float) -> NDArray[np.int64]:
    labels: list[int] = []
    for _ in range(count):
        again = bool(labels) and rng.random() < repeat_class
        labels.append(int(rng.choice(labels)) if again else int(rng.integers(len(CLASSES))))
    return np.array(labels)


def _radii(rng: Generator, count: int) -> Floats:
    """Frame heights; a few are small, and many objects are all a little smaller."""
    small = rng.random(count) < 0.18
    typical = rng.uniform(0.14, 0.235, count) * (1.06 - 0.04 * (count - 2))
    return np.where(small, rng.uniform(0.075, 0.1, count), typical)


def _object(rng: Generator, label: int, radius: float, path: Path, difficulty: float, alike: Thing | None) -> Thing:
    frames = len(path.depths)
    surface = alike.surface if alike else textures.surface(rng, textures.object_colours(rng))
    dark = surface.mean() > 120
    spin = rng.normal(0, 1) * (0.02 + 0.12 * difficulty)  # radians a frame
    angles = rng.uniform(0, 2 * np.pi) + spin * np.arange(frames) + wave(rng, frames, 0.3, 4)[:, 0]
    stretches = np.exp(wave(rng, frames, 0.1 + 0.16 * difficulty, 4)[:, 0])
    sizes = radius * 1.6 ** (0.5 - np.clip(path.depths, -0.1, 1.1))
    return Thing(
        label=label,
        contours=OUTLINES[CLASSES[label]],
        wobble=_wobble(rng, 0.03 + 0.05 * difficulty),
        surface=surface,
        rim=np.full(3, 15 if dark else 245, np.float32),
        path=path,
        shapes=_affine(angles, sizes * stretches**0.5, sizes / stretches**0.5),
    )


def _wobble(rng: Generator, amplitude: float) -> Wobble:
    crests = np.arange(2, 5)
    return Wobble(
        amplitudes=amplitude * rng.uniform(0.3, 1.0, 3) * 2 / crests,
        phases=rng.uniform(0, 2 * np.pi, 3),
        speeds=rng.choice([-1, 1], 3) * rng.uniform(0.15, 0.45, 3),
    )


def _poles(rng: Generator, setting: Setting, camera: Camera) -> tuple[Thing, ...]:
    """Strips before everything else, standing in the world: they go where the background goes, a little faster."""
    aspect = setting.size_hw[1] / setting.size_hw[0]
    count = int(rng.random() < 0.05 + 0.7 * setting.difficulty) + int(rng.random() < 0.3 * setting.difficulty)
    things = []
    for number in range(count):
        x = aspect * (number + rng.uniform(0.25, 0.75)) / count
        centres = np.array([x, 0.5]) - 1.2 * camera.pans
        colours = textures.muted_colours(rng, 2, 0.35)
        things.append(
            Thing(
                label=None,
                contours=pole(1.0, 16.0, 0.12 * rng.uniform(-1, 1, (2, 60))),
                wobble=Wobble(np.zeros(1), np.zeros(1), np.zeros(1)),
                surface=textures.surface(rng, colours),
                rim=(colours.min(axis=0) * 0.5).astype(np.float32),
                path=Path(centres, np.full(setting.frames, -np.inf)),
                shapes=_affine(np.full(setting.frames, rng.normal(0, 0.1)), *[rng.uniform(0.08, 0.15)] * 2),
            )
        )
    return tuple(things)


def _affine(angles: Floats, width: Floats | float, height: Floats | float) -> Floats:
    """Stretch, then rotate: (T, 2, 2)."""
    cosine, sine = np.cos(angles), np.sin(angles)
    rotation = np.array([[cosine, -sine], [sine, cosine]]).transpose(2, 0, 1)
    stretch = np.zeros_like(rotation)
    stretch[:, 0, 0], stretch[:, 1, 1] = width, height
    return np.asarray(rotation @ stretch)


def _camera(rng: Generator, frames: int, difficulty: float) -> Camera:
    shake = rng.normal(0, 0.008 * difficulty * rng.random(), (frames, 2))
    return Camera(
        shifts=wave(rng, frames, 0.03, 4, 2) + shake,
        zooms=np.exp(wave(rng, frames, 0.02 + 0.12 * difficulty, 3)[:, 0]),
        pans=wave(rng, frames, 0.05 + 0.3 * difficulty, 3, 2),
        rolls=wave(rng, frames, 0.2 * difficulty, 3)[:, 0],
    )
