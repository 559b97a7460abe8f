"""Small data sets of dense masks, and their numbers once more, from plain loops: the rules as stated, and no speed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from slow_hota import slow_combination, slow_numbers, slow_rows
from slow_identity import slow_counts, slow_ratios, solve
from slow_ytvis import RECALLS, THRESHOLDS

Json = dict[str, Any]
Picture = Any  # bool (H, W)
Tube = tuple[Picture | None, ...]

AREAS = {"": (0, 1e10), "s": (0, 16384), "m": (16384, 65536), "l": (65536, 1e10)}
OCCLUSIONS = {"so": (0, 0.25), "mo": (0.25, 0.5), "ho": (0.5, 1)}
LEVELS = {"no_occlusion": 0.0, "slight_occlusion": 0.25, "severe_occlusion": 0.75}


@dataclass(frozen=True, eq=False)
class Track:
    """One annotated or predicted tube."""

    id: int
    video: int
    category: int
    tube: Tube
    score: float = 1.0
    crowd: bool = False
    areas: Sequence[float | None] | None = None  # as the file says; None: it does not
    levels: Sequence[str | None] | None = None  # of occlusion, as the file says

    def to_json(self) -> Json:
        masks = [run_lengths(picture) for picture in self.tube]
        return {"video_id": self.video, "category_id": self.category, "segmentations": masks}


@dataclass(frozen=True, eq=False)
class Case:
    """A data set and predictions of it."""

    sizes: Mapping[int, tuple[int, int]]  # by id of the video
    categories: Mapping[int, str]
    truth: Sequence[Track]
    found: Sequence[Track]
    lengths: Mapping[int, int]  # frames, by id of the video

    def document(self) -> Json:
        videos = [
            {"id": key, "height": height, "width": width, "length": self.lengths[key], "file_name": f"clip{key}.mp4"}
            for key, (height, width) in self.sizes.items()
        ]
        annotations = []
        for track in self.truth:
            entry = {**track.to_json(), "id": track.id, "iscrowd": int(track.crowd)}
            entry |= {} if track.areas is None else {"areas": list(track.areas)}
            entry |= {} if track.levels is None else {"occlusion": list(track.levels)}
            annotations.append(entry)
        categories = [{"id": key, "name": name} for key, name in self.categories.items()]
        return {"videos": videos, "categories": categories, "annotations": annotations}

    def results(self) -> list[Json]:
        return [{**track.to_json(), "score": track.score} for track in self.found]

    def repeated(self, times: Mapping[int, int]) -> Case:
        """Each video as often as `times` says, 0 included, under new ids in the same order."""
        copies = {key: [100 * key + n for n in range(times[key])] for key in self.sizes}
        truth = [replace(track, video=copy) for track in self.truth for copy in copies[track.video]]
        return replace(
            self,
            sizes={copy: self.sizes[key] for key in self.sizes for copy in copies[key]},
            lengths={copy: self.lengths[key] for key in self.sizes for copy in copies[key]},
            truth=[replace(track, id=n) for n, track in enumerate(truth, start=1)],
            found=[replace(track, video=copy) for track in self.found for copy in copies[track.video]],
        )

    def restricted(self, videos: Iterable[int]) -> Case:
        chosen = set(videos)
        return replace(
            self,
            sizes={key: size for key, size in self.sizes.items() if key in chosen},
            truth=[track for track in self.truth if track.video in chosen],
            found=[track for track in self.found if track.video in chosen],
        )

    def of_category(self, category: int) -> Case:
        return replace(
            self,
            categories={category: self.categories[category]},
            truth=[track for track in self.truth if track.category == category],
            found=[track for track in self.found if track.category == category],
        )

    def of_one_category(self) -> Case:
        """All listed categories as one."""
        return replace(
            self,
            categories={0: "object"},
            truth=[replace(track, category=0) for track in self.truth],
            found=[replace(track, category=0) for track in self.found if track.category in self.categories],
        )


def run_lengths(picture: Picture | None) -> Json | None:
    if picture is None:
        return None
    columns = picture.T.ravel()
    counts, value, run = [], False, 0
    stops = [0] if columns[0] else []
    for stop in [*stops, *(np.flatnonzero(columns[1:] != columns[:-1]) + 1).tolist(), columns.size]:
        counts.append(stop - run)
        run, value = stop, not value
    return {"size": list(picture.shape), "counts": counts}


def random_case(
    rng: np.random.Generator,
    *,
    levels: bool = False,
    cell: int = 64,
    found_each: int = 4,
    annotated: tuple[int, int] = (5, 12),
    distinct: bool = False,
) -> Case:
    """Four videos of several sizes, with ties of score and of overlap, crowds, odd areas, gaps and uneven lengths.

    Pictures are made of square cells: 4 and 16 of them, 64 pixels wide, are exactly as large as small and medium
    tubes can be. `distinct`: no two predictions of a video have the same score.
    """
    sizes = {key: (int(rng.integers(5, 7)), int(rng.integers(6, 9))) for key in rng.permutation([2, 5, 9, 30]).tolist()}
    lengths = {key: int(rng.integers(2, 5)) for key in sizes}

    def picture(size: tuple[int, int], top: int, left: int, height: int, width: int) -> Picture | None:
        if rng.random() < 0.15:
            return None
        cells = np.zeros(size, np.bool_)
        if rng.random() < 0.95:
            cells[max(top, 0) : top + height, max(left, 0) : left + width] = True
        return cells.repeat(cell, axis=0).repeat(cell, axis=1)

    def tube(key: int) -> Tube:
        size = sizes[key]
        top, left = int(rng.integers(0, 4)), int(rng.integers(0, 5))
        height, width = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        drift = int(rng.integers(-1, 2))
        return tuple(picture(size, top, left + drift * t, height, width) for t in range(lengths[key]))

    def altered(one: Tube, key: int) -> Tube:
        frames = list(one)
        if rng.random() < 0.5:
            other = tube(key)
            frames = [b if rng.random() < 0.4 else a for a, b in zip(frames, other, strict=True)]
        if rng.random() < 0.1:
            frames = frames[: int(rng.integers(1, len(frames) + 1))]
        if rng.random() < 0.1:
            frames.append(frames[0])
        if rng.random() < 0.1 and frames[0] is not None:
            frames[0] = np.ones((cell, cell), np.bool_)  # of another size
        return tuple(frames)

    def areas(one: Tube) -> list[float | None] | None:
        measured = [None if each is None else float(each.sum()) for each in one]
        kind = rng.random()
        if kind < 0.15:
            return None
        return [None if a is None else a * float(rng.uniform(0.3, 3)) for a in measured] if kind < 0.4 else measured

    pool = {key: [tube(key) for _ in range(4)] for key in sizes}
    categories = {8: "dog", 3: "cat", 21: "eel"}
    truth: list[Track] = []
    found: list[Track] = []
    for n in range(int(rng.integers(*annotated))):
        key, category = int(rng.choice(list(sizes))), int(rng.choice([3, 8, 21], p=[0.5, 0.4, 0.1]))
        one = pool[key][int(rng.integers(4))]
        said = [None if rng.random() < 0.2 else str(rng.choice(list(LEVELS))) for _ in one] if levels else None
        truth.append(Track(n, key, category, one, 1.0, bool(rng.random() < 0.15), areas(one), said))
        for _ in range(int(rng.integers(0, found_each + 1))):
            guess = category if rng.random() < 0.8 else int(rng.choice([3, 8, 21, 99]))
            score = float(rng.choice([0.1, 0.3, 0.5, 0.5, 0.8]))
            found.append(Track(0, key, guess, altered(one, key) if rng.random() < 0.6 else one, score))
    found = [found[n] for n in rng.permutation(len(found))]
    truth = [truth[n] for n in rng.permutation(len(truth))]
    if distinct:  # but other videos may have it too
        ranks = dict.fromkeys(sizes, 0)
        for n, track in enumerate(found):
            ranks[track.video] += 1
            found[n] = replace(track, score=ranks[track.video] / 1000)
    return Case(sizes, categories, truth, found, lengths)


def moving_case(rng: np.random.Generator, *, videos: int = 3, exact: bool = False) -> Case:
    """Speckled blobs that wander in places of their own, followed by tubes that change over, end early or stray.

    No two masks are alike, so that little ties; `exact`: every object has its prediction, and nothing else is found.
    """
    sizes = dict.fromkeys(range(1, videos + 1), (24, 40))
    lengths = {key: int(rng.integers(4, 8)) for key in sizes}

    def blob(place: int, jitter: int) -> Picture:
        picture = np.zeros((24, 40), np.bool_)
        top = 2 + 12 * (place // 2) + int(rng.integers(0, jitter + 1))
        left = 2 + 18 * (place % 2) + int(rng.integers(0, jitter + 1))
        bottom, right = top + int(rng.integers(5, 9 - jitter // 2)), left + int(rng.integers(8, 14 - jitter))
        picture[top:bottom, left:right] = rng.random((bottom - top, right - left)) < 0.9
        return picture

    truth: list[Track] = []
    found: list[Track] = []
    for key, length in lengths.items():
        objects = int(rng.integers(1, 5))
        tubes = []
        for place in range(objects):
            there = rng.random(length) < 0.85
            there[[0, -1]] = True
            tubes.append([blob(place, 2) if seen else None for seen in there])
            track = Track(len(truth) + 1, key, int(rng.choice([3, 8])), tuple(tubes[-1]))
            truth.append(replace(track, areas=[None if p is None else int(p.sum()) for p in track.tube]))
        labels = [track.category for track in truth[-objects:]]
        if exact:
            found += [Track(0, key, label, tuple(one)) for label, one in zip(labels, tubes, strict=True)]
            continue
        for _ in range(int(rng.integers(1, 6))):
            target = int(rng.integers(objects))
            label = labels[target] if rng.random() < 0.85 else int(rng.choice([3, 8]))
            frames: list[Picture | None] = []
            for t in range(length):
                target = int(rng.integers(objects)) if rng.random() < 0.15 else target
                seen = tubes[target][t]
                if seen is None or rng.random() < 0.2:
                    frames.append(blob(target, 4) if rng.random() < 0.5 else None)
                else:
                    frames.append(seen & (rng.random(seen.shape) < rng.uniform(0.6, 1.0)))
            found.append(Track(0, key, label, tuple(frames)))
    order = rng.permutation(len(found))
    scores = rng.permutation(len(found)) / 1000 + 0.1
    found = [replace(found[n], score=float(score)) for n, score in zip(order, scores, strict=True)]
    return Case(sizes, {8: "dog", 3: "cat"}, truth, found, lengths)


def slow_figures(case: Case, *, class_agnostic: bool = False) -> dict[str, float]:
    """The benchmark's twelve numbers, with OVIS's six where levels of occlusion are annotated, and AP by category."""
    kinds: list[int | None] = [None] if class_agnostic else sorted(case.categories)
    groups = [*AREAS, *(OCCLUSIONS if any(track.levels is not None for track in case.truth) else ())]
    ious, sizes = _Overlaps(), {id(track): size(track) for track in (*case.truth, *case.found)}
    curves: dict[tuple[Any, ...], list[float]] = {}
    recalls: dict[tuple[Any, ...], float] = {}
    for kind in kinds:
        for group in groups:
            for threshold in THRESHOLDS:
                rows, wanted = verdicts(case, kind, group, threshold, ious, sizes)
                if wanted:
                    curves[kind, group, threshold] = precisions(rows, wanted)
                    for limit in (1, 10, 100):
                        hits = sum(right for rank, _, right, _ in rows if rank < limit)
                        recalls[kind, group, threshold, limit] = hits / wanted

    def ap(group: str, thresholds: Sequence[float] = THRESHOLDS, kinds: Sequence[int | None] = kinds) -> float:
        return mean(p for (k, g, t), ps in curves.items() if g == group and t in thresholds and k in kinds for p in ps)

    def ar(group: str, limit: int = 100) -> float:
        return mean(r for (_, g, _, m), r in recalls.items() if g == group and m == limit)

    figures = {"AP": ap(""), "AP50": ap("", [0.5]), "AP75": ap("", [0.75])}
    figures |= {f"AP{group}": ap(group) for group in groups if group}
    figures |= {f"AR{limit}": ar("", limit) for limit in (1, 10, 100)}
    figures |= {f"AR{group}": ar(group) for group in groups if group}
    names = {} if class_agnostic else {f"AP of {name}": ap("", kinds=[key]) for key, name in case.categories.items()}
    return figures | names


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else -1.0


class _Overlaps:
    """Tube overlaps, each computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], float] = {}

    def __call__(self, d: Track, g: Track) -> float:
        key = id(d.tube), id(g.tube)
        if key not in self._known:
            shared = joint = 0
            for one, other in zip(d.tube, g.tube, strict=False):
                if one is not None and other is not None:
                    if one.shape == other.shape:
                        shared += int((one & other).sum())
                        joint += int((one | other).sum())
                elif one is not None or other is not None:
                    joint += int((other if one is None else one).sum())
            self._known[key] = shared / joint if joint else 0.0
        return self._known[key]


def verdicts(
    case: Case, kind: int | None, group: str, threshold: float, ious: _Overlaps, sizes: Mapping[int, float]
) -> tuple[list[tuple[int, float, bool, bool]], int]:
    """Rank within the video, score, whether right, whether wrong, best first, and how many are to be found."""

    def inside(track: Track) -> bool:
        low, high = {**AREAS, **OCCLUSIONS}[group]
        return low <= (sizes[id(track)] if group in AREAS else occlusion(track)) <= high

    rows, wanted = [], 0
    for video in sorted(case.sizes):
        dets = taking_part(case, case.found, video, kind)
        gts = taking_part(case, case.truth, video, kind)
        regular = [g for g in gts if not g.crowd and inside(g)]
        others = [g for g in gts if g.crowd or not inside(g)]
        wanted += len(regular)
        taken: list[Track] = []
        for rank, d in enumerate(sorted(dets, key=lambda d: -d.score)[:100]):
            match = most_overlapped(d, [g for g in regular if g not in taken], threshold, ious)
            explained = None
            if match is None:
                explained = most_overlapped(d, [g for g in others if g.crowd or g not in taken], threshold, ious)
            taken += [g for g in (match, explained) if g is not None]
            right = match is not None and match.id != 0
            free = not right and group in AREAS and not inside(d)
            rows.append((rank, d.score, right, not right and explained is None and not free))
    rows.sort(key=lambda row: -row[1])
    return rows, wanted


def taking_part(case: Case, tracks: Sequence[Track], video: int, kind: int | None) -> list[Track]:
    """Those of one category in the order of the file, or of all listed ones, by category and then as in the file."""
    kinds = sorted(case.categories) if kind is None else [kind]
    return [track for each in kinds for track in tracks if track.video == video and track.category == each]


def size(track: Track) -> float:
    """Mean of the areas that are above 0."""
    areas = track.areas or [None if picture is None else float(picture.sum()) for picture in track.tube]
    visible = [area for area in areas if area]
    return sum(visible) / len(visible) if visible else 0.0


def occlusion(track: Track) -> float:
    """Mean of the higher half of the levels, the middle one included."""
    values = sorted(LEVELS[level] for level in track.levels or () if level is not None)
    highest = values[len(values) // 2 :]
    return sum(highest) / len(highest) if highest else 0.0


def most_overlapped(d: Track, gts: Sequence[Track], threshold: float, ious: _Overlaps) -> Track | None:
    """The last of equals."""
    best, least = None, threshold
    for g in gts:
        if ious(d, g) >= least:
            best, least = g, ious(d, g)
    return best


def precisions(rows: Sequence[tuple[int, float, bool, bool]], wanted: int) -> list[float]:
    """At each recall point the best precision from there on."""
    hits = misses = 0
    reached: list[tuple[float, float]] = []
    for _, _, right, wrong in rows:
        hits, misses = hits + right, misses + wrong
        reached.append((hits / wanted, hits / (misses + hits + 2.220446049250313e-16)))
    corners: dict[float, float] = {}  # best precision from each recall on, highest recall first
    for recall, precision in reversed(reached):
        corners[recall] = max(precision, *corners.values(), 0.0)
    return [max((p for r, p in corners.items() if r >= point), default=0.0) for point in RECALLS]


def distances(
    case: Case, video: int, *, on: str, score_min: float, category: int | None = None
) -> tuple[Any, Any, Any]:
    """1 - IoU of boxes or masks (T, G, D), NaN above 0.5 and between categories; which tracks are there, of both."""
    kinds = set(case.categories) if category is None else {category}
    gts = [g for g in case.truth if g.video == video and g.category in kinds]
    dets = [d for d in case.found if d.video == video and d.category in kinds and d.score >= score_min]
    T = case.lengths[video]
    table = np.full((T, len(gts), len(dets)), math.nan)
    for t, g, d in np.ndindex(table.shape):
        one, other = shown(gts[g], t), shown(dets[d], t)
        if one is not None and other is not None and gts[g].category == dets[d].category:
            value = 1 - (box_iou(one, other) if on == "box" else (one & other).sum() / (one | other).sum())
            table[t, g, d] = value if value <= 0.5 or on == "any mask" else math.nan
    there = np.array([[shown(g, t) is not None for g in gts] for t in range(T)], np.bool_).reshape(T, len(gts))
    seen = np.array([[shown(d, t) is not None for d in dets] for t in range(T)], np.bool_).reshape(T, len(dets))
    return table, there, seen


def ties(case: Case) -> bool:
    """Whether some frame has two allowed pairs of equal distance of their masks."""
    tables = [distances(case, video, on="mask", score_min=0.0)[0] for video in case.sizes]
    rows = [frame[~np.isnan(frame)].tolist() for table in tables for frame in table]
    return any(len(set(row)) < len(row) for row in rows)


def shown(track: Track, t: int) -> Picture | None:
    picture = track.tube[t] if t < len(track.tube) else None
    return None if picture is None or not picture.any() else picture


def box_iou(one: Picture, other: Picture) -> float:
    def box(picture: Picture) -> tuple[int, int, int, int]:
        rows, columns = np.nonzero(picture)
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1

    (a, b, c, d), (e, f, g, h) = box(one), box(other)
    shared = max(0, min(c, g) - max(a, e)) * max(0, min(d, h) - max(b, f))
    return shared / ((c - a) * (d - b) + (g - e) * (h - f) - shared)


def slow_identities(case: Case, *, on: str, score_min: float = 0.0, category: int | None = None) -> dict[str, float]:
    """All figures of identities, counts summed over the videos."""
    parts = [
        slow_counts(*distances(case, video, on=on, score_min=score_min, category=category), solve)
        for video in case.sizes
    ]
    counts = {name: sum(part[name] for part in parts) for name in parts[0]}
    said = {"IDs": "switches", "FP": "false_positives", "FN": "misses", "GT": "objects", "Frag": "fragmentations"}
    said |= {"MT": "mostly_tracked", "PT": "partially_tracked", "ML": "mostly_lost"}
    return slow_ratios(counts) | {name: counts[count] for name, count in said.items()}


def slow_hotas(case: Case, *, score_min: float = 0.0, categories: Iterable[int] | None = None) -> dict[str, float]:
    """All figures of HOTA, each category and each video counted alone and then combined."""

    def rows() -> Iterator[list[dict[str, float]]]:
        for category in case.categories if categories is None else categories:
            for video in case.sizes:
                table, there, seen = distances(case, video, on="any mask", score_min=score_min, category=category)
                yield slow_rows(np.nan_to_num(1 - table, nan=0.0), there, seen)

    return slow_numbers(slow_combination(list(rows())))
