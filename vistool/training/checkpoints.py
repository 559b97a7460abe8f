"""The full state of a run on disk: one file, replaced as a whole, so a kill at any moment leaves a loadable one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import AdamW

from ..errors import InputError, UsageError
from .options import flag
from .schedule import AveragedNetwork

_FORMAT = "vistool-training-state-1"


@dataclass(slots=True)
class RunState:
    """All that an update changes. There is no generator state: every random number is a function of the step."""

    network: nn.Module
    averaged: AveragedNetwork
    optimiser: AdamW
    step: int = 0  # updates done
    best_ap: float | None = None  # of the averaged weights, on the validation videos
    best_step: int | None = None

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write everything; `settings` is what a resumption must share."""
        run = {"step": self.step, "best_ap": self.best_ap, "best_step": self.best_step, "settings": settings}
        partial = path.with_suffix(".partial")
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self._tensors()}
        save_file(tensors, partial, metadata={"format": _FORMAT, "run": json.dumps(run)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)

    def load(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Become what was saved; UsageError names a setting that is not what the run began with."""
        run, tensors = _read(path)
        _require_equal(run["settings"], settings)
        # The optimiser has tensors only for parameters that ever had a gradient, and none before its first update.
        self._make_moments({int(name.split(".")[1]) for name in tensors if name.startswith("optimiser.")})
        own = dict(self._tensors())
        if own.keys() != tensors.keys():
            raise InputError(f"training state does not fit: `{path}` ({sorted(own.keys() ^ tensors.keys())[0]})")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])  # in place: strides and devices stay
        self.step, self.best_ap, self.best_step = run["step"], run["best_ap"], run["best_step"]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.network.state_dict().items():
            yield f"network.{name}", tensor
        for name, tensor in self.averaged.network.state_dict().items():
            yield f"averaged.{name}", tensor
        for number, moments in self.optimiser.state_dict()["state"].items():
            for name, tensor in moments.items():
                yield f"optimiser.{number}.{name}", tensor

    def _make_moments(self, numbers: set[int]) -> None:
        """Make the optimiser's tensors for the parameters with these numbers, by an update that moves nothing."""
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        for number in numbers:
            parameters[number].grad = torch.zeros_like(parameters[number])
        for group in self.optimiser.param_groups:
            group["lr"] = 0.0
        self.optimiser.step()
        self.optimiser.zero_grad()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"not a training state: `{path}` (no `{_FORMAT}` in it)")
            return json.loads(metadata["run"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as e:
        raise InputError(f"cannot read training state: `{path}` ({e})") from e


def _require_equal(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise UsageError(
                f"{flag(name)} is not what the run began with: `{value}` (it was `{before.get(name)}`)",
                hint="resume with the same options, or start a new run from its weights with --init",
            )
