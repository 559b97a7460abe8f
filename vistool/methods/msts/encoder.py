"""The encoder: Deformable DETR's, frame by frame, and split attention over the clip beside its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from ...nn.deformable_detr import Beside, DeformableEncoder, Levels
from .presets import Preset
from .split_attention import SplitAttention


class ClipEncoder(DeformableEncoder):
    """In the release frames do not see one another here; in the paper the branch of every layer shows them all."""

    def __init__(self, channels: Sequence[int], preset: Preset) -> None:
        super().__init__(
            channels,
            dim=preset.dim,
            heads=preset.heads,
            hidden=preset.encoder_ffn,
            layers=preset.encoder_layers,
            points=preset.encoder_points,
            dropout=preset.dropout,
        )
        branches = 1 if preset.share_layers else preset.encoder_layers
        self.split = nn.ModuleList(SplitAttention(preset) for _ in range(branches * preset.encoder_attention))

    def forward(self, maps: Sequence[Tensor], padding: Tensor | None = None, frames: int = 1) -> Levels:
        """Three maps fine to coarse of B clips of so many frames (B·T, C_i, h_i, w_i), padding bool (B·T, H, W)."""
        levels, position = self.flatten(maps, padding)
        return self.attend(_as_on_first_frames(levels, frames), position, self._beside(frames))

    def _beside(self, frames: int) -> list[Beside]:
        branches: list[Beside] = [partial(branch, frames=frames) for branch in self.split]
        return branches * (len(self.layers) // len(branches)) if branches else []


def _as_on_first_frames(levels: Levels, frames: int) -> Levels:
    """What of a level is not padding is read off the first frame of a clip (the release); all frames have its size."""
    if levels.padding is None:
        return levels
    return replace(levels, valid=levels.valid[::frames].repeat_interleave(frames, dim=0))
