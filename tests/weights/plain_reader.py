"""A method that reads one layout of one tensor, and foreign files for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from checkpoint_samples import INFO
from safetensors.torch import save_file

from vistool.errors import WeightsError
from vistool.weights import registry
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.foreign import Foreign
from vistool.weights.registry import Entry

TWO_CLASSES = replace(INFO, ap={}, parent=None, notes="", licence="that of the converted file")


@dataclass
class PlainReader:
    """Reads `a`, and counts how often."""

    layouts: tuple[str, ...] = ("starred", "plain")
    converted: list[str] = field(default_factory=list)

    def convert(self, foreign: Foreign, layout: str) -> Checkpoint:
        if layout != "plain" or foreign.tensors.keys() != {"a"}:
            raise WeightsError(f"{layout} does not fit")
        self.converted.append(layout)
        return Checkpoint(TWO_CLASSES, {"a": foreign.tensors["a"]})


def plain_folder(folder: Path, *, value: float = 1.0, config: str = "") -> Path:
    """A folder as the hub has it."""
    folder.mkdir(parents=True)
    save_file({"a": torch.full((1000,), value)}, folder / "model.safetensors")
    if config:
        (folder / "config.json").write_text(config)
    return folder


def known(patch: pytest.MonkeyPatch, *entries: Entry) -> None:
    """These are all of weights.toml."""
    patch.setattr(registry, "entries", lambda: {each.key: each for each in entries})


def entry(source: str, **fields: object) -> Entry:
    """An entry called `one`, as weights.toml would have it."""
    common = {"method": "ifr", "preset": "tiny", "layout": "plain", "licence": "MIT", "free": True}
    rows = {**common, "categories": ["ring", "star"], "source": source, **fields}
    lines = [f"{name} = {_toml(value)}" for name, value in rows.items()]
    return registry.parse("[one]\n" + "\n".join(lines))["one"]


def _toml(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | list) else f'"{value}"'
    )
