"""How IFR starts from other weights: Mask2Former's decoder layers are IFR's, and the rest begins as the identity.

With the aligned clip update, whose output projections are zero, a clip of one frame then gives what Mask2Former gives.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...errors import WeightsError
from ...weights.checkpoint import Checkpoint
from .presets import Preset

CLASS_HEAD = "decoder.heads.class_embed."


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
    if parent.info.sizes["num_classes"] != preset.num_classes:
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(CLASS_HEAD)}
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
