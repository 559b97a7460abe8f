"""How `mask2former-vis` is trained: network, start from a parent, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ...errors import WeightsError
from ...nn.presets import Mask2FormerSizes
from ...nn.targets import ClipTargets
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import check_fit
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
        with torch.device("meta"):
            expected = Mask2FormerVis(preset).state_dict()
        tensors = dict(parent.tensors)
        if parent.info.sizes["num_classes"] != preset.num_classes:
            expected, tensors = _without_class_head(expected), _without_class_head(tensors)
        check_fit(expected, tensors, name=parent.name)
        return tensors

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        return loss.losses(network(frames), targets, cast(Mask2FormerVis, network).sizes)


def _without_class_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(CLASS_HEAD)}
