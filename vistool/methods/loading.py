"""From the name of a method to a model that can be run."""

from __future__ import annotations

from ..protocols import VideoModel
from ..types import RunOptions
from ..weights import load
from . import find_method, weights_of


def load_model(method: str, weights: str | None = None, options: RunOptions | None = None) -> VideoModel:
    """The model of a row of METHODS with `weights`, as `vistool segment --weights` takes them; None: its default.

    UsageError for an unknown method, WeightsError when the weights are missing, damaged, or another method's. What is
    absent is fetched, unless VISTOOL_OFFLINE=1; VISTOOL_ACCEPT_LICENSE accepts licences.
    """
    row = find_method(method)
    return row.load(load(weights_of(method, weights), method, row), options or RunOptions())
