"""Weights: the table of known checkpoints, the file format, and the way from a name to tensors. Light to import."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from . import checkpoint, registry

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # two letters at least: `C:` is a drive


def locate(spec: str) -> Path:
    """The file that a key of weights.toml or a path stands for. WeightsError for what is neither."""
    if spec in registry.entries():
        return registry.entries()[spec].path
    path = Path(spec)
    if path.exists():
        return path
    if _ADDRESS.match(spec):
        raise WeightsError(
            f"weights cannot be fetched from there: `{spec}` (only keys and files are supported)",
            hint="download the file yourself and give its path, or see `vistool weights list`",
        )
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(
            f"weights not found: `{spec}` (no such file)", hint="check the path, or see `vistool weights list`"
        )
    return registry.find(spec).path


def load(spec: str, method: str) -> Checkpoint:
    """The checkpoint for `method` that a key of weights.toml or a path stands for.

    WeightsError when there is none, when it is damaged or not the file of that key, or when it is another method's.
    """
    path = locate(spec)
    loaded = checkpoint.read(path)
    entry = registry.entries().get(spec)
    if entry is not None and loaded.sha256 != entry.sha256:
        raise WeightsError(
            f"weights are not the published file: `{spec}` (sha256 is {loaded.sha256[:12]}…, not {entry.sha256[:12]}…)",
            hint="reinstall vistool, or give the file by its path to use it all the same",
        )
    if loaded.info.method != method:
        raise WeightsError(
            f"weights belong to another method: `{spec}` (made for `{loaded.info.method}`, asked for `{method}`)",
            hint=f"use --method {loaded.info.method}, or other weights",
        )
    return replace(loaded, name=spec)
