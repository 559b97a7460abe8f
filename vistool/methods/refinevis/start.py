"""How RefineVIS starts from other weights: of its own kind, or of Mask2Former, on which its image models stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import WeightsError
from ...weights.checkpoint import Checkpoint
from ...weights.fitting import check_fit
from .network import RefineVis
from .presets import Preset

FRESH = ("reid_head.", "tar.")
"""Parts that weights of an image model lack; both start on their own, the refinement as the identity."""
SHARED: Mapping[str, str] = {"trunk.backbone.": "image.backbone.", "trunk.pixel_decoder.": "image.encoder."}
"""Parts that Mask2Former and MaskDINO share, by the beginning of the names."""


def start(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """Tensors for `RefineVis(preset)`; WeightsError when `parent` does not fit.

    From a refinevis checkpoint all; class heads only when it names as many classes as the data. From Mask2Former the
    whole image model, or for MaskDINO its backbone, and its encoder where sizes are the same.
    """
    if parent.info.method != "refinevis" and preset.image_model == "maskdino":
        return _shared(preset, parent)
    tensors, expected = _of_family(preset, parent), _shapes(preset)
    absent = tuple(part for part in FRESH if not any(name.startswith(part) for name in tensors))
    expected = {name: tensor for name, tensor in expected.items() if not name.startswith(absent)}
    if parent.info.sizes["num_classes"] != preset.num_classes:
        heads = _class_heads(preset)
        expected, tensors = ({n: t for n, t in each.items() if n not in heads} for each in (expected, tensors))
    check_fit(expected, tensors, name=parent.name)
    return tensors


def _of_family(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """The parent's tensors by our names."""
    if parent.info.method == "refinevis":
        return dict(parent.tensors)
    if parent.info.method == "mask2former-vis" and preset.image_model == "mask2former":
        return {f"image.{name}": tensor for name, tensor in parent.tensors.items()}
    raise _stranger(preset, parent)


def _shared(preset: Preset, parent: Checkpoint) -> dict[str, Tensor]:
    """What MaskDINO takes from Mask2Former."""
    if parent.info.method not in ("mask2former-vis", "ifr"):
        raise _stranger(preset, parent)
    expected, taken = _shapes(preset), dict[str, Tensor]()
    for theirs, ours in SHARED.items():
        part = {
            ours + name.removeprefix(theirs): tensor
            for name, tensor in parent.tensors.items()
            if name.startswith(theirs)
        }
        wanted = {name: tensor for name, tensor in expected.items() if name.startswith(ours)}
        fits = {name: tensor.shape for name, tensor in part.items()} == {n: t.shape for n, t in wanted.items()}
        if fits:
            taken |= part
        elif ours == "image.backbone.":
            check_fit(wanted, part, name=parent.name)
    return taken


def _stranger(preset: Preset, parent: Checkpoint) -> WeightsError:
    return WeightsError(
        f"cannot start from `{parent.name}` (it belongs to `{parent.info.method}`, the preset stands on "
        f"`{preset.image_model}`)",
        hint="start `refinevis` from a refinevis checkpoint, or MaskDINO and Mask2Former from a mask2former-vis one",
    )


def _shapes(preset: Preset) -> dict[str, Tensor]:
    with torch.device("meta"):
        return RefineVis(preset).state_dict()


def _class_heads(preset: Preset) -> set[str]:
    """Tensors with a row a class."""
    more = _shapes(replace(preset, num_classes=preset.num_classes + 1))
    return {name for name, tensor in _shapes(preset).items() if tensor.shape != more[name].shape}
