"""YouTube-VIS AP once more, from dense masks and plain loops: the rules in the order they are stated, and no speed."""

from __future__ import annotations

from typing import Any

import numpy as np

THRESHOLDS = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95]
RECALLS = [i * 0.01 for i in range(100)] + [1.0]
RANGES = {"all": (0, 1e10), "small": (0, 16384), "medium": (16384, 65536), "large": (65536, 1e10)}


def dense(obj: Any) -> Any:
    if not obj:
        return None
    height, width = obj["size"]
    pixels: list[int] = []
    for position, run in enumerate(obj["counts"]):
        pixels += [position % 2] * run
    return np.array(pixels).reshape(width, height).T


def tube_iou(d: list[Any], g: list[Any]) -> float:
    shared = joint = 0
    for one, other in zip(d, g, strict=False):
        if one is None and other is None:
            continue
        if one is None or other is None:
            joint += (one if other is None else other).sum()
        elif one.shape == other.shape:
            shared += (one & other).sum()
            joint += (one | other).sum()
    return float(shared / joint) if joint else 0.0


def mean_area(areas: list[Any]) -> float:
    visible = [area for area in areas if area]
    return sum(visible) / len(visible) if visible else 0.0


def slow_numbers(truth: dict[str, Any], predictions: list[dict[str, Any]]) -> dict[str, float]:
    gts = [
        {**a, "masks": [dense(m) for m in a["segmentations"]], "size": mean_area(a["areas"])}
        for a in truth["annotations"]
    ]
    dets = []
    for entry in predictions:
        shapes = [dense(m) for m in entry["segmentations"]]
        dets.append({**entry, "masks": shapes, "size": mean_area([m.sum() for m in shapes if m is not None])})
    curve: dict[tuple[Any, ...], list[float]] = {}
    reached: dict[tuple[Any, ...], float] = {}
    for category in truth["categories"]:
        for name, span in RANGES.items():
            for limit in (1, 10, 100):
                for threshold in THRESHOLDS:
                    key = (category["name"], name, limit, threshold)
                    result = one_setting(truth, gts, dets, category["id"], span, limit, threshold)
                    if result is not None:
                        curve[key], reached[key] = result

    def ap(area: str, thresholds: list[float] = THRESHOLDS, category: str | None = None) -> float:
        values = [
            p
            for (c, a, limit, t), ps in curve.items()
            if a == area and limit == 100 and t in thresholds and category in (None, c)
            for p in ps
        ]
        return sum(values) / len(values) if values else -1.0

    def ar(area: str, limit: int) -> float:
        values = [r for (_, a, m, _), r in reached.items() if a == area and m == limit]
        return sum(values) / len(values) if values else -1.0

    return {
        "AP": ap("all"),
        "AP50": ap("all", [0.5]),
        "AP75": ap("all", [0.75]),
        "APs": ap("small"),
        "APm": ap("medium"),
        "APl": ap("large"),
        "AR1": ar("all", 1),
        "AR10": ar("all", 10),
        "AR100": ar("all", 100),
        "ARs": ar("small", 100),
        "ARm": ar("medium", 100),
        "ARl": ar("large", 100),
        **{f"AP of {c['name']}": ap("all", category=c["name"]) for c in truth["categories"]},
    }


def one_setting(
    truth: dict[str, Any],
    gts: list[Any],
    dets: list[Any],
    category: int,
    span: tuple[float, float],
    limit: int,
    threshold: float,
) -> tuple[list[float], float] | None:
    """Precision at each recall point and the recall reached, None where nothing is annotated."""
    rows: list[tuple[float, bool, bool]] = []  # score, matched, ignored
    wanted = 0
    for video in sorted(v["id"] for v in truth["videos"]):
        here = [d for d in dets if d["video_id"] == video and d["category_id"] == category]
        here = sorted(here, key=lambda d: -d["score"])[:100]
        listed = [g for g in gts if g["video_id"] == video and g["category_id"] == category]
        regular = [g for g in listed if not g["iscrowd"] and span[0] <= g["size"] <= span[1]]
        ignored = [g for g in listed if g not in regular]
        wanted += len(regular)
        taken: list[int] = []
        video_rows = []
        for d in here:
            match, match_ignored = None, False
            for group, is_ignored in ((regular, False), (ignored, True)):
                best = threshold
                for g in group:
                    if match is not None and match_ignored != is_ignored:
                        break
                    if g["id"] in taken and not g["iscrowd"]:
                        continue
                    iou = tube_iou(d["masks"], g["masks"])
                    if iou >= best:
                        best, match, match_ignored = iou, g, is_ignored
            if match is not None:
                taken.append(match["id"])
            found = match is not None and match["id"] != 0
            outside = not found and not span[0] <= d["size"] <= span[1]
            video_rows.append((d["score"], found, match_ignored or outside))
        rows += video_rows[:limit]
    if wanted == 0:
        return None
    rows.sort(key=lambda row: -row[0])
    right = wrong = 0
    recalls, precisions = [], []
    for _, found, skip in rows:
        right += found and not skip
        wrong += not found and not skip
        recalls.append(right / wanted)
        precisions.append(right / (right + wrong + 2.220446049250313e-16))
    points = [
        max((p for r, p in zip(recalls, precisions, strict=True) if r >= point), default=0.0) for point in RECALLS
    ]
    return points, recalls[-1] if recalls else 0.0
