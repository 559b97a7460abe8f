"""What `vistool eval` says, as JSON values: the fields are a contract, see docs/evaluation.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .ap_numbers import FIGURES, OCCLUSION_FIGURES, UNDEFINED
from .attributes import describe
from .intervals import Intervals
from .scoring import Figures, Options, Scores

IDENTITY_FIGURES = ("IDF1", "IDP", "IDR", "MOTA", "IDs", "FP", "FN", "GT")
HOTA_FIGURES = ("HOTA", "DetA", "AssA", "LocA")
COUNTED = ("IDs", "FP", "FN", "GT")
SHOWN = {"identity": IDENTITY_FIGURES, "hota": HOTA_FIGURES}


def report(scores: Scores, options: Options) -> dict[str, Any]:
    """Numbers of the metrics asked for, fractions, -1 where undefined."""
    figures = shown(scores.figures())
    said: dict[str, Any] = {}
    if "ap" in options.metrics and scores.ap:
        said["ap"] = figures["ap"]
        said["ap_per_category"] = {name: values["AP"] for name, values in scores.ap.per_category().items()}
    said |= {metric: figures[metric] for metric in ("identity", "hota") if metric in figures}
    if scores.attributes is not None and scores.ap:
        said["attributes"] = {
            name: {"videos": int(chosen.sum()), "AP": scores.ap.figures(chosen.astype(float))["AP"]}
            for name, chosen in scores.attributes.items()
        }
        said["attribute_rules"] = list(describe())
    if scores.errors:
        said["errors"] = scores.errors.to_json()
    said["counts"] = {
        "videos": len(scores.videos),
        "gt_tracks": int(scores.gt_tracks.sum()),
        "pred_tracks": int(scores.pred_tracks.sum()),
    }
    said["settings"] = {
        "score_min": options.score_min,
        "class_agnostic": options.class_agnostic,
        "identity_on": options.identity_on,
    }
    return said


def shown(figures: Figures) -> Figures:
    """Without the numbers that only specialists ask for."""
    return {
        metric: {name: value for name, value in values.items() if name in SHOWN.get(metric, values)}
        for metric, values in figures.items()
    }


def shown_differences(found: Figures) -> dict[str, dict[str, float | None]]:
    """Null where one of the two does not define the number."""
    return {
        metric: {name: None if math.isnan(value) else value for name, value in values.items()}
        for metric, values in shown(found).items()
    }


def shown_intervals(found: Intervals) -> dict[str, dict[str, list[float]]]:
    return {
        metric: {name: list(ends) for name, ends in values.items() if name in SHOWN.get(metric, values)}
        for metric, values in found.items()
    }


def shares(metrics: Sequence[str]) -> tuple[str, ...]:
    """The names of the numbers that a bound can be put on: fractions of the metrics asked for."""
    names = {"ap": FIGURES + OCCLUSION_FIGURES, "identity": IDENTITY_FIGURES, "hota": HOTA_FIGURES}
    return tuple(name for metric in metrics for name in names.get(metric, ()) if name not in COUNTED)


def share_named(said: Mapping[str, Any], name: str) -> float:
    """A number of a report by its name alone, such as AP or IDF1; -1 where the report has none."""
    return next((float(said[m][name]) for m in ("ap", "identity", "hota") if name in said.get(m, {})), UNDEFINED)
