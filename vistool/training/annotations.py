"""Annotations as training reads them: where the pictures are, and what is on them. COCO's images are short videos."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import Category

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object of a video, and where it is."""

    label: int  # row of the data set's `categories`
    segmentations: Sequence[Any]  # one a frame, as the file spells it; None or empty: not visible


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One video that can be trained on."""

    name: str
    size_hw: tuple[int, int]  # pixels
    length: int  # frames
    files: tuple[Path, ...]  # one video file, or one image a frame
    objects: tuple[AnnotatedObject, ...]  # at least one


@dataclass(frozen=True, slots=True)
class Annotations:
    """One annotation file."""

    categories: tuple[Category, ...]  # by id, ascending; the position is the label
    videos: tuple[AnnotatedVideo, ...]  # by id, ascending; those without an object are left out
    description: str  # what a checkpoint trained on it says


def read_annotations(path: Path) -> Annotations:
    """The annotated videos of a YTVIS file, over video files or images beside it; InputError says what is wrong.

    A COCO file is read too: every image is a video of one frame.
    """
    document = read_json(path)
    stills = "videos" not in document and "images" in document
    rows_of, owner, split = ("images", "image_id", _split(path)) if stills else ("videos", "video_id", None)
    try:
        categories = tuple(sorted((Category(int(c["id"]), str(c["name"])) for c in document["categories"]), key=_id))
        labels = {category.id: label for label, category in enumerate(categories)}
        objects = defaultdict(list)
        for entry in document["annotations"] or ():
            if not entry.get("iscrowd"):
                segmentations = (entry["segmentation"],) if stills else entry["segmentations"]
                objects[entry[owner]].append(AnnotatedObject(labels[entry["category_id"]], segmentations))
        rows = sorted((v for v in document[rows_of] if v["id"] in objects), key=lambda v: v["id"])
        videos = tuple(_video(video, objects[video["id"]], path.parent, split) for video in rows)
    except (KeyError, TypeError) as e:
        raise InputError(f"not a YTVIS or COCO annotation file: `{path}` ({_missing(e)})") from e
    if not videos:
        raise InputError(f"nothing to train on: `{path}` (no video has an annotated object)")
    described = (document.get("info") or {}).get("description")
    return Annotations(categories, videos, str(described or path.resolve().parent.name))


def read_json(path: Path) -> Json:
    """A JSON object; InputError when the file is missing or is something else."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as e:
        raise InputError(f"cannot read annotations: `{path}` ({e.strerror})") from e
    except ValueError as e:
        raise InputError(f"cannot read annotations: `{path}` (not JSON: {e})") from e
    if not isinstance(document, dict):
        raise InputError(f"not a YTVIS annotation file: `{path}` (expected a JSON object)")
    return document


def picture_files(video: Json, folder: Path, split: str | None = None) -> tuple[Path, ...]:
    """The file of a video, or its images: named from the annotation file's folder, or from `videos/` in it.

    With a split, such as COCO's `train2017`, also from the folder of that name in it or beside it.
    """
    names = [video["file_name"]] if "file_name" in video else list(video["file_names"])
    above = folder.resolve().parent
    beside = (folder / split, above / split, above / "images" / split) if split else ()
    for root in (folder, folder / "videos", folder / "JPEGImages", *beside):
        if (root / names[0]).exists():
            return tuple(root / name for name in names)
    raise InputError(
        f"pictures are missing: `{names[0]}` (looked in {folder} and its `videos` and `JPEGImages` folders)",
        hint="put the videos beside the annotations",
    )


def _video(video: Json, objects: Sequence[AnnotatedObject], folder: Path, split: str | None) -> AnnotatedVideo:
    files = picture_files(video, folder, split)
    length = int(video.get("length") or len(files))
    name = str(video.get("file_name") or video["id"])
    for count in (len(item.segmentations) for item in objects):
        if count != length:
            raise InputError(f"video `{name}` has {length} frames, one of its objects {count} segmentations")
    if len(files) not in (1, length):
        raise InputError(f"video `{name}` has {length} frames and {len(files)} images")
    return AnnotatedVideo(name, (int(video["height"]), int(video["width"])), length, files, tuple(objects))


def _split(path: Path) -> str:
    """`instances_train2017.json` → `train2017`, the folder that COCO keeps the images in."""
    return path.stem.rpartition("_")[2]


def _id(category: Category) -> int:
    return category.id


def _missing(error: KeyError | TypeError) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
