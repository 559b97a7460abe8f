"""HOTA once more, from plain loops and every possible assignment: the rules in the order stated, and no speed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from slow_identity import choices

ALPHAS = [0.05 + i * 0.05 for i in range(19)]
EPSILON = 2.220446049250313e-16


def slow_rows(similarity: Any, objects: Any, hypotheses: Any) -> list[dict[str, float]]:
    """For each alpha TP, FN, FP, AssA, AssRe, AssPr, LocA of one video."""
    T, G, D = similarity.shape
    there = [[g for g in range(G) if objects[t, g]] for t in range(T)]
    seen = [[d for d in range(D) if hypotheses[t, d]] for t in range(T)]
    n = Counter(g for frame in there for g in frame)
    m = Counter(d for frame in seen for d in frame)

    potential: Counter[tuple[int, int]] = Counter()
    for t in range(T):
        for g in there[t]:
            for d in seen[t]:
                of_g = sum(similarity[t, g, other] for other in seen[t])
                of_d = sum(similarity[t, other, d] for other in there[t])
                rivals = of_g + of_d - similarity[t, g, d]
                if rivals > EPSILON:
                    potential[g, d] += similarity[t, g, d] / rivals
    aligned = {(g, d): potential[g, d] / (n[g] + m[d] - potential[g, d]) for g in n for d in m}

    pairs = []
    for t in range(T):
        options = choices(there[t], seen[t])
        best = max(options, key=lambda c: sum(aligned[pair] * similarity[t, pair[0], pair[1]] for pair in c.items()))
        pairs += [(g, d, similarity[t, g, d]) for g, d in best.items()]

    rows = []
    for alpha in ALPHAS:
        found = [(g, d, s) for g, d, s in pairs if s >= alpha - EPSILON]
        c = Counter((g, d) for g, d, _ in found)
        tp = len(found)
        rows.append(
            {
                "TP": tp,
                "FN": sum(n.values()) - tp,
                "FP": sum(m.values()) - tp,
                "AssA": sum(k * (k / max(1, n[g] + m[d] - k)) for (g, d), k in c.items()) / max(1, tp),
                "AssRe": sum(k * (k / max(1, n[g])) for (g, d), k in c.items()) / max(1, tp),
                "AssPr": sum(k * (k / max(1, m[d])) for (g, d), k in c.items()) / max(1, tp),
                "LocA": max(1e-10, sum(s for _, _, s in found)) / max(1e-10, tp),
            }
        )
    return rows


def slow_combination(videos: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Sums of TP, FN and FP; the others weighted by TP, for each alpha."""
    combined = []
    for rows in zip(*videos, strict=True):
        total: dict[str, float] = {key: sum(row[key] for row in rows) for key in ("TP", "FN", "FP")}
        for key in ("AssA", "AssRe", "AssPr"):
            total[key] = sum(row[key] * row["TP"] for row in rows) / max(1, total["TP"])
        total["LocA"] = max(1e-10, sum(row["LocA"] * row["TP"] for row in rows)) / max(1e-10, total["TP"])
        combined.append(total)
    return combined


def slow_numbers(rows: list[dict[str, float]]) -> dict[str, float]:
    curves: dict[str, list[float]] = {key: [row[key] for row in rows] for key in ("AssA", "AssRe", "AssPr", "LocA")}
    curves["DetA"] = [row["TP"] / max(1, row["TP"] + row["FN"] + row["FP"]) for row in rows]
    curves["DetRe"] = [row["TP"] / max(1, row["TP"] + row["FN"]) for row in rows]
    curves["DetPr"] = [row["TP"] / max(1, row["TP"] + row["FP"]) for row in rows]
    curves["HOTA"] = [math.sqrt(a * b) for a, b in zip(curves["DetA"], curves["AssA"], strict=True)]
    curves["OWTA"] = [math.sqrt(a * b) for a, b in zip(curves["DetRe"], curves["AssA"], strict=True)]
    means = {key: sum(curve) / len(curve) for key, curve in curves.items()}
    return {**means, "HOTA0": curves["HOTA"][0], "LocA0": curves["LocA"][0]}
