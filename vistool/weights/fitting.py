"""A checkpoint in a network: every tensor accounted for, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .checkpoint import Checkpoint

_NAMED = 3  # tensors that a message names of each kind


def load_into(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Give the network the weights of the checkpoint; WeightsError unless they fit exactly."""
    check_fit(network.state_dict(), checkpoint.tensors, name=checkpoint.name)
    network.load_state_dict(dict(checkpoint.tensors))


def check_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], *, name: str) -> None:
    """WeightsError naming tensors that are missing, not wanted, or of another shape, the first few of each."""
    faults = {
        "missing": [f"`{key}`" for key in expected if key not in given],
        "not wanted": [f"`{key}`" for key in given if key not in expected],
        "misshaped": [
            f"`{key}` {tuple(given[key].shape)} instead of {tuple(tensor.shape)}"
            for key, tensor in expected.items()
            if key in given and given[key].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        told = "; ".join(f"{len(keys)} {fault}: {_first(keys)}" for fault, keys in faults.items() if keys)
        raise WeightsError(
            f"weights do not fit: `{name}` ({told})", hint="use the weights of this method and preset, unchanged"
        )


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:_NAMED]) + (", …" if len(keys) > _NAMED else "")
