"""How HITF starts from other weights: of its own kind, or with a backbone alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...errors import WeightsError
from ...nn.backbones import MSRA
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import check_fit
from .encoder import CODE_STD
from .layers import resized
from .network import Hitf
from .presets import Preset
from .temporal import POSITION_STD

BACKBONE = "backbone."
"""Beginning of the names of its tensors, after the names of what holds it, in every method."""
OURS = "encoder."
"""What holds it here."""
PLACES = "temporal.positions.space"
SLOTS = {"encoder.code": CODE_STD, "temporal.positions.slot": POSITION_STD}
DISTANCES = ("query_table", "key_table", "value_table")


def start(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """Tensors for `Hitf(preset)`; WeightsError when `parent` does not fit.

    From a hitf checkpoint all that has the same shape: with another number of classes, or another choice of parts,
    these start fresh. Tables of places and distances are made as long as the preset's, and say what they said; of more
    slots those beyond the parent's start fresh. From another method's the backbone, and from a converted ResNet, whose
    other parts nobody has trained. The backbone must be the preset's.
    """
    _check_strides(preset, parent)
    backbone = _backbone(parent)
    expected = {name: tensor for name, tensor in _shapes(preset).items() if name.startswith(OURS + BACKBONE)}
    check_fit(expected, backbone, name=parent.name)
    if parent.info.method != "hitf" or parent.info.untrained:
        return backbone
    check_fit(_shapes(Preset(**parent.info.sizes)), parent.tensors, name=parent.name)
    wanted = _shapes(preset)
    return _of_one_shape(_tables(parent.tensors, wanted), wanted)


def _backbone(parent: Checkpoint) -> dict[str, Tensor]:
    tensors = {
        OURS + BACKBONE + name.partition(BACKBONE)[2]: tensor
        for name, tensor in parent.tensors.items()
        if BACKBONE in name
    }
    if not tensors:
        raise WeightsError(
            f"cannot start from `{parent.name}` (it belongs to `{parent.info.method}`, which has no backbone to share)",
            hint="start `hitf` from a hitf checkpoint, or from another one that stands on the same ResNet",
        )
    return tensors


def _check_strides(preset: Preset, parent: Checkpoint) -> None:
    """Two backbones of one shape may differ in where their strides stand."""
    theirs = str(parent.info.sizes.get("backbone", preset.backbone))
    if theirs.endswith(MSRA) != preset.backbone.endswith(MSRA):
        raise WeightsError(
            f"cannot start from `{parent.name}` (its backbone is `{theirs}`, the preset's `{preset.backbone}`)"
        )


def _tables(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What another long side, or another number of slots, makes longer or shorter.

    Places are stretched (D17), distances cut or repeated (D18). Slots are cut, or fresh ones are added.
    """
    fitted = dict(tensors)
    for name, table in sorted(tensors.items()):  # or the draw of fresh slots would hang on the order of the parent
        if name not in wanted:
            continue
        shape = wanted[name].shape
        if name == PLACES:
            fitted[name] = resized(table[None], shape[-2:])[0]
        elif name.endswith(DISTANCES):
            around = len(table) // 2 - shape[0] // 2 + torch.arange(shape[0])
            fitted[name] = table[around.clamp(0, len(table) - 1)]
        elif name in SLOTS and table.shape[1:] == shape[1:]:
            fresh = nn.init.trunc_normal_(torch.empty(max(shape[0] - len(table), 0), *shape[1:]), std=SLOTS[name])
            fitted[name] = torch.cat([table[: shape[0]], fresh])
    return fitted


def _of_one_shape(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name in wanted and wanted[name].shape == tensor.shape}


def _shapes(preset: Preset) -> dict[str, Tensor]:
    with torch.device("meta"):
        return Hitf(preset).state_dict()
