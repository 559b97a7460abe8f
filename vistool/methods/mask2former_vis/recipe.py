"""How `mask2former-vis` is trained: network, start from a parent, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from ...errors import WeightsError
from ...nn.presets import Mask2FormerSizes
from ...nn.targets import ClipTargets
from ...weights.checkpoint import Checkpoint
from . import loss
from .network import Mask2FormerVis
from .presets import PRESETS

CLASS_HEAD = "decoder.heads.class_embed."


class Mask2FormerRecipe:
    """The method's part of `vistool train`."""

    @property
    def presets(self) -> Mapping[str, Mask2FormerSizes]:
        return PRESETS

    def build(self, preset: Mask2FormerSizes) -> nn.Module:
        return Mask2FormerVis(preset)

    def start(self, preset: Mask2FormerSizes, parent: Checkpoint) -> Mapping[str, Tensor]:
        """All of `parent`; its class head is left behind when the data has another number of classes."""
        if parent.info.method != "mask2former-vis":
            raise WeightsError(
                f"cannot start from `{parent.name}` (it belongs to `{parent.info.method}`)",
                hint="start `mask2former-vis` from a mask2former-vis checkpoint",
            )
        keep_head = parent.info.sizes["num_classes"] == preset.num_classes
        return {k: v for k, v in parent.tensors.items() if keep_head or not k.startswith(CLASS_HEAD)}

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        return loss.losses(network(frames), targets, cast(Mask2FormerVis, network).sizes)
