"""How `hitf` is trained: network, start from a parent, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from ...nn.targets import ClipTargets
from ...weights.checkpoint import Checkpoint
from . import loss
from .network import Hitf
from .presets import PRESETS, Preset
from .start import start


class HitfRecipe:
    """The method's part of `vistool train`."""

    @property
    def presets(self) -> Mapping[str, Preset]:
        return PRESETS

    def build(self, preset: Preset) -> nn.Module:
        return Hitf(preset)

    def start(self, preset: Preset, parent: Checkpoint) -> Mapping[str, Tensor]:
        return start(preset, parent)

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        return loss.losses(cast(Hitf, network), frames, targets)
