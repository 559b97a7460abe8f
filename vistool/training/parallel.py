"""Several processes, one run: each makes its share of a batch, and all take the mean of their gradients.

`torchrun` starts the processes and says so in the environment. Every process begins with the same weights (same seed)
and makes the same updates, so nothing but gradients is exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from ..errors import UsageError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The clips of a batch that this process makes; UsageError when they cannot be shared evenly."""
        if batch % self.count:
            raise UsageError(f"--batch does not fit: `{batch}` (it is shared evenly by {self.count} processes)")
        own = batch // self.count
        return range(self.rank * own, (self.rank + 1) * own)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every gradient becomes the mean over the processes; one that a process lacks counts as 0."""
        if self.count == 1:
            return
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients]
        means: tuple[Tensor, ...] = torch.split_with_sizes(flat / self.count, sizes)
        for parameter, gradient, mean in zip(learned, gradients, means, strict=True):
            parameter.grad = gradient.copy_(mean.view_as(gradient))

    def any(self, flag: bool, device: str) -> bool:
        """Whether it holds in any process."""
        if self.count == 1:
            return flag
        votes: Tensor = torch.tensor(float(flag), device=device)
        distributed.all_reduce(votes)
        return bool(votes > 0)


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, str]]:
    """The processes that torchrun started, and this one's device; alone when it started none."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(), device
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
