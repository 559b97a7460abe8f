"""Draws instances on a picture: tint, outline, box and label. Works inside each instance's box only."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..types import Category, FramePrediction, Rle
from .palette import BLACK, Colour, text_colour, track_colour
from .style import OverlayStyle

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

_FONT = cv2.FONT_HERSHEY_DUPLEX
_SMALLEST_LABELLED = 64  # pixels of the short side; below it a label would hide what it names
_SMALLEST_BOLD = 120  # pixels of the short side; below it lines are one pixel wide


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """What is drawn of one instance."""

    colour: Colour
    texts: tuple[str, ...]  # the label, fullest first
    box: Box
    mask: NDArray[np.uint8]  # (height, width) of the box, 0 or 1


class Painter:
    """Draws the instances of one video. Sizes of lines and letters follow the size of the picture."""

    def __init__(self, categories: tuple[Category, ...], size_hw: tuple[int, int], style: OverlayStyle) -> None:
        self._categories = categories
        self._size_hw = size_hw
        self._style = style
        short = min(size_hw)
        self._line = max(2, round(short / 360)) if short >= _SMALLEST_BOLD else 1  # pixels
        self._letter_height = max(9, round(short / 54))
        self._padding = max(2, self._letter_height // 3)
        unit_height = cv2.getTextSize("0", _FONT, 1.0, 1)[0][1]
        self._font_scale = self._letter_height / unit_height

    def draw(self, image: Image, prediction: FramePrediction) -> Image:
        """image uint8 (H, W, 3) RGB → a new picture with the instances on it, small ones over large ones."""
        canvas = image.copy()
        instances = sorted(self._instances(prediction), key=lambda instance: -int(instance.mask.sum()))
        if self._style.kind == "fill":
            for instance in instances:
                self._tint(canvas, instance)
        for instance in instances:
            if self._style.kind == "box":
                self._outline_box(canvas, instance)
            else:
                self._outline_mask(canvas, instance)
        if min(self._size_hw) >= _SMALLEST_LABELLED:
            taken: list[Box] = []
            for instance in instances:
                self._label(canvas, instance, taken)
        return canvas

    def _instances(self, prediction: FramePrediction) -> list[Instance]:
        instances = []
        for row, rle in enumerate(prediction.masks):
            track_id, label = int(prediction.track_ids[row]), int(prediction.labels[row])
            if self._style.ids is not None and track_id not in self._style.ids:
                continue
            if (box := masks.box_xywh(rle)) is None:
                continue
            texts: tuple[str, ...] = (str(track_id),)
            if self._style.kind != "id":
                name = f"{self._categories[label].name} #{track_id}"
                texts = (f"{name}  {prediction.scores[row]:.2f}", name, *texts)
            instances.append(Instance(track_colour(track_id), texts, box, decode_box(rle, box)))
        return instances

    def _tint(self, canvas: Image, instance: Instance) -> None:
        x, y, width, height = instance.box
        region = canvas[y : y + height, x : x + width]
        levels = np.arange(256)[:, None] * (1 - self._style.alpha) + np.array(instance.colour) * self._style.alpha
        tinted = cv2.LUT(region, levels.round().astype(np.uint8).reshape(1, 256, 3))
        cv2.copyTo(tinted, instance.mask, region)

    def _outline_mask(self, canvas: Image, instance: Instance) -> None:
        found, _ = cv2.findContours(instance.mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        for colour, thickness in ((BLACK, self._line + 2), (instance.colour, self._line)):
            cv2.drawContours(canvas, found, -1, colour, thickness, cv2.LINE_AA, offset=instance.box[:2])

    def _outline_box(self, canvas: Image, instance: Instance) -> None:
        x, y, width, height = instance.box
        for colour, thickness in ((BLACK, self._line + 2), (instance.colour, self._line)):
            cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), colour, thickness, cv2.LINE_AA)

    def _label(self, canvas: Image, instance: Instance, taken: list[Box]) -> None:
        """A filled tag where no other tag is; a shorter text rather than a hidden one."""
        text, tag = self._tag(instance, taken)
        x, y, width, height = tag
        taken.append(tag)
        cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), instance.colour, cv2.FILLED)
        baseline = (x + self._padding, y + self._padding + self._letter_height)
        colour = text_colour(instance.colour)
        cv2.putText(canvas, text, baseline, _FONT, self._font_scale, colour, 1, cv2.LINE_AA)

    def _tag(self, instance: Instance, taken: list[Box]) -> tuple[str, Box]:
        """Text and place of the tag: the fullest text that has a free place, else the shortest in its best place."""
        height = self._letter_height + 2 * self._padding
        widest = max(instance.box[2], self._size_hw[1] // 2)
        for text in instance.texts:
            width = cv2.getTextSize(text, _FONT, self._font_scale, 1)[0][0] + 2 * self._padding
            tags = [self._inside(corner, width, height) for corner in self._places(instance, width, height)]
            free = [tag for tag in tags if not any(_overlap(tag, other) for other in taken)]
            if width <= widest and free:
                return text, free[0]
        return text, tags[0]

    def _places(self, instance: Instance, width: int, height: int) -> list[tuple[int, int]]:
        """Corners for a tag, best first: above the box, or on the object for numbers alone."""
        x, y, box_width, box_height = instance.box
        around = [(x, y - height), (x, y), (x + box_width - width, y - height), (x, y + box_height)]
        if self._style.kind != "id":
            return around
        centre_x, centre_y = _innermost(instance.mask)
        return [(x + centre_x - width // 2, y + centre_y - height // 2), *around]

    def _inside(self, corner: tuple[int, int], width: int, height: int) -> Box:
        """The nearest box to the corner that is wholly in the picture."""
        x = min(max(corner[0], 0), self._size_hw[1] - width)
        y = min(max(corner[1], 0), self._size_hw[0] - height)
        return x, y, width, height


def decode_box(rle: Rle, box: Box) -> NDArray[np.uint8]:
    """The part of a mask inside a box, uint8 (height, width) of 0 and 1; only the runs of its columns are opened."""
    x, y, width, height = box
    picture_height = rle.size_hw[0]
    ends = np.cumsum(masks.to_counts(rle)).clip(x * picture_height, (x + width) * picture_height)
    values = np.arange(len(ends), dtype=np.uint8) & 1
    columns = np.repeat(values, np.diff(ends, prepend=x * picture_height)).reshape(width, picture_height)
    return np.ascontiguousarray(columns[:, y : y + height].T)


def _innermost(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """x, y of the pixel that is farthest from the mask's edge: always on the object, unlike its centre of mass."""
    distance = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(column) - 1, int(row) - 1


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
