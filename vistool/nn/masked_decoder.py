"""Mask2Former's masked-attention decoder over the pixels of an image, or jointly over those of a clip (section 3.2).

At T = 1 the clip decoder is the image decoder: the code of the frame's number adds the same to every key, which a
softmax does not see. So both read the same checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .mlp import FeedForward, Mlp
from .pixel_decoder import PixelFeatures
from .positional import sine_1d, sine_2d
from .presets import Mask2FormerSizes


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one set of queries says of a clip."""

    class_logits: Tensor  # (B, Q, K) or (B, Q, K + 1), the last one no-object
    mask_logits: Tensor  # (B, Q, T, h, w), at a quarter of the padded input


@dataclass(frozen=True, slots=True)
class ClipOutput:
    """The last prediction, and in training those of the queries before each layer."""

    final: Prediction
    auxiliary: tuple[Prediction, ...]
    embeddings: Tensor  # (B, Q, D), the normalised queries of the last prediction: what a slot looks like

    def stacked(self) -> tuple[Tensor, Tensor]:
        """All L predictions, first to last: class logits (L, B, Q, K), mask logits (L, B, Q, T, h, w)."""
        every = [*self.auxiliary, self.final]
        return torch.stack([p.class_logits for p in every]), torch.stack([p.mask_logits for p in every])


class PredictionHeads(nn.Module):
    """Class logits and mask kernels of normalised queries; the same for every layer."""

    def __init__(self, dim: int, logits: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.class_embed = nn.Linear(dim, logits)
        self.mask_embed = Mlp(dim, dim, dim, 3)

    def classes(self, queries: Tensor) -> Tensor:
        """(…, Q, D) → (…, Q, K)."""
        logits: Tensor = self.class_embed(self.norm(queries))
        return logits

    def kernels(self, queries: Tensor) -> Tensor:
        """(…, Q, D) → (…, Q, D), to be dotted with the per-pixel embedding."""
        kernels: Tensor = self.mask_embed(self.norm(queries))
        return kernels


class LevelPyramid:
    """The three levels of a clip as tokens, and the mask features at their sizes.

    Resizing commutes with the product of kernels and features, so attention masks are computed at the size they are
    used at.
    """

    def __init__(self, features: PixelFeatures, level_codes: Tensor, frames: int) -> None:
        dim = features.mask_features.shape[1]
        self.tokens: list[Tensor] = []  # (B, T, P, D), level code added
        self.positions: list[Tensor] = []  # (P, D)
        self.resized: list[Tensor] = []  # (B, T, D, P)
        for level, code in zip(features.levels, level_codes, strict=True):
            size = (int(level.shape[-2]), int(level.shape[-1]))
            self.tokens.append((level.flatten(2).transpose(1, 2) + code).unflatten(0, (-1, frames)))
            self.positions.append(sine_2d(size, dim, level.device))
            small = F.interpolate(features.mask_features, size=size, mode="bilinear", align_corners=False)
            self.resized.append(small.flatten(2).unflatten(0, (-1, frames)).detach())
        self.mask_features = features.mask_features.unflatten(0, (-1, frames))  # (B, T, D, h, w)


class MaskedDecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward; normalised after each sum."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross_attn = Attention(dim, heads)
        self.cross_attn_norm = nn.LayerNorm(dim)
        self.self_attn = Attention(dim, heads)
        self.self_attn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, hidden)
        self.ffn_norm = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, code: Tensor, keys: Tensor, values: Tensor, blocked: Tensor) -> Tensor:
        """queries (B, Q, D), their positional code (Q, D), keys and values (B, P, D), blocked (B, Q, P) → (B, Q, D)."""
        visible = ~blocked | blocked.all(-1, keepdim=True)  # a query that sees nothing sees everything
        queries = self.cross_attn_norm(queries + self.cross_attn(queries + code, keys, values, visible))
        coded = queries + code
        queries = self.self_attn_norm(queries + self.self_attn(coded, coded, queries))
        out: Tensor = self.ffn_norm(queries + self.ffn(queries))
        return out


class MaskedDecoder(nn.Module):
    """One query an object, one kernel for all frames; attention is joint over space and time."""

    def __init__(self, sizes: Mask2FormerSizes) -> None:
        super().__init__()
        self.query_feat = nn.Parameter(torch.randn(sizes.queries, sizes.dim))
        self.query_embed = nn.Parameter(torch.randn(sizes.queries, sizes.dim))
        self.level_embed = nn.Parameter(torch.randn(3, sizes.dim))
        self.layers = nn.ModuleList(
            MaskedDecoderLayer(sizes.dim, sizes.heads, sizes.decoder_ffn) for _ in range(sizes.decoder_layers)
        )
        self.heads = PredictionHeads(sizes.dim, sizes.num_classes + 1)

    def forward(self, features: PixelFeatures, frames: int) -> ClipOutput:
        """features of B·T frames → predictions of B clips."""
        pyramid = LevelPyramid(features, self.level_embed, frames)
        predictions = []
        for queries in self.states(pyramid):
            if self.training:
                predictions.append(self._predict(queries, pyramid))
        final = predictions.pop() if predictions else self._predict(queries, pyramid)
        return ClipOutput(final, tuple(predictions), self.heads.norm(queries))

    def states(self, pyramid: LevelPyramid) -> Iterator[Tensor]:
        """The queries before the first layer and after every layer, before the heads' norm; (B, Q, D) each."""
        batch, frames = pyramid.mask_features.shape[:2]
        times = sine_1d(frames, self.query_feat.shape[1], device=self.query_feat.device)[:, None]  # (T, 1, D)
        queries = self.query_feat.expand(batch, -1, -1)
        yield queries
        for i, layer in enumerate(self.layers):
            level = i % 3
            blocked = torch.einsum("bqd,btdp->bqtp", self.heads.kernels(queries).detach(), pyramid.resized[level]) < 0
            values = pyramid.tokens[level]
            keys = values + pyramid.positions[level] + times
            queries = layer(queries, self.query_embed, keys.flatten(1, 2), values.flatten(1, 2), blocked.flatten(2))
            yield queries

    def _predict(self, queries: Tensor, pyramid: LevelPyramid) -> Prediction:
        masks = torch.einsum("bqd,btdhw->bqthw", self.heads.kernels(queries), pyramid.mask_features)
        return Prediction(self.heads.classes(queries), masks)
