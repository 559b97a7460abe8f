"""Draws a scene: one picture a frame, and the exact mask of every object on it.

A silhouette is the outline filled on a grid four times as fine as the pixels; a pixel belongs to it when at least half
of it is covered, to within an eighth of a pixel. Motion blur touches the picture only: masks show the middle of the
exposure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .scene import Scene, Thing
from .textures import Image

FINE = 4  # cells along the side of a pixel
MIN_VISIBLE = 16  # pixels; an object that shows fewer is not visible

_SUB_CELL_BITS = 4  # fractional bits of a coordinate on the fine grid
_SURFACE_REACH = 1.5  # half side of the surface in outline units
_NOISE_MARGIN = 32  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class Silhouettes:
    """Where the objects are on one frame; row n is object n. A mask of fewer than MIN_VISIBLE pixels is empty."""

    full: NDArray[np.bool_]  # (N, H, W), what is inside the frame, hidden or not
    visible: NDArray[np.bool_]  # (N, H, W), what no nearer thing covers


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A thing on one frame, in pixels, cut to the window that holds it."""

    thing: Thing
    depth: float
    affine: NDArray[np.float64]  # (2, 3), outline → pixels of the frame
    window: tuple[int, int, int, int]  # x0, y0, x1, y1; may reach beyond the frame by the blur
    contours: list[NDArray[np.int32]]  # on the fine grid of the window
    motion: NDArray[np.float64]  # (2,), pixels during the exposure


def silhouettes(scene: Scene, frame: int) -> Silhouettes:
    """The masks of one frame."""
    height, width = scene.size_hw
    full = np.zeros((len(scene.objects), height, width), np.bool_)
    visible = np.zeros_like(full)
    taken = np.zeros(scene.size_hw, np.bool_)
    rows = {id(thing): row for row, thing in enumerate(scene.objects)}
    for placed in sorted(_place(scene, frame), key=lambda item: item.depth):
        mask = _mask(placed, scene.size_hw)
        row = rows.get(id(placed.thing))
        if row is not None:
            full[row] = _unless_tiny(mask)
            visible[row] = _unless_tiny(mask & ~taken)
        taken |= mask
    return Silhouettes(full, visible)


def _unless_tiny(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask if np.count_nonzero(mask) >= MIN_VISIBLE else np.zeros_like(mask)


def pictures(scene: Scene, rng: Generator) -> Iterator[NDArray[np.uint8]]:
    """The frames in order, uint8 (H, W, 3) RGB; `rng` is the sensor's noise."""
    height, width = scene.size_hw
    margin = _NOISE_MARGIN
    noise = rng.normal(0, scene.noise, (height + margin, width + margin, 3)).astype(np.float32)
    for frame in range(scene.frames):
        canvas = _background(scene, frame)
        for placed in sorted(_place(scene, frame), key=lambda item: -item.depth):
            _paint(canvas, placed)
        y, x = rng.integers(margin, size=2)
        yield np.clip(canvas + noise[y : y + height, x : x + width] + 0.5, 0, 255).astype(np.uint8)


def _background(scene: Scene, frame: int) -> Image:
    height, width = scene.size_hw
    camera = scene.camera
    source_height, source_width = scene.background.shape[:2]
    angle, zoom = camera.rolls[frame], camera.zooms[frame]
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([source_width, source_height]) / 2 + height * camera.pans[frame]
    target = np.array([width, height]) / 2 + height * camera.shifts[frame]
    affine = np.c_[turn, target - turn @ middle]
    return np.asarray(
        cv2.warpAffine(scene.background, affine, (width, height), borderMode=cv2.BORDER_REFLECT), np.float32
    )


def _place(scene: Scene, frame: int) -> list[_Placed]:
    """The things that touch the frame."""
    everything = (*scene.objects, *scene.poles)
    return [placed for thing in everything if (placed := _place_one(scene, thing, frame)) is not None]


def _place_one(scene: Scene, thing: Thing, frame: int) -> _Placed | None:
    height, width = scene.size_hw
    now, before = (_affine(scene, thing, at) for at in (frame, max(frame - 1, 0)))
    after = _affine(scene, thing, min(frame + 1, scene.frames - 1))
    motion = scene.shutter * (after[:, 2] - before[:, 2]) / 2
    points = [contour @ now[:, :2].T + now[:, 2] for contour in thing.wobble.apply(thing.contours, frame)]
    pad = int(np.abs(motion).max() / 2) + 2
    low = np.floor(points[0].min(axis=0)).astype(int) - pad
    high = np.ceil(points[0].max(axis=0)).astype(int) + pad
    x0, y0 = max(int(low[0]), -pad), max(int(low[1]), -pad)
    x1, y1 = min(int(high[0]), width + pad), min(int(high[1]), height + pad)
    if x0 >= min(x1, width) or y0 >= min(y1, height) or x1 <= 0 or y1 <= 0:
        return None
    # The centre of fine cell s is at (s + 0.5) / FINE pixels.
    cells = [(contour - (x0, y0)) * FINE - 0.5 for contour in points]
    fixed = [np.rint(contour * (1 << _SUB_CELL_BITS)).astype(np.int32) for contour in cells]
    return _Placed(thing, float(thing.path.depths[frame]), now, (x0, y0, x1, y1), fixed, motion)


def _affine(scene: Scene, thing: Thing, frame: int) -> NDArray[np.float64]:
    """Outline → pixels, through the camera, (2, 3)."""
    height, width = scene.size_hw
    zoom = scene.camera.zooms[frame]
    middle = np.array([width / height / 2, 0.5])
    centre = middle + zoom * (thing.path.centres[frame] - middle) + scene.camera.shifts[frame]
    return np.asarray(height * np.c_[zoom * thing.shapes[frame], centre])


def _filled(placed: _Placed) -> NDArray[np.uint8]:
    """The silhouette on the fine grid of the window, 0 or 255."""
    x0, y0, x1, y1 = placed.window
    fine = np.zeros((FINE * (y1 - y0), FINE * (x1 - x0)), np.uint8)
    cv2.fillPoly(fine, placed.contours, 255, shift=_SUB_CELL_BITS)
    return fine


def _coverage(fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fine grid → share of each pixel that is covered, in 1/255."""
    size = (fine.shape[1] // FINE, fine.shape[0] // FINE)
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.uint8)


def _mask(placed: _Placed, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size_hw, np.bool_)
    (rows, columns), inner = _inside_frame(placed.window, size_hw)
    mask[rows, columns] = _coverage(_filled(placed))[inner] >= 128
    return mask


def _inside_frame(
    window: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a window that is inside the frame: where on the frame, and where in the window."""
    x0, y0, x1, y1 = window
    top, left, bottom, right = max(y0, 0), max(x0, 0), min(y1, size_hw[0]), min(x1, size_hw[1])
    on_frame = slice(top, bottom), slice(left, right)
    return on_frame, (slice(top - y0, bottom - y0), slice(left - x0, right - x0))


def _paint(canvas: Image, placed: _Placed) -> None:
    """Lay a thing over the canvas, blurred along its motion."""
    fine = _filled(placed)
    alpha = _coverage(fine)
    cv2.polylines(fine, placed.contours, True, 0, thickness=2 * FINE, shift=_SUB_CELL_BITS)
    inner = _coverage(fine)[..., None] / np.float32(255)
    cover = alpha[..., None] / np.float32(255)
    layer = np.concatenate([_textured(placed) * inner + placed.thing.rim * (cover - inner), cover], axis=2)
    layer = _blurred(layer, placed.motion)
    on_frame, inside = _inside_frame(placed.window, (canvas.shape[0], canvas.shape[1]))
    part = layer[inside]
    canvas[on_frame] = canvas[on_frame] * (1 - part[..., 3:]) + part[..., :3]


def _textured(placed: _Placed) -> Image:
    """The surface as it lies over the window, (h, w, 3)."""
    x0, y0, x1, y1 = placed.window
    surface = placed.thing.surface
    scale = 2 * _SURFACE_REACH / surface.shape[0]
    turn = placed.affine[:, :2] * scale
    corner = placed.affine @ np.array([-_SURFACE_REACH, -_SURFACE_REACH, 1.0]) - (x0, y0)
    size = (x1 - x0, y1 - y0)
    return np.asarray(cv2.warpAffine(surface, np.c_[turn, corner], size, borderMode=cv2.BORDER_REFLECT), np.float32)


def _blurred(layer: Image, motion: NDArray[np.float64]) -> Image:
    """The layer smeared along `motion` pixels."""
    length = float(np.linalg.norm(motion))
    if length < 1.5:
        return layer
    reach = int(np.ceil(np.abs(motion).max() / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    ends = np.rint((np.array([-motion, motion]) / 2 + reach) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, lineType=cv2.LINE_8, shift=4)
    return np.asarray(cv2.filter2D(layer, -1, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT), np.float32)
