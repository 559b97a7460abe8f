"""Networks in and out of vistool checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, WeightsError
from ..methods import Recipe
from ..nn.training_only import kept
from ..weights import checkpoint as checkpoint_file
from ..weights.checkpoint import Checkpoint, CheckpointInfo
from .annotations import Annotations
from .checkpoints import RunState
from .options import TrainOptions
from .progress import note

Triple = tuple[float, float, float]


def start_network(
    recipe: Recipe, options: TrainOptions, num_classes: int, parent: Checkpoint | None
) -> tuple[Any, nn.Module]:
    """The preset for this many classes and its network on the device, with the parent's weights where it has them."""
    if options.preset not in recipe.presets:
        raise UsageError(
            f"--preset is unknown for {options.method}: `{options.preset}`", hint=f"one of: {', '.join(recipe.presets)}"
        )
    preset = replace(recipe.presets[options.preset], num_classes=num_classes)
    torch.manual_seed(options.seed)
    network = recipe.build(preset)
    if parent is not None:
        _fill(network, recipe.start(preset, parent), parent)
    return preset, network.to(options.device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], parent: Checkpoint) -> None:
    result = network.load_state_dict(dict(tensors), strict=False)
    if result.unexpected_keys:
        raise WeightsError(f"weights do not fit: `{parent.name}` (the network has no `{result.unexpected_keys[0]}`)")
    if result.missing_keys:
        note(
            f"{len(result.missing_keys)} tensors start fresh, `{parent.name}` has none for `{result.missing_keys[0]}` …"
        )


@dataclass(frozen=True, slots=True)
class Exporter:
    """Makes checkpoints of a run's averaged weights."""

    options: TrainOptions
    preset: Any
    annotations: Annotations
    pixel_mean: Triple
    pixel_std: Triple
    parent: Checkpoint | None

    def checkpoint(self, state: RunState, *, ap: float | None = None) -> Checkpoint:
        """The averaged weights as they are now, without those that only training needs; the tensors are copies."""
        options = self.options
        measured = {}
        if (
            options.val and options.val_videos == 0 and ap is not None
        ):  # AP of a part would be taken for that of the set
            measured[options.val.resolve().parent.name] = ap
        info = CheckpointInfo(
            method=options.method,
            preset=options.preset,
            sizes=asdict(self.preset),
            categories=self.annotations.categories,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            short_side=min(options.size_hw),
            conf=options.conf,
            trained_on="images" if options.clip_frames == 1 else "videos",
            training_data=options.training_data or self.annotations.description,
            licence=options.licence,
            ap=measured,
            parent=_name(self.parent) if self.parent else None,
            notes=f"averaged weights after step {state.step} of {options.max_steps}",
        )
        tensors = {
            name: tensor.detach().cpu().contiguous().clone() for name, tensor in kept(state.averaged.network).items()
        }
        return Checkpoint(info, tensors, name=f"{options.out.name}, step {state.step}")

    def write(self, path: Path, checkpoint: Checkpoint) -> None:
        """Replace the file."""
        checkpoint_file.write(path, checkpoint.info, checkpoint.tensors, half=self.options.half, overwrite=True)


def _name(parent: Checkpoint) -> str:
    return f"{Path(parent.name).name} sha256:{parent.sha256}" if parent.sha256 else parent.name
