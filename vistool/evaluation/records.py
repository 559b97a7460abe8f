"""Entries of YTVIS and OVIS files → tubes, and what is wrong with the entries.

They are decoded in batches and become run lengths at once, so that what is held grows with the masks and not with the
text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from .. import masks
from ..errors import InputError
from ..types import Rle
from .layout import AnnotationRecord, CategoryRecord, MaskRecord, PredictionRecord, Slot, VideoRecord, decoded, decoder
from .measured import MAX_PIXELS, BadMaskError, Measured, measure
from .tubes import GroundTruth, Notes, Tube, Video, mean_area

OCCLUSION_LEVELS = {"no_occlusion": 0.0, "slight_occlusion": 0.25, "severe_occlusion": 0.75}  # of OVIS, a frame
_BATCH_BYTES = 2**20  # of text whose masks are measured together


def ground_truth(
    videos: Sequence[VideoRecord], categories: Sequence[CategoryRecord], annotations: Sequence[Any], notes: Notes
) -> GroundTruth:
    """The annotated tracks; InputError names the entry that is wrong."""
    _refuse_twice("video", (video.id for video in videos))
    _refuse_twice("category", (category.id for category in categories))
    by_id = {video.id: _video(video) for video in sorted(videos, key=lambda video: video.id)}
    names = {c.id: str(c.id) if c.name is None else c.name for c in sorted(categories, key=lambda c: c.id)}
    tubes: list[Tube] = []
    decode = decoder(AnnotationRecord, annotations)
    for batch in _batches(annotations):
        records = [decoded(decode, entry, _annotation_place(entry, number)) for number, entry in batch]
        for record in records:
            if record.video_id not in by_id:
                raise InputError(
                    f"annotation `{record.id}` is of a video that is not listed: `{record.video_id}`",
                    hint="add it to `videos`, or leave the annotation out",
                )
        places = [f"annotation `{record.id}`" for record in records]
        sizes = [by_id[record.video_id].size_hw for record in records]
        tubes += [
            _annotated(record, parts, sizes[row], notes)
            for row, (record, parts) in enumerate(zip(records, _measured(records, sizes, places), strict=True))
        ]
    _refuse_twice("annotation", (tube.id for tube in tubes))
    # The benchmark stores the id of what a prediction found, and reads 0 as nothing.
    notes.add("annotations with id 0, which the benchmark never counts as found", sum(tube.id == 0 for tube in tubes))
    return GroundTruth(by_id, names, tuple(tubes))


def predictions(
    entries: Sequence[Any],
    truth: GroundTruth,
    notes: Notes,
    *,
    first: int = 1,
    origin: str = "",
    videos: Callable[[int], int | None] = lambda key: key,
    categories: Mapping[int, int | None] | None = None,
) -> Iterator[Tube]:
    """The predicted tracks in their order, numbered from `first`; `origin` begins the place that errors name.

    `videos` and `categories` lead from the ids of the entries to those of the ground truth. Tracks of categories that
    the ground truth lacks are left out, and counted; a video that it lacks is an InputError, as is a bad entry.
    """
    decode = decoder(PredictionRecord, entries)
    for batch in _batches(entries):
        kept: list[tuple[int, int, int, PredictionRecord]] = []
        for number, entry in batch:
            place = f"{origin}prediction {number}"
            record = decoded(decode, entry, place)
            video_id = videos(record.video_id)
            if video_id is None or video_id not in truth.videos:
                raise InputError(
                    f"{place} is of a video that the ground truth does not have: `{record.video_id}`",
                    hint="evaluate against the annotations of these videos",
                )
            if math.isnan(record.score):
                raise InputError(f"{place}: score is not a number: `{record.score}`")
            category_id = record.category_id if categories is None else categories.get(record.category_id)
            if category_id is None or category_id not in truth.category_names:
                notes.add("predictions of categories that the ground truth does not list, left out")
                continue
            kept.append((number, video_id, category_id, record))
        sizes = [truth.videos[video_id].size_hw for _, video_id, _, _ in kept]
        places = [f"{origin}prediction {number}" for number, *_ in kept]
        measured = _measured([record for *_, record in kept], sizes, places)
        for (number, video_id, category_id, record), parts in zip(kept, measured, strict=True):
            rles, areas = parts
            id = first + number - 1
            yield Tube(id, video_id, category_id, rles, areas, mean_area(areas.tolist()), record.score)


_Parts = tuple[tuple[Rle | None, ...], NDArray[np.int64]]
"""Of one track: masks (T), areas (T,)."""


def _measured(
    records: Sequence[AnnotationRecord | PredictionRecord],
    sizes_hw: Sequence[tuple[int, int]],
    places: Sequence[str],
) -> Iterator[_Parts]:
    """The masks of several tracks; a polygon has the size of its video, a run-length mask its own."""
    slots = [slot for record in records for slot in record.segmentations]
    lengths = [len(record.segmentations) for record in records]
    owners = [row for row, length in enumerate(lengths) for _ in range(length)]
    frames = [t for length in lengths for t in range(length)]
    measured = _measure(
        slots, [sizes_hw[row] for row in owners], frames, lambda n: f"{places[owners[n]]}, frame {frames[n]}"
    )
    seen = iter(measured.rles)
    rles = [next(seen) if slot else None for slot in slots]
    areas = np.zeros(len(slots), np.int64)
    areas[[bool(slot) for slot in slots]] = measured.areas
    end = 0
    for length in lengths:
        begin, end = end, end + length
        yield tuple(rles[begin:end]), areas[begin:end]


def _measure(
    slots: Sequence[Slot], sizes_hw: Sequence[tuple[int, int]], frames: Sequence[int], place: Callable[[int], str]
) -> Measured:
    """Of the slots that hold something; InputError says by `place` which is wrong."""
    held = [number for number, slot in enumerate(slots) if slot]
    sizes: list[tuple[int, int]] = []
    counts: list[bytes | list[int]] = []
    for number in held:
        slot = slots[number]
        if isinstance(slot, MaskRecord):
            sizes.append(slot.size)
            counts.append(slot.counts.encode("utf-8", "replace") if isinstance(slot.counts, str) else slot.counts)
        else:
            try:
                counts.append(masks.from_polygons(slot or [], sizes_hw[number]).counts)
            except ValueError as error:
                raise InputError(f"{place(number)}: bad mask ({error})") from error
            sizes.append(sizes_hw[number])
    impossible = {size for size in set(sizes) if min(size) < 0 or size[0] * size[1] > MAX_PIXELS}
    if impossible:
        row = next(row for row, size in enumerate(sizes) if size in impossible)
        raise InputError(f"{place(held[row])}: bad mask (`size` is negative or too large: {list(sizes[row])})")
    try:
        return measure(sizes, counts, [frames[number] for number in held])
    except BadMaskError as error:
        raise InputError(f"{place(held[error.number])}: bad mask ({error})") from error


def _annotated(record: AnnotationRecord, parts: _Parts, size_hw: tuple[int, int], notes: Notes) -> Tube:
    rles, areas = parts
    given = record.areas
    if given is UNSET or given is None:
        notes.add("annotations without `areas`, taken from the masks")
        given = areas.tolist()
    if record.iscrowd is UNSET:
        notes.add("annotations without `iscrowd`, taken as 0")
    crowd = record.iscrowd is not UNSET and bool(record.iscrowd)
    return Tube(
        record.id,
        record.video_id,
        record.category_id,
        rles,
        areas,
        mean_area(given),
        crowd=crowd,
        hidden=_hidden(record, areas, size_hw),
        occlusion=_occlusion(record),
    )


def _hidden(record: AnnotationRecord, areas: NDArray[np.int64], size_hw: tuple[int, int]) -> NDArray[np.float64] | None:
    """Share of the whole object that is covered, a frame; NaN where the file does not say."""
    if record.occlusions is not None:
        return np.array([math.nan if share is None else share for share in record.occlusions], np.float64)
    if record.full_segmentations is None:
        return None
    slots = record.full_segmentations
    place = f"annotation `{record.id}`, full_segmentations"
    whole = _measure(slots, [size_hw] * len(slots), range(len(slots)), lambda t: f"{place}, frame {t}")
    full = np.zeros(len(slots))
    full[[bool(slot) for slot in slots]] = whole.areas
    seen = np.resize(areas, len(full)) if len(areas) else np.zeros(len(full))
    return np.where(full > 0, 1 - seen / np.where(full > 0, full, 1), math.nan)


def _occlusion(record: AnnotationRecord) -> float | None:
    """OVIS: mean of the higher half of the levels of the labelled frames; 0 where none is labelled."""
    if record.occlusion is None:
        return None
    unknown = [level for level in record.occlusion if level is not None and level not in OCCLUSION_LEVELS]
    if unknown:
        raise InputError(
            f"annotation `{record.id}`: unknown occlusion level: `{unknown[0]}`", hint=f"one of {[*OCCLUSION_LEVELS]}"
        )
    levels = sorted((OCCLUSION_LEVELS[level] for level in record.occlusion if level is not None), reverse=True)
    highest = levels[: math.ceil(len(levels) / 2)]
    return sum(highest) / len(highest) if highest else 0.0


def _video(record: VideoRecord) -> Video:
    if min(record.height, record.width) <= 0 or record.height * record.width > MAX_PIXELS:
        raise InputError(f"video `{record.id}` has no possible size: `{record.width}x{record.height}`")
    return Video(record.id, (record.height, record.width), record.length, video_names(record))


def video_names(record: VideoRecord) -> tuple[str, ...]:
    """What a result may be called after: the stem of the video's file, or the folder or file of its first image."""
    if record.file_name:
        return (_stem(record.file_name.replace("\\", "/")),)
    for name in record.file_names or ():
        parts = name.replace("\\", "/").split("/")
        return tuple(dict.fromkeys((parts[-2], parts[0]))) if len(parts) > 1 else (_stem(name),)
    return ()


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _annotation_place(entry: Any, number: int) -> str:
    """An annotation is named by its id where it has one."""
    key = entry.get("id") if isinstance(entry, Mapping) else None
    return f"annotation {number}" if key is None else f"annotation `{key}`"


def _batches(entries: Sequence[Any]) -> Iterator[list[tuple[int, Any]]]:
    """Entries with their number, from 1."""
    batch: list[tuple[int, Any]] = []
    size = 0
    for number, entry in enumerate(entries, start=1):
        batch.append((number, entry))
        size += memoryview(entry).nbytes if isinstance(entry, msgspec.Raw) else _BATCH_BYTES // 8
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _refuse_twice(what: str, ids: Iterable[int]) -> None:
    if repeated := [key for key, times in Counter(ids).items() if times > 1]:
        raise InputError(f"{what} ids must be unique, used twice: `{repeated[0]}`")
