"""Deformable DETR with box refinement (Zhu et al., ICLR 2021): encoder and decoder over four levels of one frame.

Frames of different sizes may share a batch. Pixels of the padding are never read, and positions, references and boxes
are shares of the part of a frame that is not padded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .boxes import inverse_sigmoid
from .deformable import DeformableAttention
from .mlp import FeedForward, Mlp
from .positional import sine_2d, sine_2d_within

LEVELS = 4
GROUPS = 32  # of the norms in front of the encoder
SMALL_BOX = -2.0  # logit of the width and height that boxes begin with


@dataclass(frozen=True, slots=True)
class Levels:
    """Feature maps of B frames as one row of pixels, level after level, fine to coarse."""

    pixels: Tensor  # (B, P, D)
    sizes_hw: tuple[tuple[int, int], ...]  # of the levels; their areas sum up to P
    padding: Tensor | None  # bool (B, P), true where a pixel is padding; None: nowhere
    valid: Tensor  # (B or 1, levels, 2), width and height that are not padded, as shares of the level

    @classmethod
    def of(cls, maps: Sequence[Tensor]) -> Levels:
        """Of pictures (B, D, h, w) without padding."""
        pixels = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)
        sizes = tuple((int(m.shape[-2]), int(m.shape[-1])) for m in maps)
        return cls(pixels, sizes, None, pixels.new_ones(1, len(sizes), 2))

    def maps(self) -> tuple[Tensor, ...]:
        """The levels as pictures (B, D, h, w), padding included."""
        parts = self.pixels.split([h * w for h, w in self.sizes_hw], dim=1)
        return tuple(part.transpose(1, 2).unflatten(-1, size) for part, size in zip(parts, self.sizes_hw, strict=True))

    def on_every_level(self, references: Tensor) -> Tensor:
        """Points or boxes of the part that is not padded (B, L, 2 or 4) → of whole levels (B, L, levels, 2 or 4)."""
        return references[:, :, None] * self.valid.repeat(1, 1, references.shape[-1] // 2)[:, None]


Beside = Callable[[Levels, Tensor], Tensor]
"""A branch beside the attention of a layer: levels and their code of position (B or 1, P, D) → (B, P, D)."""


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, normalised after each sum. Position joins the query only."""

    def __init__(self, dim: int, heads: int, hidden: int, points: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, heads, LEVELS, points)
        self.self_attn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, hidden)
        self.ffn_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, levels: Levels, position: Tensor, references: Tensor, beside: Beside | None = None) -> Levels:
        """position (B or 1, P, D), references (B or 1, P, levels, 2); the same levels with other pixels.

        What `beside` makes of the levels joins what the attention reads.
        """
        pixels = levels.pixels
        read = self.self_attn(pixels + position, references, pixels, levels.sizes_hw, levels.padding)
        if beside is not None:
            read = read + beside(levels, position)
        pixels = self.self_attn_norm(pixels + self.dropout(read))
        return replace(levels, pixels=self.ffn_norm(pixels + self.dropout(self.ffn(pixels))))


class DeformableEncoder(nn.Module):
    """Maps at strides 8, 16 and 32, and one at 64 made of the last, each attending to all four."""

    def __init__(
        self,
        channels: Sequence[int],
        *,
        dim: int,
        heads: int,
        hidden: int,
        layers: int,
        points: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(c, dim, 1) for c in channels]
        convolutions.append(nn.Conv2d(channels[-1], dim, 3, stride=2, padding=1))
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # there is one
        self.input_projections = nn.ModuleList(nn.Sequential(c, nn.GroupNorm(GROUPS, dim)) for c in convolutions)
        self.level_embed = nn.Parameter(torch.randn(LEVELS, dim))
        self.layers = nn.ModuleList(EncoderLayer(dim, heads, hidden, points, dropout) for _ in range(layers))

    def forward(self, maps: Sequence[Tensor], padding: Tensor | None = None) -> Levels:
        """Three maps fine to coarse (B, C_i, h_i, w_i), padding bool (B, H, W) of their frames → attended levels."""
        return self.attend(*self.flatten(maps, padding))

    def flatten(self, maps: Sequence[Tensor], padding: Tensor | None = None) -> tuple[Levels, Tensor]:
        """Levels before any attention, and their code of position and level (B or 1, P, D); arguments of `forward`."""
        levels = Levels.of([project(m) for project, m in zip(self.input_projections, [*maps, maps[-1]], strict=True)])
        dim, device, sizes = levels.pixels.shape[-1], levels.pixels.device, levels.sizes_hw
        if padding is None:
            codes = [sine_2d(size, dim, device, before=0.5)[None] for size in sizes]
        else:
            small = [F.interpolate(padding[None].float(), size=size)[0].bool() for size in sizes]  # nearest
            codes = [sine_2d_within(mask, dim, before=0.5) for mask in small]
            valid = torch.stack([torch.stack([_share(m[:, 0]), _share(m[:, :, 0])], dim=-1) for m in small], dim=1)
            levels = replace(levels, padding=torch.cat([mask.flatten(1) for mask in small], dim=1), valid=valid)
        return levels, torch.cat([code + embed for code, embed in zip(codes, self.level_embed, strict=True)], dim=1)

    def attend(self, levels: Levels, position: Tensor, beside: Sequence[Beside | None] = ()) -> Levels:
        """Through all layers; `beside`: a branch for each of them, or nothing."""
        references = levels.on_every_level(_centres(levels))
        for layer, branch in zip(self.layers, beside or [None] * len(self.layers), strict=True):
            levels = layer(levels, position, references, branch)
        return levels


class DecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention, feed-forward; normalised after each sum."""

    def __init__(self, dim: int, heads: int, hidden: int, points: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.self_attn_norm = nn.LayerNorm(dim)
        self.cross_attn = DeformableAttention(dim, heads, LEVELS, points)
        self.cross_attn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, hidden)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, position: Tensor, references: Tensor, memory: Levels) -> Tensor:
        """queries (B, Q, D), their position (Q, D), references (B, Q, levels, 2 or 4) → (B, Q, D)."""
        placed = queries + position
        queries = self.self_attn_norm(queries + self.self_attn(placed, placed, queries))
        read = self.cross_attn(queries + position, references, memory.pixels, memory.sizes_hw, memory.padding)
        queries = self.cross_attn_norm(queries + read)
        out: Tensor = self.ffn_norm(queries + self.ffn(queries))
        return out


@dataclass(frozen=True, slots=True)
class Refinement:
    """What one layer of the decoder makes of the queries. Points and boxes are shares of the part not padded."""

    queries: Tensor  # (B, Q, D)
    references: Tensor  # (B, Q, 2), xy of the points or boxes that the layer started from
    boxes: Tensor  # (B, Q, 4) cx cy w h


class BoxQueries(nn.Module):
    """Learned queries, the points that they first look around, and a head a layer that moves points and boxes."""

    def __init__(self, *, queries: int, dim: int, layers: int) -> None:
        super().__init__()
        self.query_embed = nn.Parameter(torch.randn(queries, 2 * dim))  # position, then content
        self.reference_points = nn.Linear(dim, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        heads_of_boxes = [Mlp(dim, dim, 4, 3) for _ in range(layers)]
        for head in heads_of_boxes:
            weight, bias = [*head.parameters()][-2:]  # of the last linear layer
            nn.init.zeros_(weight)
            nn.init.zeros_(bias)
        nn.init.constant_([*heads_of_boxes[0].parameters()][-1][2:], SMALL_BOX)
        self.box_heads = nn.ModuleList(heads_of_boxes)

    def first_references(self) -> Tensor:
        """Points xy that the first layer looks around, the same in every frame; (Q, 2)."""
        position, _ = self.query_embed.chunk(2, dim=-1)
        out: Tensor = self.reference_points(position).sigmoid()
        return out


class RefiningDecoder(BoxQueries):
    """Learned queries look around points; every layer makes boxes, which the next one starts from (section 4.2)."""

    def __init__(self, *, queries: int, dim: int, heads: int, hidden: int, layers: int, points: int) -> None:
        super().__init__(queries=queries, dim=dim, layers=layers)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, hidden, points) for _ in range(layers))

    def forward(self, memory: Levels) -> tuple[Refinement, ...]:
        """Every layer, first to last."""
        position, content = self.query_embed.chunk(2, dim=-1)
        batch = len(memory.pixels)
        queries = content.expand(batch, -1, -1)
        references = self.first_references().expand(batch, -1, -1)
        refinements = []
        for layer, head in zip(self.layers, self.box_heads, strict=True):
            queries = layer(queries, position, memory.on_every_level(references), memory)
            boxes = moved(references, head(queries))
            refinements.append(Refinement(queries, references[..., :2], boxes))
            references = boxes.detach()
        return tuple(refinements)


def moved(references: Tensor, by: Tensor) -> Tensor:
    """Points or boxes (B, Q, 2 or 4) moved by logits (B, Q, 4) → boxes; a point has no size to start from."""
    logits = inverse_sigmoid(references)
    return (by + F.pad(logits, (0, by.shape[-1] - logits.shape[-1]))).sigmoid()


def _share(padded: Tensor) -> Tensor:
    """Share of a line bool (B, n) that is not padded; (B,)."""
    return (~padded).sum(1) / padded.shape[1]


def _centres(levels: Levels) -> Tensor:
    """Centres xy of all pixels, as shares of the part of their level that is not padded; (B or 1, P, 2)."""
    centres = []
    for (height, width), valid in zip(levels.sizes_hw, levels.valid.unbind(1), strict=True):
        y = (torch.arange(height, device=valid.device) + 0.5) / (valid[:, 1, None] * height)
        x = (torch.arange(width, device=valid.device) + 0.5) / (valid[:, 0, None] * width)
        grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
        centres.append(grid.flatten(1, 2))
    return torch.cat(centres, dim=1)
