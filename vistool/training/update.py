"""One update of the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import VistoolError
from ..methods import Recipe
from .batches import Batch
from .checkpoints import RunState
from .options import TrainOptions
from .parallel import Processes
from .schedule import learning_rate_factor, set_learning_rate


@dataclass(frozen=True, slots=True)
class Numbers:
    """What one update says of itself."""

    terms: dict[str, float]  # of the loss, weighted; their sum is the loss
    gradient_norm: float  # before clipping
    lr: float  # peak of all groups


@dataclass(frozen=True, slots=True)
class Updater:
    """Takes a batch and moves the state one step on."""

    options: TrainOptions
    processes: Processes
    recipe: Recipe
    state: RunState

    def update(self, batch: Batch) -> Numbers:
        """VistoolError when a term of the loss or the gradient is not finite; the weights are then untouched."""
        options, state = self.options, self.state
        entropy = np.random.SeedSequence([options.seed, state.step, self.processes.rank])
        torch.manual_seed(int(entropy.generate_state(1)[0]))
        factor = learning_rate_factor(state.step, options)
        set_learning_rate(state.optimiser, factor)

        terms = self._backward(batch)
        self.processes.average_gradients(state.network.parameters())
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), options.clip_norm or math.inf).item()
        self._require_finite("gradient norm", norm)
        state.optimiser.step()
        state.optimiser.zero_grad()
        state.step += 1
        state.averaged.update(state.network, state.step)
        return Numbers(terms, norm, options.lr * factor)

    def _backward(self, batch: Batch) -> dict[str, float]:
        device = self.options.device
        frames = batch.frames.to(device, non_blocking=True)
        targets = [target.to(device) for target in batch.targets]
        kind = torch.device(device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.options.precision == "bf16"):
            terms = self.recipe.losses(self.state.network, frames, targets)
        values = dict(zip(terms, torch.stack([term.detach().float() for term in terms.values()]).tolist(), strict=True))
        for name, value in values.items():
            self._require_finite(name, value)
        torch.stack([term.float() for term in terms.values()]).sum().backward()
        return values

    def _require_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            raise VistoolError(
                f"training has diverged at step {self.state.step}: `{name}` is {value}",
                hint="begin again with a lower --lr, a longer --warmup or a lower --clip-norm",
            )
