"""Parts of a network that only training needs."""

from __future__ import annotations

from torch import Tensor, nn


class TrainingOnly(nn.Module):
    """Such a part, a discriminator for one: it is in the state of a run, and in no checkpoint."""


def kept(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network that a checkpoint holds: all but those of its parts for training."""
    dropped = tuple(f"{name}." for name, part in network.named_modules() if isinstance(part, TrainingOnly))
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(dropped)}
