"""The network: frames in, class and mask logits of every query out."""

from __future__ import annotations

from torch import Tensor, nn

from ...nn.masked_decoder import ClipOutput, MaskedDecoder
from ...nn.presets import Mask2FormerSizes
from ...nn.trunk import FrameTrunk


class Mask2FormerVis(nn.Module):
    """Backbone and pixel decoder frame by frame, decoder over the whole clip. At T = 1, Mask2Former for images."""

    def __init__(self, sizes: Mask2FormerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.trunk = FrameTrunk(sizes)
        self.decoder = MaskedDecoder(sizes)

    def forward(self, frames: Tensor) -> ClipOutput:
        """frames (B, T, 3, H, W) normalised → predictions; masks at 1/4 of the size padded to a multiple of 32."""
        output: ClipOutput = self.decoder(self.trunk(frames), frames.shape[1])
        return output
