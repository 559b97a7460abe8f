"""What a training clip contains, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClipTargets:
    """The objects of one clip; row n of both is the same object. An object may be absent on some of the frames."""

    labels: Tensor  # int64 (N,), row of `categories`
    masks: Tensor  # bool (N, T, H, W), at the size of the network's input
    times: Tensor | None = None  # int64 (T,), numbers of the frames in the video; None: 0, 1, …

    def to(self, device: str) -> ClipTargets:
        times = None if self.times is None else self.times.to(device)
        return ClipTargets(self.labels.to(device), self.masks.to(device), times)
