"""SeqFormer's decoder (Wu et al., ECCV 2022), and the attention over frames that the paper adds (section 3.3).

An instance has one query for the whole clip and a box query on every frame, which looks around its own box there. What
all of them read, weighted over the frames, makes the instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...nn.attention import Attention
from ...nn.deformable import DeformableAttention
from ...nn.deformable_detr import LEVELS, BoxQueries, Levels, moved
from ...nn.mlp import FeedForward
from ...nn.positional import sine, sine_1d
from .presets import Preset


@dataclass(frozen=True, slots=True)
class ClipQueries:
    """What one layer makes of the queries. Points and boxes are shares of the part of a frame that is not padded."""

    instances: Tensor  # (B, Q, D)
    references: Tensor  # (B, T, Q, 2), xy of the points or boxes that the layer started from
    boxes: Tensor  # (B, T, Q, 4) cx cy w h


class TemporalAttention(nn.Module):
    """The box queries of an instance look at one another over the frames. Starts as nothing."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(preset.dim)
        self.attn = Attention(preset.dim, preset.heads)
        self.coded = preset.position == "qk"
        self.place = nn.Linear(2 * preset.dim, preset.dim, bias=False) if preset.temporal_place else None
        if self.place is not None:
            nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.attn.out.weight)
        nn.init.zeros_(self.attn.out.bias)

    def forward(self, boxes: Tensor, centres: Tensor) -> Tensor:
        """Box queries (B, T, Q, D) and where they are, xy (B, T, Q, 2) → what is to be added to them, (B, T, Q, D)."""
        sequences = self.norm(boxes).transpose(1, 2)  # (B, Q, T, D)
        if self.place is not None:
            sequences = sequences + self.place(_when_and_where(centres.transpose(1, 2), sequences.shape[-1]))
        rows = sequences.flatten(0, 1)
        placed = rows
        if self.coded:
            placed = rows + sine_1d(rows.shape[1], rows.shape[2], normalise=False, device=rows.device)
        seen: Tensor = self.attn(placed, placed, rows)
        return seen.view(sequences.shape).transpose(1, 2)


def _when_and_where(centres: Tensor, dim: int) -> Tensor:
    """Codes of frame number and of place: xy (B, Q, T, 2), shares of the frame → (B, Q, T, 2 · dim)."""
    where = sine(centres * 2 * math.pi, dim // 2).flatten(-2)
    when = sine_1d(centres.shape[2], dim, normalise=False, device=centres.device)
    return torch.cat([when.expand_as(where), where], dim=-1)


class ClipDecoderLayer(nn.Module):
    """One layer of both streams. Instances never speak back to the boxes.

    Parts named `box_…` are the box queries'. They share the reading of the encoder's memory and project it apart.
    """

    def __init__(self, preset: Preset, *, temporal: bool) -> None:
        super().__init__()
        dim, heads, hidden = preset.dim, preset.heads, preset.decoder_ffn
        self.cross_attn = DeformableAttention(dim, heads, LEVELS, preset.decoder_points)
        self.box_output = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.box_output.weight)
        nn.init.zeros_(self.box_output.bias)
        self.self_attn, self.box_self_attn = Attention(dim, heads), Attention(dim, heads)
        self.self_attn_norm, self.box_self_attn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.cross_attn_norm, self.box_cross_attn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn, self.box_ffn = FeedForward(dim, hidden), FeedForward(dim, hidden)
        self.ffn_norm, self.box_ffn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.frame_weights = nn.Linear(dim, 1)
        self.temporal = TemporalAttention(preset) if temporal else None
        self.dropout = nn.Dropout(preset.dropout)

    def forward(
        self, instances: Tensor, boxes: Tensor, position: Tensor, references: Tensor, memory: Levels
    ) -> tuple[Tensor, Tensor]:
        """instances (B, Q, D), boxes (B, T, Q, D), position (Q, D), references (B·T, Q, 2 or 4) → both anew."""
        drop, shape = self.dropout, boxes.shape
        placed = instances + position
        instances = self.self_attn_norm(instances + drop(self.self_attn(placed, placed, instances)))
        folded = boxes.flatten(0, 1)  # (B·T, Q, D)
        placed = folded + position
        folded = self.box_self_attn_norm(folded + drop(self.box_self_attn(placed, placed, folded)))
        if self.temporal is not None:
            centres = references[..., :2].unflatten(0, shape[:2])
            folded = folded + drop(self.temporal(folded.view(shape), centres)).flatten(0, 1)
        around = memory.on_every_level(references)
        read = self.cross_attn.read(folded + position, around, memory.pixels, memory.sizes_hw, memory.padding)
        folded = self.box_cross_attn_norm(folded + drop(self.box_output(read)))
        boxes = self.box_ffn_norm(folded + drop(self.box_ffn(folded))).view(shape)
        shares = self.frame_weights(boxes).softmax(1)  # (B, T, Q, 1)
        gathered = (shares * self.cross_attn.output_proj(read).view(shape)).sum(1)
        instances = self.cross_attn_norm(instances + drop(gathered))
        return self.ffn_norm(instances + drop(self.ffn(instances))), boxes


class ClipDecoder(BoxQueries):
    """All layers: every one makes a box a frame of every instance, which the next one starts from."""

    def __init__(self, preset: Preset) -> None:
        super().__init__(queries=preset.queries, dim=preset.dim, layers=preset.decoder_layers)
        self.layers = nn.ModuleList(  # on all frames the first layer has the same box queries
            ClipDecoderLayer(preset, temporal=preset.decoder_attention and number > 0)
            for number in range(preset.decoder_layers)
        )

    def forward(self, memory: Levels, frames: int) -> tuple[ClipQueries, ...]:
        """memory of B·T frames → every layer, first to last."""
        position, content = self.query_embed.chunk(2, dim=-1)
        clips = len(memory.pixels) // frames
        instances = content.expand(clips, -1, -1)
        boxes = content.expand(clips, frames, -1, -1)
        references = self.first_references().float().expand(clips * frames, -1, -1)
        found = []
        for layer, head in zip(self.layers, self.box_heads, strict=True):
            instances, boxes = layer(instances, boxes, position, references, memory)
            refined = moved(references, head(boxes.flatten(0, 1)).float())
            points, places = (each.unflatten(0, (clips, frames)) for each in (references[..., :2], refined))
            found.append(ClipQueries(instances, points, places))
            references = refined.detach()
        return tuple(found)
