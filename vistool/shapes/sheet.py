"""A picture of a split at a glance: a row a video, a column a moment, every other row with the masks' outlines.

python -m vistool.shapes.sheet shapes-val sheet.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .dataset import SPLITS, Recipe
from .drawing import pictures, silhouettes
from .scene import Scene

_GAP = 4  # pixels between pictures
_KEPT_BITS = np.uint8(0xF8)  # the others are sensor noise, which a PNG cannot compress
_LINE_COLOURS = (
    (255, 64, 64),
    (64, 255, 64),
    (80, 140, 255),
    (255, 255, 64),
    (255, 64, 255),
    (64, 255, 255),
    (255, 160, 0),
)


def contact_sheet(recipe: Recipe, *, columns: int = 5, width: int = 180) -> NDArray[np.uint8]:
    """Pictures `width` pixels wide of every video of the recipe, (H, W, 3) RGB."""
    rows = []
    for number in range(recipe.videos):
        scene, noise = recipe.scene(number)
        moments = np.linspace(0, scene.frames - 1, columns).round().astype(int)
        frames = list(pictures(scene, noise))
        cells = [_outlined(frames[k], scene, k) if number % 2 else frames[k] for k in moments]
        height = round(width * scene.size_hw[0] / scene.size_hw[1])
        small = [cv2.resize(cell, (width, height), interpolation=cv2.INTER_AREA) for cell in cells]
        rows.append(np.hstack([np.pad(cell, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for cell in small]))
    return np.asarray(np.vstack(rows)[:-_GAP, :-_GAP], np.uint8)


def _outlined(image: NDArray[np.uint8], scene: Scene, frame: int) -> NDArray[np.uint8]:
    """A darker copy with a line around the visible part of every object, its colour the object's row."""
    canvas = np.ascontiguousarray(image // 2)
    for mask, colour in zip(silhouettes(scene, frame).visible, _LINE_COLOURS, strict=False):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, colour, 2)
    return canvas


def main() -> None:
    """Draw the first videos of a split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("split", choices=list(SPLITS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--difficulty", type=float, default=None)
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"output exists: `{options.out}`")
    recipe = Recipe.of(options.split, videos=options.videos, seed=options.seed, difficulty=options.difficulty)
    sheet = contact_sheet(recipe) & _KEPT_BITS
    _, png = cv2.imencode(".png", sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    options.out.write_bytes(png.tobytes())


if __name__ == "__main__":
    main()
