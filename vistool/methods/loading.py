"""From the name of a method to a model that can be run."""

from __future__ import annotations

from ..protocols import VideoModel
from ..types import RunOptions
from ..weights import load
from . import find_method


def load_model(method: str, weights: str | None = None, options: RunOptions | None = None) -> VideoModel:
    """The model of a row of METHODS with `weights`, a key of weights.toml or a path; None: the method's default.

    UsageError for an unknown method, WeightsError when the weights are missing, damaged, or another method's.
    """
    row = find_method(method)
    return row.load(load(weights or row.default_weights, method), options or RunOptions())
