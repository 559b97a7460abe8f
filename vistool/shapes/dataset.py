"""The splits: their seeds and settings, their annotations in YTVIS layout, and writing them to a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from .. import masks
from ..errors import InputError, OutputExistsError, UsageError, VistoolError
from .drawing import Silhouettes, pictures, silhouettes
from .outlines import CLASSES
from .scene import Scene, Setting, compose

DATA_VERSION = 2
"""Grows whenever a mask or a pixel of any split changes."""

FRAME_RATE = Fraction(12)
DIFFICULTY = 0.5
ANNOTATIONS = "annotations.json"
VIDEOS = "videos"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Split:
    """One named set of videos."""

    stream: int  # keeps the seeds of the splits apart
    videos: int  # by default
    setting: Setting  # at the default difficulty


_PLAIN = Setting(
    size_hw=(192, 320), frames=24, objects=(2, 7), linger=0.16, hiding=1.0, repeat_class=0.3, difficulty=DIFFICULTY
)  # fmt: skip

SPLITS: Mapping[str, Split] = {
    "shapes-train": Split(stream=1, videos=200, setting=_PLAIN),
    "shapes-val": Split(stream=2, videos=60, setting=_PLAIN),
    "shapes-occluded": Split(
        stream=3,
        videos=30,
        setting=replace(_PLAIN, frames=36, linger=0.35, hiding=4.0, objects=(3, 7), repeat_class=0.75),
    ),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a data set holds."""

    split: str  # a name of SPLITS
    videos: int
    seed: int
    difficulty: float  # in [0, 1]

    @classmethod
    def of(
        cls, split: str, *, videos: int | None = None, seed: int | None = None, difficulty: float | None = None
    ) -> Recipe:
        """A split, with what differs from it; UsageError for values that make no sense."""
        if split not in SPLITS:
            raise UsageError(f"unknown split: `{split}`", hint=f"choose one of {', '.join(SPLITS)}")
        recipe = cls(
            split,
            SPLITS[split].videos if videos is None else videos,
            0 if seed is None else seed,
            DIFFICULTY if difficulty is None else difficulty,
        )
        if recipe.videos < 1:
            raise UsageError(f"too few videos: `{recipe.videos}` (at least 1)")
        if recipe.seed < 0:
            raise UsageError(f"seed below 0: `{recipe.seed}`")
        if not 0 <= recipe.difficulty <= 1:
            raise UsageError(f"difficulty out of range: `{recipe.difficulty}` (between 0 and 1)")
        return recipe

    def scene(self, number: int) -> tuple[Scene, Generator]:
        """Video `number` (from 0), and the generator of its sensor noise; the same whatever the number of videos."""
        split = SPLITS[self.split]
        seeds = SeedSequence([split.stream, self.seed, number]).spawn(2)
        content, noise = (default_rng(seed) for seed in seeds)
        return compose(content, replace(split.setting, difficulty=self.difficulty)), noise

    def description(self) -> str:
        """One line for a checkpoint trained on it."""
        return f"{self.split} v{DATA_VERSION}, {self.videos} videos, seed {self.seed}, difficulty {self.difficulty:g}"


def make_split(
    split: str,
    out: Path,
    *,
    videos: int | None = None,
    seed: int | None = None,
    difficulty: float | None = None,
    overwrite: bool = False,
    on_video: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a split to the folder `out` and return the path of its annotations.

    The folder takes its name when it is complete. `on_video` is told the number of videos written and to write.
    """
    recipe = Recipe.of(split, videos=videos, seed=seed, difficulty=difficulty)
    _check_target(out, overwrite=overwrite)
    partial = out.with_name(f"{out.name}.partial")
    try:
        _discard(partial)
        (partial / VIDEOS).mkdir(parents=True)
        document = _document(recipe)
        for number in range(recipe.videos):
            scene, noise = recipe.scene(number)
            add_video(document, scene)
            _encode(scene, noise, partial / VIDEOS / document["videos"][-1]["file_name"])
            if on_video is not None:
                on_video(number + 1, recipe.videos)
        (partial / ANNOTATIONS).write_text(json.dumps(document, separators=(",", ":")))
        _discard(out)
        partial.replace(out)
    except OSError as error:
        raise VistoolError(
            f"cannot write: `{out}` ({error.strerror or error})", hint="check the space and the permissions there"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out / ANNOTATIONS


def annotate(recipe: Recipe) -> Json:
    """The annotations of a data set without its pictures; the same that `make_split` writes."""
    document = _document(recipe)
    for number in range(recipe.videos):
        add_video(document, recipe.scene(number)[0])
    return document


def add_video(document: Json, scene: Scene) -> None:
    """Append one video and the objects that are ever visible on it."""
    number = len(document["videos"]) + 1
    height, width = scene.size_hw
    document["videos"].append(
        {
            "id": number,
            "file_name": f"{number:05d}.mp4",
            "width": width,
            "height": height,
            "length": scene.frames,
            "fps": float(FRAME_RATE),
        }
    )
    shots = [silhouettes(scene, frame) for frame in range(scene.frames)]
    for row, thing in enumerate(scene.objects):
        assert thing.label is not None
        if any(shot.visible[row].any() for shot in shots):
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "video_id": number,
                    "category_id": thing.label + 1,
                    "iscrowd": 0,
                    "width": width,
                    "height": height,
                    "length": scene.frames,
                    **_track(row, shots),
                }
            )


def _document(recipe: Recipe) -> Json:
    return {
        "info": {
            "description": recipe.description(),
            "split": recipe.split,
            "videos": recipe.videos,
            "seed": recipe.seed,
            "difficulty": recipe.difficulty,
            "version": DATA_VERSION,
        },
        "videos": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        "annotations": [],
    }


def _track(row: int, shots: list[Silhouettes]) -> Json:
    """What an annotation says a frame: visible mask, box and area, full mask, and the share of that which is hidden."""
    visible = masks.encode_stack(np.stack([shot.visible[row] for shot in shots]))
    full = masks.encode_stack(np.stack([shot.full[row] for shot in shots]))
    boxes = [masks.box_xywh(rle) for rle in visible]
    areas = [masks.area(rle) for rle in visible]
    full_areas = [masks.area(rle) for rle in full]
    return {
        "segmentations": [masks.to_json(rle) if area else None for rle, area in zip(visible, areas, strict=True)],
        "bboxes": [list(box) if box else None for box in boxes],
        "areas": [area or None for area in areas],
        "full_segmentations": [
            masks.to_json(rle) if area else None for rle, area in zip(full, full_areas, strict=True)
        ],
        "occlusions": [
            round(1 - area / whole, 4) if whole else None for area, whole in zip(areas, full_areas, strict=True)
        ],
    }


def _encode(scene: Scene, noise: Generator, path: Path) -> None:
    from ..video.writing import VideoWriter

    # The slower presets of x264 share bits out by a tree that now and then differs between two runs; this one does not.
    writer = VideoWriter(path, scene.size_hw, frame_rate=FRAME_RATE, preset="superfast", threads=1)
    try:
        for index, image in enumerate(pictures(scene, noise)):
            writer.write(image, float(index / FRAME_RATE))
        writer.finish()
    finally:
        writer.close()


def _check_target(out: Path, *, overwrite: bool) -> None:
    """Refuse what is in the way; `overwrite` lets a data set replace a data set or an empty folder, nothing else."""
    if out.exists():
        if not out.is_dir():
            raise OutputExistsError(f"output exists: `{out}` (it is a file)", hint="choose another name")
        strangers = {entry.name for entry in out.iterdir()} - {ANNOTATIONS, VIDEOS}
        if strangers:
            raise OutputExistsError(
                f"output folder holds something else: `{out}` (`{min(strangers)}`)", hint="choose another folder"
            )
        if not overwrite and any(out.iterdir()):
            raise OutputExistsError(f"output exists: `{out}`", hint="add --overwrite, or choose another name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"cannot write to the folder: `{out.parent}` (no such folder)", hint="create it first")


def _discard(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
