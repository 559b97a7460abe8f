"""What of a source could not be read, and where. Counts everything, keeps the first places only."""

from __future__ import annotations

from dataclasses import dataclass

_KEPT = 100  # places that are remembered, so that hours of noise stay small


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage met so far; final once the source has been read."""

    count: int = 0  # places of damage
    positions: tuple[int, ...] = ()  # index of the frame at the damage, or of the next whole one; the first 100
    messages: tuple[str, ...] = ()  # one a position


class DamageLog:
    """Collects damage while a source is read."""

    def __init__(self) -> None:
        self._count = 0
        self._places: list[tuple[int, str]] = []

    def add(self, position: int, message: str) -> None:
        """Note damage at the frame `position`, with a reason in a few words."""
        self._count += 1
        if len(self._places) < _KEPT:
            self._places.append((position, message))

    @property
    def so_far(self) -> Damage:
        return Damage(
            self._count,
            tuple(position for position, _ in self._places),
            tuple(message for _, message in self._places),
        )
