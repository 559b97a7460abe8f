"""MaskDINO's decoder: queries with a box each, which every layer moves (DAB-DETR, DINO, MaskDINO)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..attention import Attention
from ..deformable import DeformableAttention
from ..mlp import FeedForward, Mlp
from ..positional import sine
from .encoder import EncodedFrames
from .heads import QueryHeads
from .sizes import MaskDinoSizes


@dataclass(frozen=True, slots=True)
class DecodedLayer:
    """What one layer makes of its queries."""

    embeddings: Tensor  # (B, Q, D), the heads' norm of the layer's output; the heads apply it once more
    boxes: Tensor  # (B, Q, 4) cx cy w h


class BoxDecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention around the box, feed-forward; normalised after each sum."""

    def __init__(self, sizes: MaskDinoSizes) -> None:
        super().__init__()
        dim, levels = sizes.dim, len(sizes.strides)
        self.self_attn = Attention(dim, sizes.heads)
        self.self_attn_norm = nn.LayerNorm(dim)
        self.cross_attn = DeformableAttention(dim, sizes.heads, levels, sizes.points)
        self.cross_attn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, sizes.decoder_ffn)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(
        self, queries: Tensor, position: Tensor, references: Tensor, encoded: EncodedFrames, visible: Tensor | None
    ) -> Tensor:
        """queries and position (B, Q, D), references (B, Q, 4), visible bool (1, Q, Q) → (B, Q, D)."""
        placed = queries + position
        queries = self.self_attn_norm(queries + self.self_attn(placed, placed, queries, visible))
        around = self.cross_attn(queries + position, references[:, :, None], encoded.memory, encoded.sizes_hw)
        queries = self.cross_attn_norm(queries + around)
        out: Tensor = self.ffn_norm(queries + self.ffn(queries))
        return out


class BoxDecoder(nn.Module):
    """Layers that share their heads; a layer's boxes are where the next one looks."""

    def __init__(self, sizes: MaskDinoSizes) -> None:
        super().__init__()
        self.dim = sizes.dim
        self.position = Mlp(2 * sizes.dim, sizes.dim, sizes.dim, 2)
        self.layers = nn.ModuleList(BoxDecoderLayer(sizes) for _ in range(sizes.decoder_layers))

    def forward(
        self, queries: Tensor, boxes: Tensor, encoded: EncodedFrames, heads: QueryHeads, blocked: Tensor | None = None
    ) -> list[DecodedLayer]:
        """queries (B, Q, D), their first boxes (B, Q, 4), blocked bool (Q, Q) → every layer.

        Two boxes come of a layer, as published: the one that the next layer looks at is made from the layer's output,
        the one that is reported from its norm. The layer looks at a box without passing a gradient to the layer before;
        the reported box passes it (DINO, section 3.5: look forward twice).
        """
        visible = None if blocked is None else ~blocked[None]
        layers = []
        for layer in self.layers:
            references = boxes.detach()
            queries = layer(queries, self.position(box_code(references, self.dim)), references, encoded, visible)
            normed = heads.norm(queries)
            layers.append(DecodedLayer(normed, heads.boxes(normed, boxes)))
            boxes = heads.boxes(queries, references)
        return layers


def box_code(boxes: Tensor, dim: int) -> Tensor:
    """Sine codes of y, x, w and h, in this order, dim / 2 channels each; boxes (…, 4) cx cy w h → (…, 2·dim)."""
    turns = torch.stack([boxes[..., 1], boxes[..., 0], boxes[..., 2], boxes[..., 3]], dim=-1) * 2 * math.pi
    return sine(turns, dim // 2).flatten(-2)
