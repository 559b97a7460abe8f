"""Published Mask2Former weights as an IFR that gives their own quality before any training.

The recurrence is off, the clip update is the mean over frames, and the class head answers for each class against
no-object (see `start.py`).
"""

from __future__ import annotations

from dataclasses import asdict, replace

import torch

from ...nn.published import from_published
from ...weights.checkpoint import Checkpoint
from ...weights.foreign import Foreign
from ..published_info import describe, preset_name
from .network import Ifr
from .presets import PRESETS, Preset
from .start import with_sigmoid_head

UNTRAINED = "IFR's own modules start as the identity: no recurrence, clip queries are means over frames"


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is one of `nn.published.LAYOUTS`, or "auto"; WeightsError when a tensor is missing or left over."""
    sizes, shared = from_published(foreign.tensors, layout)
    preset = Preset(**asdict(sizes), rho=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # attention inside the clip update is random behind its zero output
        state = Ifr(preset).state_dict()
    info = describe("ifr", sizes, PRESETS)
    named = preset_name(replace(preset, rho=1.0), PRESETS)
    return Checkpoint(
        replace(info, preset=named, sizes=asdict(preset), untrained=UNTRAINED), {**state, **with_sigmoid_head(shared)}
    )
