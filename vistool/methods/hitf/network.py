"""The network: frames on their own, a frame and its references, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .decoder import Decoder
from .encoder import Encoded, Encoder
from .heads import Heads, SemanticHead
from .presets import Preset
from .temporal import Reference, Remembered, Temporal


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """What is said of a frame. Row i belongs to slot i; cell i of a map lies on pixel 4·i."""

    class_logits: Tensor  # (B, L, K + 1), the last one "nothing"
    mask_logits: Tensor  # (B, L, H/4, W/4), of the padded frame; softmax over slots gives masks
    features: Tensor  # (B, F, H/4, W/4), of length 1 over channels
    semantic_logits: Tensor | None  # (B, K + 1, H/4, W/4); None but in training


class Hitf(nn.Module):
    """Holds weights only: what is remembered of a video belongs to who goes through it."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.encoder = Encoder(preset)
        channels = self.encoder.channels
        self.temporal = Temporal(preset, channels[-1])
        self.decoder = Decoder(preset, channels[-1], channels[0])
        self.heads = Heads(preset)
        self.semantic = SemanticHead(preset)

    def encode(self, frames: Tensor) -> Encoded:
        """frames (B, 3, H, W) normalised, of any size → each on its own."""
        code, pixels, fine = self.encoder(frames)
        return Encoded(code, pixels, fine, self.temporal.summarise(code, pixels))

    def fuse(self, encoded: Encoded, references: Sequence[Reference]) -> FrameOutput:
        """A frame and up to R before it, newest first; where there is none, the frame is its own, one frame old."""
        code, pixels = self.temporal(encoded.code, encoded.pixels, references or (encoded.reference,))
        return self._say(code, pixels, encoded.fine)

    def remember(self, reference: Reference) -> Remembered:
        """In eval: what `recall` wants of a frame, projected once for all the frames that look back at it."""
        return self.temporal.remember(reference)

    def recall(self, encoded: Encoded, remembered: Sequence[Remembered]) -> FrameOutput:
        """In eval: as `fuse`; at least one frame is remembered."""
        code, pixels = self.temporal.recall(encoded.code, encoded.pixels, remembered)
        return self._say(code, pixels, encoded.fine)

    def _say(self, code: Tensor, pixels: Tensor, fine: Tensor) -> FrameOutput:
        decoded = self.decoder(pixels, fine)
        classes, masks, features = self.heads(code, decoded)
        return FrameOutput(classes, masks, features, self.semantic(decoded) if self.training else None)
