"""The procedural data set: seeded videos of moving shapes with exact masks. Loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dataset import make_split

__all__ = ["make_split"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
