"""How `msts` is trained: network, start from a parent, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from ...nn.targets import ClipTargets
from ...weights.checkpoint import Checkpoint
from . import loss
from .discriminator import Discriminator
from .learning import LearningRules
from .network import Msts
from .presets import PRESETS, Preset
from .start import start


@dataclass(frozen=True, slots=True)
class MstsRecipe:
    """The method's part of `vistool train`. `rules` replaces those of the preset, to try out others."""

    rules: LearningRules | None = None

    @property
    def presets(self) -> Mapping[str, Preset]:
        return PRESETS

    def build(self, preset: Preset) -> nn.Module:
        network = Msts(preset)
        if self._rules(preset).adversarial:
            network.add_module("discriminator", Discriminator(preset.dim))
        return network

    def start(self, preset: Preset, parent: Checkpoint) -> Mapping[str, Tensor]:
        return start(preset, parent)

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        learner = cast(Msts, network)
        return loss.losses(learner, frames, targets, self._rules(learner.preset))

    def _rules(self, preset: Preset) -> LearningRules:
        return self.rules or LearningRules(**preset.learning)
