"""What the offline clip methods share: frames in, candidate tracks out. The network between is the method's.

A clip method says, for a stack of pictures, how likely each slot is each class and where it is (`ClipEvidence`). This
module chooses the slots worth keeping, brings only their masks to the size of the source, and makes them run lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..nn.letterbox import Letterbox
from ..types import Category, Frame, RunOptions, Track, VideoInfo
from ..weights.checkpoint import CheckpointInfo
from .frame_masks import Selection, frame_masks


@dataclass(frozen=True, slots=True)
class ClipEvidence:
    """What a network says of a clip; row q is one slot."""

    class_probs: Tensor  # (Q, K) in [0, 1], no-object left out
    mask_logits: Tensor  # (Q, T, h, w), covering `letterbox.padded_hw`
    letterbox: Letterbox


Images = Sequence[NDArray[np.uint8]]
"""T pictures (H, W, 3), RGB, all of one size."""
Predict = Callable[[Sequence[Frame]], ClipEvidence]


class ClipSegmenter:
    """An offline model made of a `Predict`. Holds no state of a video."""

    def __init__(self, predict: Predict, info: CheckpointInfo, options: RunOptions) -> None:
        self._predict = predict
        self._categories = info.categories
        self._selection = Selection.of(info, options)

    @property
    def categories(self) -> tuple[Category, ...]:
        return self._categories

    def segment(self, video: VideoInfo, frames: Sequence[Frame]) -> tuple[Track, ...]:
        """Candidate tracks over `frames`; ids are slots. A slot that is empty on every frame is no candidate."""
        with torch.inference_mode():
            evidence = self._predict(frames)
            slots = self._selection.slots(evidence.class_probs)
            by_frame = [frame_masks(logits, evidence.letterbox) for logits in evidence.mask_logits[slots].unbind(1)]
        indices = [frame.index for frame in frames]
        probs = evidence.class_probs[slots].float().cpu().numpy()
        tracks = []
        for row, slot in enumerate(slots.tolist()):
            seen = {index: rles[row] for index, rles in zip(indices, by_frame, strict=True)}
            visible = {index: rle for index, rle in seen.items() if rle is not None}
            if visible:
                label = int(probs[row].argmax())
                scores = tuple(float(score) for score in probs[row])
                tracks.append(Track(slot, label, scores[label], visible, scores))
        return tuple(tracks)


def fit(
    image: NDArray[np.uint8], info: CheckpointInfo, options: RunOptions, short_side: int | None = None
) -> Letterbox:
    """From pictures of this size to what the network sees, and back."""
    side = short_side or options.short_side or info.short_side
    return Letterbox.fit((image.shape[0], image.shape[1]), short_side=side)


def fit_long_side(
    image: NDArray[np.uint8], info: CheckpointInfo, options: RunOptions, *, long_side: int, multiple: int
) -> Letterbox:
    """The same with a limit of the long side, which keeps its ratio to the short one where another is asked for."""
    side = options.short_side or info.short_side
    most = round(long_side * side / info.short_side)
    size_hw = (image.shape[0], image.shape[1])
    return Letterbox.fit(size_hw, short_side=side, long_side_max=most, multiple=multiple)


def prepare(images: Images, letterbox: Letterbox, info: CheckpointInfo, options: RunOptions) -> Tensor:
    """T pictures → normalised (1, T, 3, h, w) on the device.

    They are resized where they lie, so that the device is sent no more than the network sees.
    """
    mean, std = torch.tensor(info.pixel_mean), torch.tensor(info.pixel_std)
    frames = torch.stack([letterbox.apply(torch.from_numpy(image), mean, std) for image in images])
    return frames[None].to(options.device)


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
