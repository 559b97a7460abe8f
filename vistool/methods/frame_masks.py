"""What clip methods and frame methods share: which slots are worth their masks, and the masks of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

from torch import Tensor

from .. import masks
from ..nn.letterbox import Letterbox
from ..types import CANDIDATE_SHARE, Rle, RunOptions
from ..weights.checkpoint import CheckpointInfo

SLOTS_MAX = 50  # whose masks are made, unless told otherwise


@dataclass(frozen=True, slots=True)
class Selection:
    """How sure a slot must be, and how many are kept."""

    floor: float  # of the best class
    most: int

    @classmethod
    def of(cls, info: CheckpointInfo, options: RunOptions) -> Selection:
        """What the options ask for; where they are silent, a share of the checkpoint's threshold and SLOTS_MAX."""
        floor = CANDIDATE_SHARE * info.conf if options.score_floor is None else options.score_floor
        return cls(floor, options.max_instances or SLOTS_MAX)

    def slots(self, class_probs: Tensor) -> Tensor:
        """Slots whose best class reaches the floor, best first, at most `most`; class_probs (Q, K) → int64 (N,)."""
        best, order = class_probs.amax(1).sort(descending=True, stable=True)
        return order[: int((best[: self.most] >= self.floor).sum())]


def frame_masks(mask_logits: Tensor, letterbox: Letterbox) -> list[Rle | None]:
    """mask_logits (N, h, w) of one frame → N masks at the size of the source; None where there is no pixel."""
    patches = list(letterbox.undo(mask_logits))
    seen = [bool(patch.columns.any()) for patch in patches]
    parts = [(patch.columns, patch.corner_yx) for patch in compress(patches, seen)]
    encoded = iter(masks.encode_parts(parts, letterbox.source_hw))
    return [next(encoded) if visible else None for visible in seen]
