"""What MaskDINO reads off a query: classes, a mask kernel, a box. One set of heads for every layer and the encoder."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..boxes import inverse_sigmoid
from ..image_model import LayerOutput
from ..masked_decoder import PredictionHeads
from ..mlp import Mlp


class QueryHeads(PredictionHeads):
    """Mask2Former's heads with a sigmoid a class, and a box head that moves a reference box."""

    def __init__(self, dim: int, classes: int, class_prior: float | None) -> None:
        super().__init__(dim, classes)
        self.box_embed = Mlp(dim, dim, 4, 3)
        for parameter in self.box_embed.layers[-1].parameters():
            nn.init.zeros_(parameter)
        if class_prior is not None:
            nn.init.constant_(self.class_embed.bias, math.log(class_prior / (1 - class_prior)))

    def boxes(self, queries: Tensor, references: Tensor) -> Tensor:
        """queries (…, Q, D) as they are, without the norm; references (…, Q, 4) cx cy w h → boxes (…, Q, 4)."""
        boxes: Tensor = (self.box_embed(queries) + inverse_sigmoid(references)).sigmoid()
        return boxes

    def output(self, embeddings: Tensor, boxes: Tensor) -> LayerOutput:
        """embeddings (B, Q, D) before the heads' norm, boxes (B, Q, 4)."""
        return LayerOutput(self.classes(embeddings), boxes, embeddings)
