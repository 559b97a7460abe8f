"""What is done to a clip before the network sees it. One draw a clip: every frame and every mask gets the same.

A clip that shows one picture several times becomes a pseudo-video instead: each frame gets a draw of its own.
Flip, scale, then crop or pad to the network's size, colour, normalisation. A draw is a pure function of its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..nn.targets import ClipTargets
from .dataset import Clip
from .options import ScaleDraw

Triple = tuple[float, float, float]

PIXEL_MEAN: Triple = (123.675, 116.28, 103.53)
"""RGB, of 0..255: of ImageNet, which the backbones know."""
PIXEL_STD: Triple = (58.395, 57.12, 57.375)

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Jitter:
    """What may be drawn; the fields are those of TrainOptions."""

    size_hw: tuple[int, int]
    scale: tuple[float, float]
    flip: float
    colour: float
    scale_draw: ScaleDraw = "log"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One draw: how a clip of one size becomes one of another."""

    flip: bool
    resized_hw: tuple[int, int]
    offset_yx: tuple[int, int]  # of the resized picture in the output; negative where it is cropped
    size_hw: tuple[int, int]  # of the output
    colours: NDArray[np.float32] | None = None  # (3, 4): RGB' = colours · (R, G, B, 1), of 0..255

    @classmethod
    def draw(cls, rng: np.random.Generator, source_hw: tuple[int, int], jitter: Jitter) -> View:
        """Scale is drawn evenly, or evenly in its logarithm; the place of the crop or of the padded picture evenly."""
        flip = bool(rng.random() < jitter.flip)
        if jitter.scale_draw == "log":
            factor = math.exp(rng.uniform(math.log(jitter.scale[0]), math.log(jitter.scale[1])))
        else:
            factor = rng.uniform(*jitter.scale)
        fit = min(jitter.size_hw[0] / source_hw[0], jitter.size_hw[1] / source_hw[1])
        height, width = (max(1, round(side * fit * factor)) for side in source_hw)
        slack = (jitter.size_hw[0] - height, jitter.size_hw[1] - width)
        y, x = (int(rng.integers(min(0, room), max(0, room) + 1)) for room in slack)
        colours = _colour_matrix(rng, jitter.colour) if jitter.colour else None
        return cls(flip, (height, width), (y, x), jitter.size_hw, colours)

    def pictures(self, images: NDArray[np.uint8], mean: Triple, std: Triple) -> NDArray[np.float32]:
        """images (T, H, W, 3) → float32 (T, h, w, 3), normalised; padding is 0, the mean colour."""
        out = np.zeros((len(images), *self.size_hw, 3), np.float32)
        inside, part = self._windows()
        # Colour and normalisation are one affine map of RGB, but that colours are clipped to 0..255 between the two.
        for image, target in zip(images, out, strict=True):
            pixels = self._resize(image)[part].astype(np.float32)
            if self.colours is not None:
                pixels = np.clip(cv2.transform(pixels, self.colours), 0, 255)
            target[inside] = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        return out

    def planes(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """masks (N, T, H, W) → (N, T, h, w): the pixels of which the mask covers at least half."""
        out = np.zeros((*masks.shape[:2], *self.size_hw), np.bool_)
        inside, part = self._windows()
        for n, t in np.argwhere(masks.any((2, 3))):
            out[n, t][inside] = self._resize(masks[n, t].view(np.uint8) * np.uint8(255))[part] > 127
        return out

    def _resize(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shrinks = self.resized_hw[0] < picture.shape[0]
        picture = np.ascontiguousarray(picture[:, ::-1]) if self.flip else picture
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, self.resized_hw[::-1], interpolation=how), np.uint8)

    def _windows(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The pixels of the output that have a picture, and where they lie in the resized picture."""
        inside, part = [], []
        for offset, length, size in zip(self.offset_yx, self.resized_hw, self.size_hw, strict=True):
            first, last = max(0, offset), min(size, offset + length)
            inside.append(slice(first, last))
            part.append(slice(first - offset, last - offset))
        return (inside[0], inside[1]), (part[0], part[1])


def augment(
    clip: Clip, seed: Sequence[int], jitter: Jitter, mean: Triple, std: Triple
) -> tuple[NDArray[np.float32], ClipTargets]:
    """A clip → float32 (T, h, w, 3), normalised, and what it shows.

    An object without a pixel left on any frame is dropped; there may be none left.
    """
    count, height, width = clip.images.shape[:3]
    parts = [slice(t, t + 1) for t in range(count)] if clip.repeats else [slice(count)]
    rng = np.random.default_rng(seed)
    views = [View.draw(rng, (height, width), jitter) for _ in parts]
    drawn = list(zip(views, parts, strict=True))
    pictures = np.concatenate([view.pictures(clip.images[part], mean, std) for view, part in drawn])
    planes = np.concatenate([view.planes(clip.masks[:, part]) for view, part in drawn], axis=1)
    kept = planes.any((1, 2, 3))
    times = None if clip.repeats or not clip.frames else torch.from_numpy(np.array(clip.frames))
    return pictures, ClipTargets(torch.from_numpy(clip.labels[kept]), torch.from_numpy(planes[kept]), times)


def _colour_matrix(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Brightness, contrast about the middle grey and saturation about the luma, each a factor of 1 ± strength."""
    brightness, contrast, saturation = rng.uniform(max(0.0, 1 - strength), 1 + strength, 3).astype(np.float32)
    mix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    offset = np.full((3, 1), (1 - contrast) * 127.5, np.float32)
    return np.hstack([brightness * contrast * mix, offset]).astype(np.float32)
