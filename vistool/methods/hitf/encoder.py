"""One frame on its own: a ResNet whose last stage exchanges, after every block, with the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn.backbones import Backbone
from .attention import IntraFrameAttention
from .axial import AxialAttention, FullAttention
from .grid import aligned
from .presets import Preset
from .temporal import Reference


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """What a frame is before it looks at others."""

    code: Tensor  # (B, L, D)
    pixels: Tensor  # (B, C, h, w), before its activation
    fine: Tensor  # (B, C2, H/4, W/4), for the decoder
    reference: Reference


CODE_STD = 1.0
PIXEL_ATTENTION: dict[str, Callable[[Preset, int], nn.Module]] = {"axial": AxialAttention, "full": FullAttention}


class Encoder(nn.Module):
    """Backbone, learned code, and the attention layers between the blocks of the last stage."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.stride, self.slots = preset.output_stride, preset.slots
        self.backbone = Backbone(preset.backbone, frozen_norms=preset.frozen_norms, sizes=preset.backbone_sizes)
        if not hasattr(self.backbone.body, "embedder"):
            raise ValueError(f"not a ResNet: `{preset.backbone}`")
        self.channels = self.backbone.channels
        if self.stride == 16:
            _dilate(self._stages[-1])
        layers = range(len(self._stages[-1].layers))
        self.code = nn.Parameter(nn.init.trunc_normal_(torch.empty(preset.max_slots, preset.dim), std=CODE_STD))
        self.intra = nn.ModuleList(IntraFrameAttention(preset, self.channels[-1]) for _ in layers)
        made = PIXEL_ATTENTION.get(preset.pixel_attention)
        self.pixel_attn = nn.ModuleList(made(preset, self.channels[-1]) for _ in layers if made is not None)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """frames (B, 3, H, W) → code (B, L, D), pixels (B, C, h, w) before their activation, fine (B, C2, H/4, W/4)."""
        body: Any = self.backbone.body
        *earlier, last = self._stages
        fine = pixels = earlier[0](body.embedder(aligned(frames, self.stride)))
        for stage in earlier[1:]:
            pixels = stage(pixels)
        code = self.code[: self.slots].expand(len(frames), -1, -1)
        for number, block in enumerate(last.layers):
            pixels = F.relu(pixels)  # nothing changes for the first block
            pixels = block.layer(pixels) + block.shortcut(pixels)
            if len(self.pixel_attn):
                pixels = pixels + self.pixel_attn[number](pixels)
            code, pixels = self.intra[number](code, pixels)
        return code, pixels, fine

    @property
    def _stages(self) -> Any:
        body: Any = self.backbone.body
        return body.encoder.stages


def _dilate(stage: Any) -> None:
    """Take the stride out of a stage: what came after it now looks at every second cell."""
    dilated = False
    for block in stage.layers:
        convolutions = [part.convolution for part in block.layer]
        for convolution in convolutions:
            if dilated and convolution.kernel_size != (1, 1):
                convolution.dilation = convolution.padding = (2, 2)
            if convolution.stride != (1, 1):
                convolution.stride, dilated = (1, 1), True
        if hasattr(block.shortcut, "convolution"):
            block.shortcut.convolution.stride = (1, 1)
