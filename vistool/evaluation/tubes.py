"""Annotated and predicted tracks in the YTVIS layout, and how much they overlap.

A tube is one track of one video: a mask or nothing on each frame. What a file leaves out is filled in here, and said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..errors import InputError
from ..types import Rle

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tube:
    """One track of one video, annotated or predicted."""

    id: int  # of the annotation; position in the file, from 1, of a prediction
    video_id: int
    category_id: int
    masks: tuple[Rle | None, ...]  # one a frame
    mean_area: float  # pixels, over the frames where it is above 0
    score: float = 1.0
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """All annotated tracks of a data set; ids ascend."""

    video_ids: tuple[int, ...]
    sizes_hw: Mapping[int, tuple[int, int]]  # by video id
    category_names: Mapping[int, str]  # by category id
    tubes: tuple[Tube, ...]


@dataclass(slots=True)
class Notes:
    """What was odd about the input, counted, so that one kind is one line."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, times: int = 1) -> None:
        if times:
            self.counts[what] += times

    def lines(self) -> tuple[str, ...]:
        return tuple(f"{what}: {times}" for what, times in self.counts.items())


def read_ground_truth(document: Json, notes: Notes) -> GroundTruth:
    """The tracks of a YTVIS annotation document; InputError names the entry that is wrong."""
    videos = {_of(video, "id", "video"): video for video in _of(document, "videos", "ground truth")}
    sizes_hw = {key: (int(_of(v, "height", "video")), int(_of(v, "width", "video"))) for key, v in videos.items()}
    categories = {_of(c, "id", "category"): c for c in _of(document, "categories", "ground truth")}
    names = {key: str(categories[key].get("name", key)) for key in sorted(categories)}
    tubes = tuple(_annotation(entry, sizes_hw, notes) for entry in document.get("annotations") or ())
    if repeated := [key for key, times in Counter(tube.id for tube in tubes).items() if times > 1]:
        raise InputError(f"annotation ids must be unique, used twice: `{repeated[0]}`")
    notes.add("annotations with id 0, which the benchmark never counts as found", sum(tube.id == 0 for tube in tubes))
    return GroundTruth(tuple(sorted(sizes_hw)), sizes_hw, names, tubes)


def read_predictions(entries: Sequence[Json], truth: GroundTruth, notes: Notes) -> tuple[Tube, ...]:
    """The tracks of a YTVIS result list, in its order; categories that the ground truth lacks are left out."""
    tubes = []
    for number, entry in enumerate(entries, start=1):
        place = f"prediction {number}"
        video_id, category_id = _of(entry, "video_id", place), _of(entry, "category_id", place)
        if video_id not in truth.sizes_hw:
            raise InputError(f"{place} is of a video that the ground truth does not have: `{video_id}`")
        score = _of(entry, "score", place)
        if not isinstance(score, int | float) or math.isnan(score):
            raise InputError(f"{place}: score is not a number: `{score}`")
        if category_id not in truth.category_names:
            notes.add("predictions of categories that the ground truth does not list, left out")
            continue
        rles = _masks(entry, truth.sizes_hw[video_id], place)
        mean_area = _mean_area(masks.area(rle) for rle in rles if rle)
        tubes.append(Tube(number, video_id, category_id, rles, mean_area, float(score)))
    return tuple(tubes)


def iou_matrix(found: Sequence[Tube], annotated: Sequence[Tube], notes: Notes) -> NDArray[np.float64]:
    """Shared pixels over joint pixels of whole tubes, (F, A).

    As in the benchmark, frames beyond the end of the shorter of the two count nothing, nor do frames where both have a
    mask and the sizes differ.
    """
    length = max((len(tube.masks) for tube in (*found, *annotated)), default=0)
    sizes: dict[tuple[int, int], int] = {}
    f_size, f_area = _sizes_and_areas(found, length, sizes)
    a_size, a_area = _sizes_and_areas(annotated, length, sizes)

    inside = (f_size != _BEYOND)[:, None] & (a_size != _BEYOND)  # (F, A, T)
    both = (f_size >= 0)[:, None] & (a_size >= 0)
    uneven = both & (f_size[:, None] != a_size)
    shared = np.zeros(inside.shape[:2], np.int64)
    for t in range(length):
        for size in np.intersect1d(f_size[:, t], a_size[:, t]):
            if size >= 0:
                rows, columns = np.flatnonzero(f_size[:, t] == size), np.flatnonzero(a_size[:, t] == size)
                overlap = masks.intersection_matrix(_on_frame(found, rows, t), _on_frame(annotated, columns, t))
                shared[np.ix_(rows, columns)] += overlap
    areas = np.where(inside & ~uneven, f_area[:, None] + a_area, 0).sum(axis=2)
    joint = areas - shared

    notes.add("frames where a predicted mask and an annotated one differ in size, not compared", int(uneven.sum()))
    uncovered = (f_size != _BEYOND)[:, None] ^ (a_size != _BEYOND)
    notes.add("predictions with more or fewer masks than the annotation", int(uncovered.any(axis=(1, 2)).sum()))
    return shared / np.where(joint > 0, joint, 1)


_ABSENT, _BEYOND = -1, -2  # no mask on this frame · the tube has no such frame


def _sizes_and_areas(
    tubes: Sequence[Tube], length: int, sizes: dict[tuple[int, int], int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the mask's size and its area on each frame, both (N, T); sizes not met before join `sizes`."""
    size = np.full((len(tubes), length), _BEYOND, np.int64)
    area = np.zeros((len(tubes), length), np.int64)
    for row, tube in enumerate(tubes):
        for t, rle in enumerate(tube.masks):
            size[row, t] = _ABSENT if rle is None else sizes.setdefault(rle.size_hw, len(sizes))
            area[row, t] = 0 if rle is None else masks.area(rle)
    return size, area


def _on_frame(tubes: Sequence[Tube], rows: NDArray[np.int64], t: int) -> list[Rle]:
    return [rle for row in rows if (rle := tubes[row].masks[t]) is not None]


def _annotation(entry: Json, sizes_hw: Mapping[int, tuple[int, int]], notes: Notes) -> Tube:
    place = f"annotation `{entry.get('id')}`"
    key, video_id, category_id = (_of(entry, name, place) for name in ("id", "video_id", "category_id"))
    if video_id not in sizes_hw:
        raise InputError(f"{place} is of a video that is not listed: `{video_id}`")
    rles = _masks(entry, sizes_hw[video_id], place)
    areas = entry.get("areas")
    if areas is None:
        notes.add("annotations without `areas`, taken from the masks")
        areas = [masks.area(rle) for rle in rles if rle]
    if "iscrowd" not in entry:
        notes.add("annotations without `iscrowd`, taken as 0")
    return Tube(key, video_id, category_id, rles, _mean_area(areas), crowd=bool(entry.get("iscrowd", 0)))


def _masks(entry: Json, size_hw: tuple[int, int], place: str) -> tuple[Rle | None, ...]:
    """One mask a frame; a polygon has the size of its video, a run-length mask its own."""
    rles: list[Rle | None] = []
    for t, obj in enumerate(_of(entry, "segmentations", place)):
        try:
            rles.append(masks.from_json(obj, size_hw if isinstance(obj, list) else None) if obj else None)
        except ValueError as error:
            raise InputError(f"{place}, frame {t}: bad mask ({error})") from error
    return tuple(rles)


def _mean_area(areas: Iterable[float | None]) -> float:
    visible = [area for area in areas if area]
    return float(np.mean(visible)) if visible else 0.0


def _of(entry: Json, key: str, place: str) -> Any:
    if key not in entry:
        raise InputError(f"{place} lacks `{key}`")
    return entry[key]
