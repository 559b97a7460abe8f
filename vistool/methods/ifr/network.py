"""The IFR network: Mask2Former's trunk frame by frame, then the recurrent decoder over the clip (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...nn.masked_decoder import LevelPyramid, PredictionHeads
from ...nn.pixel_decoder import PixelFeatures
from ...nn.trunk import FrameTrunk
from .decoder import BlockedAt, ClipUpdate, IfrLayer
from .presets import Preset


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the queries before or after one layer say of a clip."""

    class_logits: Tensor  # (B, Q, K), or (B, Q, K + 1) with the softmax head
    kernels: Tensor  # (B, T, Q, D): the mask of slot q on frame t is kernels[t, q] · pixels[t]


@dataclass(frozen=True, slots=True)
class IfrOutput:
    """The last prediction, in training those before it, and the per-pixel embedding that all of them share."""

    final: Prediction
    auxiliary: tuple[Prediction, ...]  # initial queries, then layer by layer
    pixels: Tensor  # (B, T, D, h, w), at a quarter of the padded input

    def mask_logits(self) -> Tensor:
        """Masks of the last prediction, (B, Q, T, h, w)."""
        return torch.einsum("btqd,btdhw->bqthw", self.final.kernels, self.pixels)


class IfrDecoder(nn.Module):
    """Clip-level and frame-level queries through all layers; names shared with Mask2Former's decoder load from it."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        dim = preset.dim
        self.query_feat = nn.Parameter(torch.randn(preset.queries, dim))  # A16: one set for all clips
        self.query_embed = nn.Parameter(torch.randn(preset.queries, dim))
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        distinct = 1 if preset.share_layers else preset.decoder_layers  # A9
        self.layers = nn.ModuleList(IfrLayer(preset) for _ in range(distinct))
        self.clip_updates = nn.ModuleList(ClipUpdate(preset) for _ in range(distinct))
        self.heads = PredictionHeads(dim, preset.num_classes + (preset.class_head == "softmax"))  # A12
        rho = torch.full((preset.decoder_layers, dim if preset.recurrence == "channel" else 1), preset.rho)
        if preset.recurrence == "fixed":  # A10
            self.register_buffer("rho", rho)
        else:
            self.rho = nn.Parameter(rho)
        if preset.group_code:  # A6
            self.group_embed = nn.Parameter(torch.zeros(2, dim))

    def forward(self, features: PixelFeatures, frames: int) -> IfrOutput:
        """features of B·T frames → predictions of B clips. In evaluation A11 may add the pass from last to first."""
        output = self._run(features, frames)
        if self.training or self.preset.frame_order == "forward":
            return output
        backward = self._run(_reversed(features, frames), frames)
        final = Prediction(
            (output.final.class_logits + backward.final.class_logits) / 2,
            (output.final.kernels + backward.final.kernels.flip(1)) / 2,
        )
        return IfrOutput(final, (), output.pixels)

    def _run(self, features: PixelFeatures, frames: int) -> IfrOutput:
        pyramid = LevelPyramid(features, self.level_embed, frames)
        queries = self.query_feat.expand(pyramid.mask_features.shape[0], -1, -1)
        kernels = self.heads.kernels(queries)[:, None].expand(-1, frames, -1, -1)
        predictions = [Prediction(self.heads.classes(queries), kernels)]
        for i in range(self.preset.decoder_layers):
            row = 0 if self.preset.share_layers else i
            queries, frame_queries = self._layer(i, row, queries, predictions[-1].kernels, pyramid)
            predictions.append(Prediction(self.heads.classes(queries), self.heads.kernels(frame_queries)))
        auxiliary = tuple(predictions[:-1]) if self.training else ()
        return IfrOutput(predictions[-1], auxiliary, pyramid.mask_features)

    def _layer(
        self, i: int, row: int, queries: Tensor, kernels: Tensor, pyramid: LevelPyramid
    ) -> tuple[Tensor, Tensor]:
        """All frames of layer i, then its clip update → clip queries (B, Q, D), frame queries (B, T, Q, D)."""
        layer, update = self.layers[row], self.clip_updates[row]
        assert isinstance(layer, IfrLayer) and isinstance(update, ClipUpdate)
        level, position = i % 3, self.query_embed
        memory = layer.remember(pyramid.tokens[level], pyramid.positions[level])
        blocked = torch.einsum("btqd,btdp->btqp", kernels.detach(), pyramid.resized[level]) < 0
        clip_blocked = None if self.preset.attention_mask == "clip_open" else blocked
        codes = self._group_codes()
        gathered = layer.clip_group(queries, position + codes[1], memory, clip_blocked)
        blocked_at = self._blocked_at(blocked, pyramid.resized[level])
        rho = self.rho[i].tanh() if self.preset.recurrence == "tanh" else self.rho[i]
        travelling, after_ffn, after_attention = queries, [], []  # Q_i^0 = Q_i
        for t in range(blocked.shape[1]):
            start = queries + rho * (travelling - queries)
            before = blocked_at(t, travelling)
            travelling, mixed = layer.travel(start, position, memory.frame(t), before, gathered[:, t], codes)
            after_ffn.append(travelling)
            after_attention.append(mixed)
        frame_queries = torch.stack(after_ffn, dim=1)
        source = frame_queries if self.preset.clip_source == "ffn" else torch.stack(after_attention, dim=1)  # A15
        return update(queries, source, position), frame_queries

    def _blocked_at(self, own: Tensor, resized: Tensor) -> BlockedAt:
        """A2: the mask of the slot itself, or what its query of the frame before draws on this frame."""
        if self.preset.attention_mask != "travelling":
            return lambda t, travelling: own[:, t]
        return lambda t, travelling: (self.heads.kernels(travelling).detach() @ resized[:, t]) < 0

    def _group_codes(self) -> Tensor:
        """A6, (2, D): added to the positions of the travelling group and of the clip group."""
        return self.group_embed if self.preset.group_code else torch.zeros_like(self.query_embed[:2])


class Ifr(nn.Module):
    """Frames in, one set of class logits and one mask a frame for every slot out."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.trunk = FrameTrunk(preset)
        self.decoder = IfrDecoder(preset)

    def forward(self, frames: Tensor) -> IfrOutput:
        """frames (B, T, 3, H, W) normalised → predictions; masks at 1/4 of the size padded to a multiple of 32."""
        output: IfrOutput = self.decoder(self.trunk(frames), frames.shape[1])
        return output


def _reversed(features: PixelFeatures, frames: int) -> PixelFeatures:
    """The same frames, last one first."""

    def turn(x: Tensor) -> Tensor:
        turned: Tensor = x.unflatten(0, (-1, frames)).flip(1).flatten(0, 1)
        return turned

    return PixelFeatures(tuple(turn(level) for level in features.levels), turn(features.mask_features))
