"""The kinds of error and their prices once more, from sets of pixels and plain loops."""

from __future__ import annotations

from typing import Any

RECALLS = [i * 0.01 for i in range(100)] + [1.0]
EPSILON = 2.220446049250313e-16
KINDS = ["class", "localisation", "both", "duplicate", "background", "identity", "missed"]

Mask = frozenset[int] | None
Video = dict[
    str, list[dict[str, Any]]
]  # "dets": score, label, masks · "gts": label, crowd, masks; a mask is its pixels


def mask_iou(one: Mask, other: Mask) -> float:
    if one is None or other is None or not one | other:
        return 0.0
    return len(one & other) / len(one | other)


def tube_iou(one: list[Mask], other: list[Mask]) -> float:
    nothing: frozenset[int] = frozenset()
    shared = sum(len((a or nothing) & (b or nothing)) for a, b in zip(one, other, strict=True))
    joint = sum(len((a or nothing) | (b or nothing)) for a, b in zip(one, other, strict=True))
    return shared / joint if joint else 0.0


def slow_report(videos: list[Video]) -> dict[str, Any]:
    gts = [{**g, "video": n, "found": False} for n, video in enumerate(videos) for g in video["gts"]]
    dets = [{**d, "video": n, "fate": "", "targets": []} for n, video in enumerate(videos) for d in video["dets"]]
    for row, d in enumerate(dets):
        d["row"] = row
    for n in range(len(videos)):
        match_video([d for d in dets if d["video"] == n], [g for g in gts if g["video"] == n])
    dets = [d for d in dets if d["fate"] != "not counted"]
    gts = [g for g in gts if not g["crowd"]]
    for d in dets:
        if d["fate"] == "wrong":
            others = [e for e in dets if e["video"] == d["video"] and e["label"] == d["label"] and e is not d]
            d["fate"], d["targets"] = blame(d, others, [g for g in gts if g["video"] == d["video"]])
    unfound = [g for g in gts if not g["found"]]
    missed = [g for g in unfound if not any(g is target for d in dets for target in d["targets"])]

    base = mean_ap(dets, gts, [])
    rows: dict[str, Any] = {"AP50": base}
    for kind in KINDS[:-1]:
        blamed = [d for d in dets if d["fate"] == kind]
        repaired = [d for d in dets if d["fate"] != kind] + [
            found_once(g, [d for d in blamed if any(g is target for target in d["targets"])]) for g in unfound
        ]
        repaired = [d for d in repaired if d]
        rows[kind] = (len(blamed), mean_ap(repaired, gts, []) - base)
    rows["missed"] = (len(missed), mean_ap(dets, gts, missed) - base)
    right = [d for d in dets if d["fate"] == "right"]
    rows["false positives"] = (len(dets) - len(right), mean_ap(right, gts, []) - base)
    rows["false negatives"] = (len(unfound), mean_ap(dets, gts, unfound) - base)
    return rows


def match_video(dets: list[dict[str, Any]], gts: list[dict[str, Any]]) -> None:
    for label in {d["label"] for d in dets}:
        ranked = sorted([d for d in dets if d["label"] == label], key=lambda d: -d["score"])
        for d in ranked[100:]:
            d["fate"] = "not counted"
        for d in ranked[:100]:
            best = None
            for g in gts:
                if g["label"] == label and not g["crowd"] and not g["found"]:
                    iou = tube_iou(d["masks"], g["masks"])
                    if iou >= 0.5 and (best is None or iou >= tube_iou(d["masks"], best["masks"])):
                        best = g
            crowds = [g for g in gts if g["label"] == label and g["crowd"]]
            if best is not None:
                best["found"] = True
                d["fate"] = "right"
            elif any(tube_iou(d["masks"], g["masks"]) >= 0.5 for g in crowds):
                d["fate"] = "not counted"
            else:
                d["fate"] = "wrong"


def blame(d: dict[str, Any], others: list[Any], gts: list[Any]) -> tuple[str, list[Any]]:
    own = [g for g in gts if g["label"] == d["label"]]
    foreign = [g for g in gts if g["label"] != d["label"]]
    best_own, best_foreign = most_overlapped(d, own), most_overlapped(d, foreign)
    own_iou = tube_iou(d["masks"], best_own["masks"]) if best_own else 0.0
    foreign_iou = tube_iou(d["masks"], best_foreign["masks"]) if best_foreign else 0.0
    if own_iou >= 0.5:
        return "duplicate", []
    if foreign_iou >= 0.5:
        return "class", [best_foreign]
    held = [g for g in own if held_frames(d, g)]
    if is_identity_error(d, others, held):
        return "identity", [g for g in held if enough_together([d, *others], g)]
    if own_iou >= 0.1:
        return "localisation", [best_own]
    return ("both" if foreign_iou >= 0.1 else "background"), []


def most_overlapped(d: dict[str, Any], gts: list[Any]) -> Any:
    best = None
    for g in gts:
        if best is None or tube_iou(d["masks"], g["masks"]) > tube_iou(d["masks"], best["masks"]):
            best = g
    return best


def held_frames(d: dict[str, Any], g: dict[str, Any]) -> list[int]:
    return [t for t in range(len(d["masks"])) if mask_iou(d["masks"][t], g["masks"][t]) >= 0.5]


def is_identity_error(d: dict[str, Any], others: list[Any], held: list[Any]) -> bool:
    present = [t for t, mask in enumerate(d["masks"]) if mask is not None]
    good = [t for t in present if any(t in held_frames(d, g) for g in held)]
    if len(good) < len(present) / 2:
        return False
    if len(held) >= 2:
        return True
    for g in held:
        for e in others:
            mine_alone = [t for t in held_frames(d, g) if e["masks"][t] is None]
            its_alone = [t for t in held_frames(e, g) if d["masks"][t] is None]
            if mine_alone and its_alone:
                return True
    return False


def enough_together(dets: list[Any], g: dict[str, Any]) -> bool:
    together = {t for d in dets for t in held_frames(d, g)}
    return len(together) >= sum(mask is not None for mask in g["masks"]) / 2


def found_once(g: dict[str, Any], by: list[Any]) -> Any:
    """A right tube in the place of the best of those that point at `g`."""
    if not by:
        return None
    best = max(by, key=lambda d: d["score"])
    return {"score": best["score"], "label": g["label"], "fate": "right", "row": best["row"]}


def mean_ap(dets: list[Any], gts: list[Any], excused: list[Any]) -> float:
    values = []
    for label in sorted({g["label"] for g in gts}):
        wanted = sum(g["label"] == label and not any(g is e for e in excused) for g in gts)
        here = sorted([d for d in dets if d["label"] == label], key=lambda d: (-d["score"], d["row"]))
        values.append(average_precision([d["fate"] == "right" for d in here], wanted) if wanted else 1.0)
    return sum(values) / len(values) if values else -1.0


def average_precision(right: list[bool], wanted: int) -> float:
    hits, recalls, precisions = 0, [], []
    for n, is_right in enumerate(right, start=1):
        hits += is_right
        recalls.append(hits / wanted)
        precisions.append(hits / (n + EPSILON))
    points = [max((p for r, p in zip(recalls, precisions, strict=True) if r >= at), default=0.0) for at in RECALLS]
    return sum(points) / len(points)
