"""Batches for the loop, made ahead of need in one background thread (decoding and resizing release the interpreter)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ..nn.targets import ClipTargets
from .augment import Jitter, Triple, augment
from .dataset import ClipReader, ClipSampler


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from."""

    frames: Tensor  # float32 (B, T, 3, H, W), normalised; the channels lie last in memory
    targets: tuple[ClipTargets, ...]  # B


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Makes the batch of any step: a pure function of the step, but for the cache of pictures behind it."""

    reader: ClipReader
    sampler: ClipSampler
    numbers: range  # which clips of a step's batch are made here
    jitter: Jitter
    pixel_mean: Triple
    pixel_std: Triple

    def __call__(self, step: int) -> Batch:
        pairs = []
        for number in self.numbers:
            clip = self.reader.read(*self.sampler.choose(step, number))
            seed = [self.sampler.seed, step, number, 1]
            pairs.append(augment(clip, seed, self.jitter, self.pixel_mean, self.pixel_std))
        # Put together by NumPy: torch would start threads of its own here, beside those of the loop.
        pictures = torch.from_numpy(np.stack([frames for frames, _ in pairs]))
        return Batch(pictures.permute(0, 1, 4, 2, 3), tuple(targets for _, targets in pairs))


def ahead(make: Callable[[int], Batch], first: int, end: int, *, depth: int = 3) -> Generator[Batch]:
    """make(first), …, make(end - 1), in order, up to `depth` of them made before they are asked for."""
    steps = iter(range(first, end))
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            waiting.extend(pool.submit(make, step) for step in islice(steps, depth))
            while waiting:
                batch = waiting.popleft().result()
                waiting.extend(pool.submit(make, step) for step in islice(steps, 1))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
