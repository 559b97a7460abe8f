"""Averages what the updates between two lines of the log say."""

from __future__ import annotations

from typing import Any

from .update import Numbers


class Meter:
    """Means over the updates since it was made, or last taken."""

    def __init__(self) -> None:
        self._updates: list[Numbers] = []
        self._took_s = 0.0
        self._waited_s = 0.0

    def add(self, numbers: Numbers, *, took_s: float, waited_s: float) -> None:
        """One update; how long it took, and how much of that it waited for its batch."""
        self._updates.append(numbers)
        self._took_s += took_s
        self._waited_s += waited_s

    def take(self, step: int) -> dict[str, Any]:
        """The line of the log for the updates up to `step`; the next begins anew."""
        count = len(self._updates)
        terms = {name: sum(each.terms[name] for each in self._updates) / count for name in self._updates[0].terms}
        record = {
            "step": step,
            "loss": sum(terms.values()),
            "terms": terms,
            "lr": self._updates[-1].lr,
            "gradient_norm": sum(each.gradient_norm for each in self._updates) / count,
            "steps_per_s": count / self._took_s,
            "data_share": self._waited_s / self._took_s,
        }
        self._updates, self._took_s, self._waited_s = [], 0.0, 0.0
        return record

    def words(self) -> str:
        """The latest, for people."""
        loss = sum(self._updates[-1].terms.values())
        return f"loss {loss:.3f}  {len(self._updates) / self._took_s:.2f} steps/s"
