"""How the weights move: learning rate, what is decayed, and the running average that is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import AdamW

from ..errors import UsageError
from .options import TrainOptions

_DROP = 0.1  # factor of the learning rate at a milestone
_POWER = 0.9  # of the share of the steps that are left (DeepLab)


def learning_rate_factor(step: int, options: TrainOptions) -> float:
    """Of the peak rate, for the update from `step` to `step + 1`: a linear rise, then the schedule's fall."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    if options.schedule == "steps":
        return float(_DROP ** sum(step >= milestone for milestone in options.milestones))
    progress = (step - options.warmup) / (options.max_steps - options.warmup)
    if options.schedule == "poly":
        return float((1 - progress) ** _POWER)
    return 0.5 * (1 + math.cos(math.pi * progress))


def freeze(network: nn.Module, parts: Sequence[str]) -> None:
    """These modules and weights stay as they are; UsageError when there is no such part, or nothing is left to train.

    Frozen modules are in evaluation mode: their statistics stay too.
    """
    modules = dict(network.named_modules())
    for part in parts:
        own = [weight for name, weight in network.named_parameters() if f"{name}.".startswith(f"{part}.")]
        if not own:
            names = ", ".join(name for name, _ in network.named_children())
            raise UsageError(f"--freeze is no part of the network: `{part}`", hint=f"it has: {names}, and their parts")
        for weight in own:
            weight.requires_grad_(False)
        if part in modules:
            modules[part].eval()
    if not any(weight.requires_grad for weight in network.parameters()):
        raise UsageError("--freeze leaves nothing to train")


def make_optimiser(network: nn.Module, options: TrainOptions) -> AdamW:
    """AdamW over up to four groups: backbone or not, decayed or not; each remembers its `peak_lr`."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    decayed = decayed_parameters(network)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(("backbone" in name.split("."), name in decayed), []).append(parameter)
    return AdamW(
        [
            {
                "params": parameters,
                "peak_lr": options.lr * (options.backbone_lr if in_backbone else 1.0),
                "weight_decay": options.weight_decay if decays else 0.0,
            }
            for (in_backbone, decays), parameters in groups.items()
        ],
        lr=options.lr,
        fused=True,
    )


def set_learning_rate(optimiser: AdamW, factor: float) -> None:
    """Every group to `factor` of its own peak."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * factor


def decayed_parameters(network: nn.Module) -> set[str]:
    """Names of the weights of linear, convolution and attention layers. Norms, embeddings, biases, the rest: never."""
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if isinstance(module, (nn.Linear, nn.MultiheadAttention, *convolutions))
        for name, _ in module.named_parameters(recurse=False)
        if name.endswith("weight")
    }


class AveragedNetwork:
    """Exponential moving average of the parameters and floating buffers; other buffers are copied.

    The decay after update n is min(decay, (1 + n) / (10 + n)), so that the fresh weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Take in `network` as it is after this many updates, 1 for the first."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)
