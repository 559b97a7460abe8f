"""What the offline clip methods share: frames in, candidate tracks out. The network between is the method's.

A clip method says, for a stack of pictures, how likely each slot is each class and where it is (`ClipEvidence`). This
module chooses the slots worth keeping, brings only their masks to the size of the source, and makes them run lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import masks
from ..errors import InputError
from ..nn.letterbox import Letterbox
from ..types import CANDIDATE_SHARE, Category, Frame, Rle, RunOptions, Track, VideoInfo
from ..weights.checkpoint import CheckpointInfo


@dataclass(frozen=True, slots=True)
class ClipEvidence:
    """What a network says of a clip; row q is one slot."""

    class_probs: Tensor  # (Q, K) in [0, 1], no-object left out
    mask_logits: Tensor  # (Q, T, h, w), covering `letterbox.padded_hw`
    letterbox: Letterbox


Images = Sequence[NDArray[np.uint8]]
"""T pictures (H, W, 3), RGB, all of one size."""
Predict = Callable[[Images], ClipEvidence]


class ClipSegmenter:
    """An offline model made of a `Predict`. Holds no state of a video."""

    def __init__(self, predict: Predict, info: CheckpointInfo, options: RunOptions, *, slots_max: int = 50) -> None:
        self._predict = predict
        self._categories = info.categories
        floor = options.score_floor
        self._floor = CANDIDATE_SHARE * info.conf if floor is None else floor
        self._slots_max = options.max_instances or slots_max

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._categories

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        """Candidate tracks over `frames`; ids are slots. A slot that is empty on every frame is no candidate."""
        with torch.inference_mode():
            evidence = self._predict([frame.image for frame in frames])
            slots = kept_slots(evidence.class_probs, self._floor, self._slots_max)
            rles = self._frame_masks(evidence, slots)
        indices = [frame.index for frame in frames]
        probs = evidence.class_probs[slots].float().cpu().numpy()
        tracks = []
        for row, slot in enumerate(slots.tolist()):
            visible = {index: rle for index, rle in zip(indices, rles[row], strict=True) if rle is not None}
            if visible:
                label = int(probs[row].argmax())
                scores = tuple(float(score) for score in probs[row])
                tracks.append(Track(slot, label, scores[label], visible, scores))
        return tuple(tracks)

    def _frame_masks(self, evidence: ClipEvidence, slots: Tensor) -> list[list[Rle | None]]:
        """Masks of the kept slots, (N, T); None where a slot has no pixel. One frame at full size at a time."""
        rows: list[list[Rle | None]] = [[] for _ in slots]
        for logits in evidence.mask_logits[slots].unbind(1):
            patches = list(evidence.letterbox.undo(logits))
            seen = [bool(patch.columns.any()) for patch in patches]
            parts = [(patch.columns, patch.corner_yx) for patch in compress(patches, seen)]
            encoded = iter(masks.encode_parts(parts, evidence.letterbox.source_hw))
            for row, visible in zip(rows, seen, strict=True):
                row.append(next(encoded) if visible else None)
        return rows


def kept_slots(class_probs: Tensor, floor: float, most: int) -> Tensor:
    """Slots whose best class reaches `floor`, best first, at most `most`; class_probs (Q, K) → int64 (N,)."""
    best, order = class_probs.amax(1).sort(descending=True, stable=True)
    return order[: int((best[:most] >= floor).sum())]


def prepare(
    images: Images, info: CheckpointInfo, options: RunOptions, short_side: int | None = None
) -> tuple[Tensor, Letterbox]:
    """T pictures → normalised (1, T, 3, h, w) on the device, and the letterbox that leads back.

    They are resized where they lie, so that the device is sent no more than the network sees.
    """
    side = short_side or options.short_side or info.short_side
    letterbox = Letterbox.fit((images[0].shape[0], images[0].shape[1]), short_side=side)
    mean, std = torch.tensor(info.pixel_mean), torch.tensor(info.pixel_std)
    frames = torch.stack([letterbox.apply(torch.from_numpy(image), mean, std) for image in images])
    return frames[None].to(options.device), letterbox


def probe_frames(arrays: Mapping[str, NDArray[Any]]) -> Tensor:
    """The array `frames` (T, 3, H, W), already normalised → float32 (1, T, 3, H, W); InputError for another shape."""
    frames = arrays.get("frames")
    if frames is None or frames.ndim != 4 or frames.shape[1] != 3:
        found = sorted(arrays) if frames is None else frames.shape
        raise InputError(f"no frames to probe with: `{found}` (expected an array `frames` of shape (T, 3, H, W))")
    return torch.from_numpy(frames.astype(np.float32))[None]


def autocast(options: RunOptions) -> torch.autocast:
    """Mixed precision as asked for; a no-op for fp32."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options.precision]
    return torch.autocast(torch.device(options.device).type, dtype=dtype, enabled=options.precision != "fp32")
