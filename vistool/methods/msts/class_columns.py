"""Which column of the class heads speaks of which class.

The released heads have a column for every number that a data set gives its classes, and for some that it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...weights.categories import category_list
from .presets import ClassColumns, Preset

WITH_IDS: Mapping[ClassColumns, tuple[int, str]] = MappingProxyType(
    {"ytvis-ids": (42, "ytvis2019"), "coco-ids": (91, "coco")}
)
"""Columns there are, and a data set whose numbers they are; those of YouTube-VIS 2021 are the same."""


def outputs(preset: Preset) -> int:
    """Columns of the class heads."""
    return preset.num_classes if preset.class_columns == "classes" else WITH_IDS[preset.class_columns][0]


def columns(preset: Preset) -> list[int]:
    """The column of every class."""
    if preset.class_columns == "classes":
        return list(range(preset.num_classes))
    return [category.id for category in category_list(WITH_IDS[preset.class_columns][1])]
