"""How IAI learns: it goes through a clip frame by frame, and its memory is told the truth (section 3.5).

The image model's losses on each frame are all there is. What memory is good for is learned through them: gradients flow
back through it to all earlier frames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...nn.frame_sizes import padded
from ...nn.targets import ClipTargets
from .clip_targets import taught
from .id_bank import STRIDE, as_stacks
from .memory import Memory
from .network import Iai


def losses(network: Iai, frames: Tensor, targets: Sequence[ClipTargets]) -> dict[str, Tensor]:
    """The image model's terms, each a mean over frames; frames (B, T, 3, H, W) normalised. All weights are 1.

    Long-term memory is of one length for the whole batch: with `train_new_object_append` it keeps a frame when an
    object is new on it in any of the clips.
    """
    preset = network.preset
    clips = [
        taught(replace(target, masks=padded(target.masks, STRIDE)), preset.max_ids, permuted=preset.id_permutation)
        for target in targets
    ]
    count, length = frames.shape[:2]
    maps = [level.unflatten(0, (count, length)) for level in network.look(padded(frames.flatten(0, 1), STRIDE))]
    memory = Memory(interval=preset.long_interval, most=preset.memory_frames)
    terms: dict[str, list[Tensor]] = defaultdict(list)
    for t in range(length):
        *finer, c5 = (level[:, t] for level in maps)
        seen = network.associate(c5, memory if t else None)
        for name, term in network.detector.losses((*finer, seen.c5), [clip.frame(t) for clip in clips]).items():
            terms[name].append(term)
        if t + 1 < length:
            pictures = torch.stack([clip.pictures[t] for clip in clips])
            new = preset.train_new_object_append and any(bool(clip.fresh[t]) for clip in clips)
            memory.add(network.remember(seen.tokens, as_stacks(pictures, preset.max_ids + 1)), new_objects=new)
    return {name: torch.stack(each).mean() for name, each in terms.items()}
