"""Two-stage query selection: the pixels that look most like an object become the queries (DINO, MaskDINO)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..boxes import inverse_sigmoid, mask_boxes, to_cxcywh
from ..pixel_decoder import cell_centres
from .encoder import EncodedFrames
from .heads import QueryHeads
from .sizes import Anchors

FIRST_SIDE = 0.05  # share of the frame
BORDER = 0.01  # proposals that come closer to 0 or 1 are not used


@dataclass(frozen=True, slots=True)
class Selected:
    """The chosen pixels of B frames."""

    embeddings: Tensor  # (B, Q, D)
    boxes: Tensor  # (B, Q, 4) cx cy w h


class QuerySelection(nn.Module):
    """Every token of the memory names classes and a box; the best become queries."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, encoded: EncodedFrames, heads: QueryHeads, queries: int) -> Selected:
        """The `queries` tokens with the greatest class logit, best first; all where a frame has fewer."""
        proposals = level_proposals(encoded.sizes_hw, encoded.memory.device)
        used = ((proposals > BORDER) & (proposals < 1 - BORDER)).all(-1, keepdim=True)
        tokens = self.norm(self.project(encoded.memory * used))
        class_logits = heads.class_embed(tokens)  # without the heads' norm, as published
        best = class_logits.amax(-1).topk(min(queries, tokens.shape[1]), dim=1).indices
        logits = proposals.logit().masked_fill(~used, torch.inf)
        embeddings = tokens.gather(1, best[..., None].expand(-1, -1, tokens.shape[-1]))
        return Selected(embeddings, (heads.box_embed(embeddings) + logits[best]).sigmoid())


def level_proposals(sizes_hw: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """One square a token: cell centres, sides of 0.05 · 2^i on level i → (P, 4) cx cy w h.

    In the decoder's order, in which releases with a level at stride 64 begin with it: so their finest level has the
    largest squares. Their weights were trained so.
    """
    centres = [cell_centres(size, device) for size in sizes_hw]
    squares = [
        torch.cat([centre, torch.full_like(centre, FIRST_SIDE * 2**level)], -1) for level, centre in enumerate(centres)
    ]
    return torch.cat(squares)


def mask_anchors(masks: Tensor, spelling: Anchors) -> Tensor:
    """First boxes out of masks bool (B, Q, h, w) → cx cy w h (B, Q, 4), shares: MaskDINO's mask-enhanced anchors.

    `bitmask`: tight boxes; an empty mask has none of its four numbers. `mask2box`: the last row and column are left
    out; an empty mask gives a point in the lower right corner.
    """
    corners = mask_boxes(masks)
    height, width = masks.shape[-2:]
    if spelling == "mask2box":
        corners = corners - corners.new_tensor([0, 0, 1, 1])
    boxes = to_cxcywh(corners) / corners.new_tensor([width, height, width, height])
    if spelling == "mask2box":
        nothing = boxes.new_tensor([1.0, 1.0, 0.0, 0.0])
        boxes = torch.where(masks.flatten(-2).any(-1, keepdim=True), boxes, nothing)
    return inside(boxes)


def inside(boxes: Tensor) -> Tensor:
    """Boxes as they come back from their logits: no number closer to 0 or 1 than about 1e-5."""
    return inverse_sigmoid(boxes).sigmoid()
