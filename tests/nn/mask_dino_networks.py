"""Small MaskDINOs of every published layout, for tests. Weights are random everywhere, so that nothing hides in a 0."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from vistool.nn.mask_dino.network import MaskDino
from vistool.nn.mask_dino.sizes import PRESETS, MaskDinoSizes

M = TypeVar("M", bound=nn.Module)

SMALL = replace(PRESETS["tiny"], num_classes=5, queries=7, encoder_layers=1, decoder_layers=2)
LAYOUTS: dict[str, MaskDinoSizes] = {
    name: replace(
        SMALL,
        finest_stride=PRESETS[name].finest_stride,
        extra_level=PRESETS[name].extra_level,
        coarse_first=PRESETS[name].coarse_first,
        anchors=PRESETS[name].anchors,
    )
    for name in ("r50-hid1024", "r50-hid2048", "swin-l")
}


def randomised(module: M, std: float = 0.2) -> M:
    """The module in evaluation, every parameter moved at random."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += std * torch.randn_like(parameter)
    return module.eval()


def network(sizes: MaskDinoSizes = SMALL) -> MaskDino:
    """A network whose backbone is as built, so that its maps stay of an ordinary size."""
    built = MaskDino(sizes).eval()
    for part in (built.encoder, built.selection, built.decoder, built.heads):
        randomised(part)
    return built
