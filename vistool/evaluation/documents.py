"""Annotations and predictions that are in memory, as a JSON reader gives them, → what there is to count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from .layout import CategoryRecord, VideoRecord, decoded
from .records import ground_truth, predictions
from .scoring import Options, Scores, score
from .tubes import Notes

Json = Mapping[str, Any]

AP_ALONE = Options(metrics=("ap",))


class _Truth(Struct):
    videos: list[VideoRecord]
    categories: list[CategoryRecord]
    annotations: list[Any] | None = None


def score_documents(
    annotated: Json, found: Sequence[Json], options: Options = AP_ALONE
) -> tuple[Scores, tuple[str, ...]]:
    """A YTVIS annotation document and a result list → the counts, and what was odd about them.

    InputError names an entry that is wrong.
    """
    notes = Notes()
    document = decoded(lambda entry: msgspec.convert(entry, _Truth), annotated, "ground truth")
    truth = ground_truth(document.videos, document.categories, document.annotations or [], notes)
    scores = score(truth, list(predictions(found, truth, notes)), options, notes)
    return scores, notes.lines()
