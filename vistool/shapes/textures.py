"""Surfaces: what objects, poles and backgrounds are painted with. Float32 RGB in [0, 255], no geometry of objects."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.float32]

PATCH = 128  # pixels along the side of an object's surface

_PATTERNS = ("stripes", "checks", "dots", "noise", "gradient")


def object_colours(rng: Generator) -> Image:
    """Two tones of one vivid colour, so that the outline stands out more than the pattern; (2, 3)."""
    hue, saturation, value = rng.random(), rng.uniform(0.45, 1.0), rng.uniform(0.8, 1.0)
    light = colorsys.hsv_to_rgb(hue, saturation, value)
    dark = colorsys.hsv_to_rgb((hue + rng.uniform(-0.08, 0.08)) % 1, saturation, value * rng.uniform(0.55, 0.8))
    return 255 * np.array([light, dark], np.float32)


def muted_colours(rng: Generator, count: int, contrast: float) -> Image:
    """Colours of surroundings, less saturated, around one lightness; (count, 3)."""
    middle = rng.uniform(0.3, 0.65)
    rows = [
        colorsys.hsv_to_rgb(
            rng.random(), rng.uniform(0.0, 0.35), np.clip(middle + contrast * rng.uniform(-1, 1), 0.05, 0.95)
        )
        for _ in range(count)
    ]
    return 255 * np.array(rows, np.float32)


def surface(rng: Generator, colours: Image, size_hw: tuple[int, int] = (PATCH, PATCH), repeats: float = 1.0) -> Image:
    """One of the patterns between two colours (2, 3) → (H, W, 3); `repeats` scales how often the pattern comes."""
    mix = _pattern(rng, str(rng.choice(_PATTERNS)), size_hw, repeats)
    return _blend(colours, mix)


def background(rng: Generator, size_hw: tuple[int, int], clutter: float) -> Image:
    """Clouds of every scale filled with patterns, (H, W, 3); `clutter` in [0, 1] sets their number and contrast."""
    colours = muted_colours(rng, 2, 0.1 + 0.15 * clutter)
    canvas = _blend(colours, smooth_noise(rng, size_hw, rng.uniform(3, 6)))
    for _ in range(2 + round(6 * clutter)):
        colours = muted_colours(rng, 2, 0.06 + 0.16 * clutter)
        patch = surface(rng, colours, size_hw, repeats=rng.uniform(1.5, 5))
        edge = smooth_noise(rng, size_hw, rng.uniform(3, 14))
        inside = np.clip((edge - rng.uniform(0.5, 0.68)) * 30, 0, 1)[..., None]
        canvas = canvas * (1 - inside) + patch * inside
    grain = smooth_noise(rng, size_hw, size_hw[0] / 6) - 0.5
    return np.asarray(np.clip(canvas + (15 + 25 * clutter) * grain[..., None], 0, 255), np.float32)


def smooth_noise(rng: Generator, size_hw: tuple[int, int], cells: float) -> Image:
    """Two octaves of smooth noise with about `cells` lumps down the picture, (H, W) stretched to [0, 1]."""
    height, width = size_hw
    total = np.zeros(size_hw, np.float32)
    for octave, weight in ((1.0, 1.0), (2.3, 0.45)):
        rows = max(2, round(cells * octave))
        columns = max(2, round(cells * octave * width / height))
        grid = rng.random((rows, columns), np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low), np.float32)


def _blend(colours: Image, mix: Image) -> Image:
    return np.asarray(colours[0] * (1 - mix[..., None]) + colours[1] * mix[..., None], np.float32)


def _pattern(rng: Generator, name: str, size_hw: tuple[int, int], repeats: float) -> Image:
    """Share of the second colour, (H, W) in [0, 1]."""
    if name == "noise":
        return _steep(0.9 * smooth_noise(rng, size_hw, rng.uniform(5, 10) * repeats) - 0.45)
    scale = size_hw[0] / repeats
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32) / np.float32(scale)
    angle = rng.uniform(0, np.pi)
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    waves = 2 * np.pi * rng.uniform(4, 8)
    phase = rng.uniform(0, 2 * np.pi)
    if name == "stripes":
        return _steep(np.sin(waves * u + phase))
    if name == "checks":
        return _steep(2 * np.sin(0.7 * waves * u + phase) * np.sin(0.7 * waves * v))
    if name == "dots":
        return _steep(np.sin(waves * u + phase) + np.sin(waves * v) - 0.6)
    return np.asarray(0.5 + 0.5 * np.sin(1.2 * np.pi * u + phase), np.float32)


def _steep(wave: Image) -> Image:
    return np.asarray(np.clip(0.5 + 2.5 * wave, 0, 1), np.float32)
