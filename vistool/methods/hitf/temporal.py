"""A frame takes turns at looking at the frames before it and at itself. These are what the backbone made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import InterFrameAttention, IntraFrameAttention, Keys, joined
from .layers import map_block, resized, token_block, tokens_of
from .presets import Preset

POSITION_STD = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What later frames need of a frame; without channels where nothing looks back."""

    code: Tensor  # (B, L, D)
    pixels: Tensor  # (B, D, h, w)


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """A reference with its keys and values for every round, before it has an age."""

    rounds: tuple[Keys, ...]


class Positions(nn.Module):
    """Learned: which slot, where in the frame, how long ago."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        side = 1 + (preset.long_side - 1) // preset.output_stride
        self.slot = nn.Parameter(torch.empty(preset.max_slots, preset.dim))
        self.space = nn.Parameter(torch.empty(preset.dim, side, side))
        self.time = nn.Parameter(torch.empty(preset.references + 1, preset.dim))  # row 0: the frame itself
        for table in (self.slot, self.space, self.time):
            nn.init.trunc_normal_(table, std=POSITION_STD)

    def of_code(self, slots: int) -> Tensor:
        """(L, D)."""
        return self.slot[:slots]

    def of_pixels(self, size_hw: Sequence[int]) -> Tensor:
        """(h·w, D): the table stretched to the map, so that it says where in the frame and not how many cells away."""
        return tokens_of(resized(self.space[None], size_hw))[0]


class Temporal(nn.Module):
    """M rounds of inter-frame and intra-frame attention."""

    def __init__(self, preset: Preset, channels: int) -> None:
        super().__init__()
        self.references = preset.references
        looks_back = preset.inter_code or preset.inter_pixels
        rounds = range(preset.rounds)
        self.intra = nn.ModuleList(IntraFrameAttention(preset, channels) for _ in rounds)
        self.inter = nn.ModuleList(InterFrameAttention(preset, channels) for _ in rounds if looks_back)
        self.positions = Positions(preset) if looks_back else None
        self.code_reduce = token_block(preset.dim, preset.dim, preset.norm) if looks_back else None
        self.pixel_reduce = map_block(channels, preset.dim, preset.norm) if preset.inter_code else None

    def summarise(self, code: Tensor, pixels: Tensor) -> Reference:
        """code (B, L, D) and pixels (B, C, h, w) of a frame on its own → what is kept of it."""
        return Reference(
            code[..., :0] if self.code_reduce is None else self.code_reduce(code),
            pixels[:, :0] if self.pixel_reduce is None else self.pixel_reduce(F.relu(pixels)),
        )

    def forward(self, code: Tensor, pixels: Tensor, references: Sequence[Reference]) -> tuple[Tensor, Tensor]:
        """code (B, L, D), pixels (B, C, h, w), 1 to R references, newest first → code and pixels after all rounds."""
        self._check(len(references))
        if self.positions is None:
            return self._rounds(code, pixels, ())
        ages = self.positions.time[1 : 1 + len(references)]
        codes, maps = [], []
        for reference, age in zip(references, ages, strict=True):
            codes.append(reference.code + self.positions.of_code(reference.code.shape[1]) + age)
            maps.append(self._placed(reference) + age)
        codes_of_all, pixels_of_all = torch.cat(codes, 1), torch.cat(maps, 1)
        return self._rounds(code, pixels, [inter.keys(codes_of_all, pixels_of_all) for inter in self._inter()])

    def remember(self, reference: Reference) -> Remembered:
        """In eval: what `recall` wants of a reference, at whichever age."""
        if self.positions is None:
            return Remembered(())
        code = reference.code + self.positions.of_code(reference.code.shape[1])
        pixels = self._placed(reference)
        return Remembered(tuple(inter.keys(code, pixels) for inter in self._inter()))

    def recall(self, code: Tensor, pixels: Tensor, remembered: Sequence[Remembered]) -> tuple[Tensor, Tensor]:
        """In eval: as `forward`, of references that were projected when they were seen."""
        self._check(len(remembered))
        if self.positions is None:
            return self._rounds(code, pixels, ())
        ages = self.positions.time[1 : 1 + len(remembered), None]
        keys = [
            joined([inter.aged(seen.rounds[turn], age) for seen, age in zip(remembered, ages, strict=True)])
            for turn, inter in enumerate(self._inter())
        ]
        return self._rounds(code, pixels, keys)

    def _rounds(self, code: Tensor, pixels: Tensor, keys: Sequence[Keys]) -> tuple[Tensor, Tensor]:
        """Looking back comes first in each round."""
        if self.positions is not None:
            now = self.positions.time[0]
            places = self.positions.of_code(code.shape[1]) + now, self.positions.of_pixels(pixels.shape[-2:]) + now
        for turn, intra in enumerate(self.intra):
            if self.positions is not None:
                code, pixels = self.inter[turn](code, pixels, places, keys[turn])
            code, pixels = intra(code, pixels)
        return code, pixels

    def _placed(self, reference: Reference) -> Tensor:
        """Pixels of a reference as tokens (B, P, D) that know where they are; none where nobody looks at them."""
        if self.positions is None or self.pixel_reduce is None:
            return reference.code[:, :0]
        return tokens_of(reference.pixels) + self.positions.of_pixels(reference.pixels.shape[-2:])

    def _inter(self) -> list[InterFrameAttention]:
        return [layer for layer in self.inter if isinstance(layer, InterFrameAttention)]

    def _check(self, count: int) -> None:
        if not 1 <= count <= self.references:
            raise ValueError(f"{count} references, where there are 1 to {self.references} ages")
