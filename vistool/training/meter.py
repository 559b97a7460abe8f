"""Averages what the updates between two lines of the log say."""

from __future__ import annotations

from typing import Any

from .update import Numbers


class Meter:
    """Means over the updates since it was made."""

    def __init__(self) -> None:
        self._count = 0
        self._terms: dict[str, float] = {}
        self._gradient_norm = 0.0
        self._lr = 0.0
        self._took_s = 0.0
        self._waited_s = 0.0

    def add(self, numbers: Numbers, *, took_s: float, waited_s: float) -> None:
        """One update; how long it took, and how much of that it waited for its batch."""
        self._count += 1
        for name, value in numbers.terms.items():
            self._terms[name] = self._terms.get(name, 0.0) + value
        self._gradient_norm += numbers.gradient_norm
        self._lr = numbers.lr
        self._took_s += took_s
        self._waited_s += waited_s

    def record(self, step: int) -> dict[str, Any]:
        """The line of the log for the updates up to `step`."""
        terms = {name: total / self._count for name, total in self._terms.items()}
        return {
            "step": step,
            "loss": sum(terms.values()),
            "terms": terms,
            "lr": self._lr,
            "gradient_norm": self._gradient_norm / self._count,
            "steps_per_s": self._count / self._took_s,
            "data_share": self._waited_s / self._took_s,
        }

    def words(self) -> str:
        """The same for people."""
        return f"loss {sum(self._terms.values()) / self._count:.3f}  {self._count / self._took_s:.2f} steps/s"
