"""What a converted checkpoint says of itself: the facts that its file does not carry, from whoever knows them best."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import WeightsError
from ..types import Category
from .categories import CATEGORY_LISTS, category_list, plain_name

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .foreign import Foreign
    from .registry import Entry

_BY_COUNT = {80: "coco", 25: "ovis"}  # numbers of classes that one data set alone has
_OF_VIDEOS = (25, 40)  # numbers of classes that data sets of videos have
_NO_NAME = re.compile(r"LABEL_\d+")  # what transformers writes where nobody has named the classes


def adopt(converted: Checkpoint, foreign: Foreign, entry: Entry | None, origin: str) -> Checkpoint:
    """`converted` with its classes, training, licence and `origin`, as far as anybody tells.

    `entry` is believed first, then the config of `foreign`, then the number of classes; what nobody tells stays.
    WeightsError when the entry has another number of classes than the file.
    """
    if entry is not None:
        facts = replace(
            converted.info,
            trained_on=entry.trained_on,
            training_data=_training_data(entry) or converted.info.training_data,
            licence=entry.licence,
            ap=dict(entry.measured_ap),
            notes=_notes(entry),
            parent=origin,
        )
        known = replace(converted, info=facts)
        return name_classes(known, entry.category_rows, said_by="weights.toml") if entry.categories else known
    count = len(converted.info.categories)
    facts = replace(
        converted.info,
        categories=_by_config(foreign.config, count) or _by_count(count) or converted.info.categories,
        trained_on=_trained_on(foreign.config, count),
        parent=origin,
    )
    return replace(converted, info=facts)


def name_classes(checkpoint: Checkpoint, categories: tuple[Category, ...], *, said_by: str) -> Checkpoint:
    """With these classes in the place of its own; WeightsError when there are not as many."""
    count = len(checkpoint.info.categories)
    if len(categories) != count:
        raise WeightsError(
            f"weights do not fit their classes: {count} in the file, {len(categories)} in {said_by}",
            hint="`vistool weights convert --categories` takes the right ones",
        )
    return replace(checkpoint, info=replace(checkpoint.info, categories=categories))


def _by_config(config: Mapping[str, Any], count: int) -> tuple[Category, ...]:
    """From `id2label` of transformers, when it names every class; a data set with the same names gives its ids."""
    named = config.get("id2label")
    if not isinstance(named, dict) or named.keys() != {str(label) for label in range(count)}:
        return ()
    names = [str(named[str(label)]) for label in range(count)]
    if all(map(_NO_NAME.fullmatch, names)):
        return ()
    plain = [plain_name(name) for name in names]
    for each in map(category_list, CATEGORY_LISTS):
        if plain == [plain_name(category.name) for category in each]:
            return each
    return tuple(Category(number, name) for number, name in enumerate(names, start=1))


def _by_count(count: int) -> tuple[Category, ...]:
    return category_list(_BY_COUNT[count]) if count in _BY_COUNT else ()


def _trained_on(config: Mapping[str, Any], count: int) -> Literal["images", "videos"]:
    of_videos = any("video" in str(name).lower() for name in config.get("architectures") or ())
    return "videos" if of_videos or count in _OF_VIDEOS else "images"


def _training_data(entry: Entry) -> str:
    return f"{entry.categories} ({entry.trained_on})" if isinstance(entry.categories, str) else ""


def _notes(entry: Entry) -> str:
    """Those of the entry, and what its authors measured: `ap` is for what we have."""
    published = ", ".join(f"{name} {ap:.3f}" for name, ap in entry.published_ap.items())
    return ". ".join(
        part.rstrip(".") for part in (entry.notes, f"AP by its authors: {published}" * bool(published)) if part
    )
