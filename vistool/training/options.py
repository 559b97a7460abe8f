"""The settings of a training run: one frozen value, checked before any work is done."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError

Schedule = Literal["cosine", "steps", "poly"]
Precision = Literal["fp32", "bf16"]
ScaleDraw = Literal["log", "linear"]


_FREE = {
    *("out", "val", "device", "val_every", "val_videos", "save_every", "log_every", "cache_gb"),
    *("half", "conf", "licence", "training_data"),
}
"""Fields that may change between a run and its resumption: they have no say in what is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Everything a run depends on, besides the files it reads. UsageError names the flag that is wrong."""

    method: str
    """A row of METHODS."""
    data: Path
    """YTVIS JSON of the training videos, or COCO JSON of images."""
    out: Path
    """The run folder."""
    val: Path | None = None
    """YTVIS JSON of the videos that decide which weights are best; None: the last weights are the best."""
    init: str | None = None
    """Key or path of the checkpoint to start from; None: fresh weights."""
    preset: str = "tiny"
    """Sizes of the network, by name."""
    device: str = "cpu"
    """A torch device, resolved."""
    precision: Precision = "fp32"
    """bf16: mixed precision, with the weights kept in float32."""
    seed: int = 0
    """Decides the fresh weights, every clip and every random number in the losses."""

    max_steps: int = 4000
    """Updates of the weights in the whole run."""
    batch: int = 12
    """Clips an update, over all processes."""
    clip_frames: int = 1
    """Frames a clip; 1 trains on stills."""
    clip_range: int = 10
    """The frames of a clip lie at most this many frames from a random one; 0: all are that one, a pseudo-video."""
    clip_gap: int | None = None
    """From each frame of a clip to its next at most this many frames, at random; None: `clip_range` counts instead."""
    size_hw: tuple[int, int] = (96, 160)
    """Pixels that the network sees; the short side is written into the checkpoint."""
    scale_min: float = 0.8
    """Least size of the picture; at 1 the whole picture just fits into `size_hw`."""
    scale_max: float = 1.5
    """Greatest size of the picture; above 1 it is cropped."""
    scale_draw: ScaleDraw = "log"
    """Sizes are drawn evenly in their logarithm, or evenly as they are (large-scale jitter)."""
    flip: float = 0.5
    """Probability that a clip is mirrored left to right."""
    colour: float = 0.0
    """Strength of brightness, contrast and saturation jitter; 0: none."""

    lr: float = 1e-3
    """Peak learning rate."""
    backbone_lr: float = 1.0
    """Learning rate of the backbone, as a factor of `lr`."""
    freeze: tuple[str, ...] = ()
    """Parts of the network that keep their weights and statistics, such as `image.backbone`."""
    weight_decay: float = 0.05
    """Of weight matrices and kernels; biases, norms and embeddings are never decayed."""
    schedule: Schedule = "cosine"
    """After the warm-up: down to nothing along a cosine, ×0.1 at each milestone, or down as (steps left)^0.9."""
    warmup: int = 200
    """Steps of linear rise to the peak."""
    milestones: tuple[int, ...] = ()
    """Steps at which the `steps` schedule drops."""
    clip_norm: float = 1.0
    """Greatest norm of the whole gradient; 0: not clipped."""
    ema: float = 0.999
    """Decay of the averaged weights, which are the ones kept; 0: no averaging."""

    val_every: int = 1000
    """Steps between measurements on `val`, and between drawings of the curve; the last step is always measured."""
    val_videos: int = 12
    """Videos of `val` that are measured, the first ones by id; 0: all."""
    save_every: int = 250
    """Steps between full states on disk: what a killed run loses at most."""
    log_every: int = 20
    """Steps that one line of the log averages over."""
    cache_gb: float = 4.0
    """Memory for decoded videos, in GB of 10⁹ bytes."""
    half: bool = False
    """Write the checkpoints in fp16, half as large."""
    conf: float = 0.3
    """Score threshold for people that the checkpoint carries."""
    licence: str = "Apache-2.0"
    """Of the weights, as the checkpoint says it."""
    training_data: str | None = None
    """What the checkpoint says it was trained on; None: the description in the data's JSON, or its folder."""

    def __post_init__(self) -> None:
        least = {
            "seed": 0, "max_steps": 1, "batch": 1, "clip_frames": 1, "clip_range": 0, "warmup": 0, "val_every": 1,
            "val_videos": 0, "save_every": 1, "log_every": 1, "cache_gb": 0, "clip_norm": 0, "colour": 0,
            "weight_decay": 0,
        }  # fmt: skip
        for name, bound in least.items():
            _require(getattr(self, name) >= bound, name, getattr(self, name), f"is at least {bound}")
        for name in ("lr", "backbone_lr", "scale_min"):
            value = getattr(self, name)
            _require(0 < value < math.inf, name, value, "is above 0")
        for name in ("flip", "conf"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "lies between 0 and 1")
        _require(0 <= self.ema < 1, "ema", self.ema, "lies between 0 and 1, below 1")
        _require(min(self.size_hw) >= 32, "size", "x".join(map(str, self.size_hw)), "has sides of at least 32")
        _require(self.scale_max >= self.scale_min, "scale_max", self.scale_max, "is at least --scale-min")
        _require(self.clip_gap is None or self.clip_gap >= 1, "clip_gap", self.clip_gap, "is at least 1")
        most = 2 * self.clip_range + 1
        fits = self.clip_frames <= most or self.clip_range == 0 or self.clip_gap is not None
        _require(fits, "clip_frames", self.clip_frames, f"is at most {most} with this --clip-range")
        _require(self.warmup < self.max_steps, "warmup", self.warmup, "is below --max-steps")
        steps = self.milestones
        _require(list(steps) == sorted(set(steps)), "milestones", steps, "rises")
        _require(bool(steps) == (self.schedule == "steps"), "milestones", steps, "belongs to --schedule steps")


def flag(name: str) -> str:
    """The command line's word for a field."""
    words = {"size_hw": "size"}
    return "--" + words.get(name, name).replace("_", "-")


def fixed_settings(options: TrainOptions) -> dict[str, Any]:
    """What may not change between a run and its resumption, as JSON values."""
    return {item.name: _json(getattr(options, item.name)) for item in fields(options) if item.name not in _FREE}


def all_settings(options: TrainOptions) -> dict[str, Any]:
    """Every field, as JSON values."""
    return {item.name: _json(getattr(options, item.name)) for item in fields(options)}


def _json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return list(value) if isinstance(value, tuple) else value


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise UsageError(f"{flag(name)} does not fit: `{value}` (it {rule})")
