"""How IFR starts from other weights: Mask2Former's decoder layers are IFR's, and the rest begins as the identity.

With the aligned clip update, whose output projections are zero, a clip of one frame then gives what Mask2Former gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import WeightsError
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import check_fit
from .network import Ifr
from .presets import Preset

CLASS_HEAD = "decoder.heads.class_embed."
OWN = ("decoder.clip_updates.", "decoder.rho", "decoder.group_embed")
"""What IFR adds to Mask2Former, by the beginning of the names."""


def start(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """Tensors for `Ifr(preset)` from an ifr or mask2former-vis checkpoint.

    The class head comes along when it names as many classes as the data, and is turned into sigmoid logits if need be.
    """
    if parent.info.method not in ("ifr", "mask2former-vis"):
        raise WeightsError(
            f"cannot start from `{parent.name}` (it belongs to `{parent.info.method}`)",
            hint="start `ifr` from an ifr or a mask2former-vis checkpoint",
        )
    tensors = dict(parent.tensors)
    with torch.device("meta"):
        expected = Ifr(preset).state_dict()
    if parent.info.method != "ifr":
        expected = _without(expected, OWN)
    if parent.info.sizes["num_classes"] != preset.num_classes:
        expected, tensors = _without(expected, CLASS_HEAD), _without(tensors, CLASS_HEAD)
    else:
        tensors = _with_head(tensors, parent, preset)
    check_fit(expected, tensors, name=parent.name)
    return tensors


def _without(tensors: Mapping[str, Tensor], beginnings: str | tuple[str, ...]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(beginnings)}


def _with_head(tensors: dict[str, Tensor], parent: Checkpoint, preset: Preset) -> dict[str, Tensor]:
    """The class head in the form that the preset asks for (A12)."""
    softmax = parent.info.sizes.get("class_head", "softmax") == "softmax"
    if softmax and preset.class_head == "sigmoid":
        return with_sigmoid_head(tensors)
    if not softmax and preset.class_head == "softmax":
        raise WeightsError(
            f"cannot start from `{parent.name}` (its class head is sigmoid, the preset's is softmax)",
            hint="softmax weights become sigmoid ones, not the other way round",
        )
    return tensors


def with_sigmoid_head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Subtract the no-object row: sigmoid(z_k - z_∅) is the softmax of class k against no-object alone."""
    return {
        name: tensor[:-1] - tensor[-1:] if name.startswith(CLASS_HEAD) else tensor for name, tensor in tensors.items()
    }
