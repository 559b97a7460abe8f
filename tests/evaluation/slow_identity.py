"""CLEAR MOT and identity counts once more, from plain loops: the rules in the order they are stated, and no speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from scipy.optimize import linear_sum_assignment

Pairs = dict[int, int]


def choices(rows: list[int], columns: list[int]) -> Iterator[Pairs]:
    """Every way to pair some of the rows with some of the columns, one to one."""
    if not rows:
        yield {}
        return
    first, *others = rows
    yield from choices(others, columns)
    for column in columns:
        for rest in choices(others, [c for c in columns if c != column]):
            yield {first: column, **rest}


def try_all(rows: list[int], columns: list[int], distance: dict[tuple[int, int], float]) -> Pairs:
    """The most allowed pairs, then the least distance."""
    legal = [c for c in choices(rows, columns) if all(pair in distance for pair in c.items())]
    return min(legal, key=lambda c: (-len(c), sum(distance[pair] for pair in c.items())))


def solve(rows: list[int], columns: list[int], distance: dict[tuple[int, int], float]) -> Pairs:
    """The same from the solver and the matrix that the rules name, which also fixes what happens in a tie."""
    pairs = [(g, d) for g in rows for d in columns if (g, d) in distance]
    if not pairs:
        return {}
    forbidden = 2 * min(len(rows), len(columns)) * (max(distance[pair] for pair in pairs) + 1) + 1
    matrix = [[distance.get((g, d), forbidden) for d in columns] for g in rows]
    picked = zip(*linear_sum_assignment(matrix), strict=True)
    return {rows[r]: columns[c] for r, c in picked if (rows[r], columns[c]) in distance}


def slow_counts(
    distances: Any, objects: Any, hypotheses: Any, assign: Callable[..., Pairs] = try_all
) -> dict[str, float]:
    T, G, D = distances.shape
    counts = dict.fromkeys(("objects", "predictions", "matches", "switches", "misses", "false_positives"), 0)
    distance_sum = 0.0
    last: Pairs = {}
    history: dict[int, list[bool]] = {g: [] for g in range(G)}
    shared: dict[tuple[int, int], int] = {}
    for t in range(T):
        there = [g for g in range(G) if objects[t, g]]
        seen = [d for d in range(D) if hypotheses[t, d]]
        distance = {(g, d): distances[t, g, d] for g in there for d in seen if not math.isnan(distances[t, g, d])}
        for pair in distance:
            shared[pair] = shared.get(pair, 0) + 1
        matched: Pairs = {}
        for g in there:
            if g in last and (g, last[g]) in distance and last[g] not in matched.values():
                matched[g] = last[g]
                counts["matches"] += 1
        left_rows = [g for g in there if g not in matched]
        left_columns = [d for d in seen if d not in matched.values()]
        for g, d in assign(left_rows, left_columns, distance).items():
            counts["switches" if g in last and last[g] != d else "matches"] += 1
            matched[g] = d
        last.update(matched)
        distance_sum += sum(distance[pair] for pair in matched.items())
        counts["objects"] += len(there)
        counts["predictions"] += len(seen)
        counts["misses"] += len(there) - len(matched)
        counts["false_positives"] += len(seen) - len(matched)
        for g in there:
            history[g].append(g in matched)

    best = fewest_errors(objects, hypotheses, shared)
    histories = [frames for frames in history.values() if frames]
    shares = [sum(frames) / len(frames) for frames in histories]
    return {
        **counts,
        "idtp": counts["objects"] - best[1],
        "idfp": best[2],
        "idfn": best[1],
        "fragmentations": sum(fragmentations(frames) for frames in histories),
        "mostly_tracked": sum(share >= 0.8 for share in shares),
        "partially_tracked": sum(0.2 <= share < 0.8 for share in shares),
        "mostly_lost": sum(share < 0.2 for share in shares),
        "distance_sum": distance_sum,
    }


def fewest_errors(objects: Any, hypotheses: Any, shared: dict[tuple[int, int], int]) -> tuple[int, int, int]:
    """Errors, missed object-frames and surplus predicted frames of the best one-to-one choice for the whole video."""
    n = [int(objects[:, g].sum()) for g in range(objects.shape[1])]
    m = [int(hypotheses[:, d].sum()) for d in range(hypotheses.shape[1])]
    results = []
    for choice in choices(list(range(len(n))), list(range(len(m)))):
        common = {pair: shared.get(pair, 0) for pair in choice.items()}
        missed = sum(n[g] - (common[g, choice[g]] if g in choice else 0) for g in range(len(n)))
        surplus = sum(m) - sum(common.values())
        results.append((missed + surplus, missed, surplus))
    return min(results)


def fragmentations(frames: list[bool]) -> int:
    if not any(frames):
        return 0
    first, last = frames.index(True), len(frames) - 1 - frames[::-1].index(True)
    return sum(frames[t] and not frames[t + 1] for t in range(first, last))


def slow_ratios(counts: dict[str, float]) -> dict[str, float]:
    found = counts["matches"] + counts["switches"]
    mistakes = counts["misses"] + counts["switches"] + counts["false_positives"]

    def over(part: float, whole: float) -> float:
        return -1 if whole == 0 else part / whole

    return {
        "IDF1": over(2 * counts["idtp"], counts["objects"] + counts["predictions"]),
        "IDP": over(counts["idtp"], counts["idtp"] + counts["idfp"]),
        "IDR": over(counts["idtp"], counts["idtp"] + counts["idfn"]),
        "MOTA": -1 if counts["objects"] == 0 else 1 - mistakes / counts["objects"],
        "MOTP": over(counts["distance_sum"], found),
        "precision": over(found, found + counts["false_positives"]),
        "recall": over(found, counts["objects"]),
    }
