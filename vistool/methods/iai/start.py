"""How IAI starts from other weights: of its own kind, or with a backbone alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import WeightsError
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import check_fit
from .network import Iai
from .presets import Preset

BACKBONE = "backbone."
"""Beginning of the names of its tensors here, and, after the names of what holds it, in every other method."""
OF_IDENTITIES = (
    "association.id_bank.",
    "association.local_attention.relative.",
    "association.out_norm.",
    "detector.head.id_",
    "detector.box_head.id_",
)
"""Beginnings of the names of what means nothing before somebody was seen twice."""


def start(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """Tensors for `Iai(preset)`; WeightsError when `parent` does not fit.

    From an iai checkpoint, which an image model may be as well, all that has the same shape: with other numbers of
    classes or identities, or another association, that part starts fresh. Backbone and image model must be the same.
    What was trained on single frames has never seen anybody again: what identities are learned by starts fresh, too.
    From another method's checkpoint the backbone.
    """
    if parent.info.method != "iai":
        return _backbone(preset, parent)
    theirs = Preset(**parent.info.sizes)
    if theirs.backbone != preset.backbone:  # two backbones of one shape may differ in where their strides stand
        raise WeightsError(
            f"cannot start from `{parent.name}` (its backbone is `{theirs.backbone}`, the preset's `{preset.backbone}`)"
        )
    same = {name: getattr(preset, name) for name in ("image_model", "image", "backbone_sizes")}
    fresh = OF_IDENTITIES if parent.info.trained_on == "images" else ()
    tensors, expected = (
        {name: tensor for name, tensor in each.items() if not name.startswith(fresh)}
        for each in (parent.tensors, _shapes(replace(theirs, **same)))
    )
    check_fit(expected, tensors, name=parent.name)
    return _of_one_shape(tensors, _shapes(preset))


def _backbone(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    tensors = {
        BACKBONE + name.partition(BACKBONE)[2]: tensor for name, tensor in parent.tensors.items() if BACKBONE in name
    }
    if not tensors:
        raise WeightsError(
            f"cannot start from `{parent.name}` (it belongs to `{parent.info.method}`, which has no backbone to share)",
            hint="start `iai` from an iai checkpoint, or from another one that stands on the same ResNet",
        )
    expected = {name: tensor for name, tensor in _shapes(preset).items() if name.startswith(BACKBONE)}
    check_fit(expected, tensors, name=parent.name)
    return tensors


def _of_one_shape(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name in wanted and wanted[name].shape == tensor.shape}


def _shapes(preset: Preset) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Iai(preset).state_dict()
