"""How `refinevis` is trained: network, start from a parent, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from torch import Tensor, nn

from ...nn.targets import ClipTargets
from ...weights.checkpoint import Checkpoint
from . import loss
from .learning import LearningRules
from .network import RefineVis
from .presets import PRESETS, Preset
from .remembered import RememberedFrames
from .start import start

REMEMBERED_BYTES = 4 * 10**9


@dataclass(frozen=True, slots=True)
class RefineVisRecipe:
    """The method's part of `vistool train`. `rules` replaces those of the preset, to try out others."""

    rules: LearningRules | None = None
    remembered: RememberedFrames = field(default_factory=lambda: RememberedFrames(REMEMBERED_BYTES), compare=False)
    """Of one run: what a frozen image model said."""

    @property
    def presets(self) -> Mapping[str, Preset]:
        return PRESETS

    def build(self, preset: Preset) -> nn.Module:
        return RefineVis(preset)

    def start(self, preset: Preset, parent: Checkpoint) -> Mapping[str, Tensor]:
        return start(preset, parent)

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        return loss.losses(cast(RefineVis, network), frames, targets, self.rules, self.remembered)
