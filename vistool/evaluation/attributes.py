"""What makes a video hard, read off its annotated tracks: how they move, grow, turn and hide.

The three measures of motion and shape are those of section 4.3 of MS-STS VIS (Thawakar et al., "Video Instance
Segmentation via Multi-scale Spatio-temporal Split Attention Transformer", ECCV 2022). The paper leaves open what the
size of an object is; here the unit of motion is the square root of the box area, and size change compares box areas,
which fits the number of videos that the paper counts. A video has an attribute when one of its tracks has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAST_MOTION = "fast motion"
SIZE_CHANGE = "size change"
ASPECT_CHANGE = "aspect-ratio change"
OCCLUSION = "occlusion"
ATTRIBUTES = (FAST_MOTION, SIZE_CHANGE, ASPECT_CHANGE, OCCLUSION)

MIN_STEP = 0.3  # of the object's length, from one frame to the next; reaching it is enough
MAX_SIZE_RATIO = 1.5  # largest to smallest box area of a track; to be exceeded
MAX_ASPECT_RATIO = 1.5  # largest to smallest width / height of a track; to be exceeded
MAX_HIDDEN = 0.5  # share of the whole object, on any one frame; to be exceeded


def track_attributes(
    boxes: NDArray[np.float64], seen: NDArray[np.bool_], hidden: NDArray[np.float64] | None
) -> frozenset[str]:
    """Which of ATTRIBUTES one annotated track has; crowds are for the caller to leave out.

    boxes (T, 4) are x, y, width, height in pixels around the visible mask, and both sides are above 0 where `seen`
    (T,); other rows may hold anything. hidden (T,) is the share in [0, 1] of the whole object, as far as it is inside
    the frame, that something covers; a frame on which all of it is covered, so that nothing is seen, is 1 and counts.
    NaN: not known on this frame, or outside the picture. None: not known at all, and the track has no occlusion.
    """
    width, height = boxes[seen, 2:].T
    has = {
        FAST_MOTION: _moves_fast(boxes, seen),
        SIZE_CHANGE: _exceeds(width * height, np.ones_like(width), MAX_SIZE_RATIO),
        ASPECT_CHANGE: _exceeds(width, height, MAX_ASPECT_RATIO),
        OCCLUSION: hidden is not None and bool((hidden > MAX_HIDDEN).any()),
    }
    return frozenset(name for name in ATTRIBUTES if has[name])


def describe() -> tuple[str, ...]:
    """Lines for a report that counts attributes: what each one means, thresholds included."""
    return (
        "a video has an attribute when one of its annotated tracks, crowds left out, has it; boxes are tight",
        f"{FAST_MOTION}: the box centre moves by at least {MIN_STEP:g} × √(box area) between neighbouring annotated "
        "frames, so it is more common where fewer frames are annotated",
        f"{SIZE_CHANGE}: largest / smallest box area of the track above {MAX_SIZE_RATIO:g}",
        f"{ASPECT_CHANGE}: largest / smallest width / height of the track above {MAX_ASPECT_RATIO:g}",
        f"{OCCLUSION}: more than {MAX_HIDDEN:g} of the object hidden on some frame, or all of it; "
        "known only where whole objects are annotated",
    )


def _moves_fast(boxes: NDArray[np.float64], seen: NDArray[np.bool_]) -> bool:
    """Whether the track leaps from one frame to the next; a gap is no step."""
    both = seen[:-1] & seen[1:]
    before, after = boxes[:-1][both], boxes[1:][both]
    step = (after[:, :2] + after[:, 2:] / 2) - (before[:, :2] + before[:, 2:] / 2)
    length = np.sqrt(before[:, 2] * before[:, 3])
    return bool((np.hypot(*step.T) >= MIN_STEP * length).any())


def _exceeds(numerators: NDArray[np.float64], denominators: NDArray[np.float64], ratio: float) -> bool:
    """Whether the greatest of the fractions (N,) is more than `ratio` times the smallest, exact for whole pixels."""
    if not numerators.size:
        return False
    fractions = numerators / denominators
    top, bottom = fractions.argmax(), fractions.argmin()
    return bool(numerators[top] * denominators[bottom] > ratio * numerators[bottom] * denominators[top])
