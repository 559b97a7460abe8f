"""Training clips out of YTVIS annotations over video files or image folders.

Which clip is taken is a pure function of (seed, step, number), so a run that resumes sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..errors import InputError
from .annotations import AnnotatedVideo, Annotations
from .frames import FrameCache, Pictures


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Some frames of a video, in order, with the objects visible on at least one of them."""

    images: NDArray[np.uint8]  # (T, H, W, 3), RGB
    labels: NDArray[np.int64]  # (N,), row of `categories`
    masks: NDArray[np.bool_]  # (N, T, H, W); all false where the object is absent
    frames: tuple[int, ...] = ()  # T numbers in the video; empty: unknown

    @property
    def repeats(self) -> bool:
        """Whether it shows one picture several times: what a video shorter than a clip gives, such as a still."""
        return len(self.frames) > 1 and len(set(self.frames)) == 1


class ClipReader:
    """Pictures and masks of chosen frames. Used by one thread."""

    def __init__(self, annotations: Annotations, *, cache_bytes: int) -> None:
        self._videos = annotations.videos
        self._cache = FrameCache(cache_bytes)

    def read(self, row: int, frames: Sequence[int]) -> Clip:
        """These frames of the video in this row; no mask of another frame is decoded."""
        video = self._videos[row]
        images = np.stack([self._picture(video, t) for t in frames])
        labels, planes = [], []
        for item in video.objects:
            # The label belongs to the object and not to a frame: it may be absent on any of these.
            clip_masks = [_decode(item.segmentations[t], video, t) for t in frames]
            if any(mask.any() for mask in clip_masks):
                labels.append(item.label)
                planes.append(np.stack(clip_masks))
        found = np.stack(planes) if planes else np.zeros((0, len(frames), *video.size_hw), np.bool_)
        return Clip(images, np.array(labels, np.int64), found, tuple(frames))

    def _picture(self, video: AnnotatedVideo, t: int) -> Pictures:
        one_file = len(video.files) == 1
        pictures = self._cache.pictures(video.files[0 if one_file else t])
        if one_file and len(pictures) < video.length:
            raise InputError(f"video `{video.files[0]}` has {len(pictures)} frames, its annotations {video.length}")
        picture: Pictures = pictures[t if one_file else 0]
        if picture.shape[:2] != video.size_hw:
            raise InputError(f"`{video.name}` frame {t} is {picture.shape[:2]}, its annotations say {video.size_hw}")
        return picture


def _decode(segmentation: Any, video: AnnotatedVideo, t: int) -> NDArray[np.bool_]:
    if not segmentation:
        return np.zeros(video.size_hw, np.bool_)
    try:
        return masks.decode(masks.from_json(segmentation, video.size_hw))
    except ValueError as e:
        raise InputError(f"bad mask in video `{video.name}`, frame {t}: {e}") from e


@dataclass(frozen=True, slots=True)
class ClipSampler:
    """Chooses clips: every video once an epoch, in an order of that epoch's own."""

    lengths: tuple[int, ...]  # frames of each video
    clip_frames: int
    clip_range: int  # frames before and after the middle one
    batch: int  # clips a step
    seed: int
    clip_gap: int | None = None  # most frames from one of a clip to its next; None: `clip_range` says how far they lie

    def choose(self, step: int, number: int) -> tuple[int, list[int]]:
        """Clip `number` of `step` → row of its video, and its frames, ascending.

        They are all different, unless fewer frames than a clip holds lie in reach.
        """
        epoch, position = divmod(step * self.batch + number, len(self.lengths))
        row = int(_order(self.seed, epoch, len(self.lengths))[position])
        rng = np.random.default_rng([self.seed, step, number])
        if self.clip_gap is None:
            return row, self._around(rng, self.lengths[row], self.clip_range)
        return row, self._onwards(rng, self.lengths[row], self.clip_gap)

    def _around(self, rng: np.random.Generator, length: int, clip_range: int) -> list[int]:
        """A frame anywhere, and others at most `clip_range` from it."""
        middle = int(rng.integers(length))
        near = np.arange(max(0, middle - clip_range), min(length - 1, middle + clip_range) + 1)
        if len(near) < self.clip_frames:
            return _repeated(near, self.clip_frames)
        others = rng.choice(near[near != middle], self.clip_frames - 1, replace=False)
        return sorted([middle, *others.tolist()])

    def _onwards(self, rng: np.random.Generator, length: int, clip_gap: int) -> list[int]:
        """A frame anywhere that leaves room for the others, then gaps of 1 to `clip_gap`, or to what still fits."""
        room = length - self.clip_frames  # frames that the gaps may leave out, all together
        if room < 0:
            return _repeated(np.arange(length), self.clip_frames)
        frames = [int(rng.integers(room + 1))]
        for number in range(1, self.clip_frames):
            fits = room + number - frames[-1]
            frames.append(frames[-1] + int(rng.integers(1, min(clip_gap, fits) + 1)))
        return frames


def _repeated(frames: NDArray[np.int64], count: int) -> list[int]:
    """As many frames as asked for, in order, where there are too few of them."""
    return sorted(np.resize(frames, count).tolist())


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
