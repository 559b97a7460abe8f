"""RefineVIS with an image model that knows a film by heart: what it says of a frame is written down, not learned.

A sighting is an embedding: class logits, then one number a band of the picture (its mask), then what it looks like.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vistool import masks
from vistool.methods.refinevis import network as network_module
from vistool.methods.refinevis.inference import RefineVisModel
from vistool.methods.refinevis.network import RefineVis
from vistool.methods.refinevis.presets import Preset
from vistool.nn.image_model import FrameObjects
from vistool.types import Category, Frame, FramePrediction, RunOptions, VideoInfo
from vistool.weights.checkpoint import CheckpointInfo

SIZE = (32, 64)
CLASSES, BANDS, AXES = 3, 8, 13
DIM = CLASSES + BANDS + AXES
BIAS = -3.0  # of the class logits: an embedding of zeros is no object
VIDEO = VideoInfo("film", SIZE, Fraction(25), None)
CATEGORIES = tuple(Category(number + 1, f"thing {number}") for number in range(CLASSES))

Tar = Literal["identity", "copying", "random"]


@dataclass(frozen=True)
class Sighting:
    """An object as it is seen on one frame."""

    look: int  # objects of different looks have nothing in common
    score: float = 0.9
    band: int | None = None  # an eighth of the picture, from the left; None: that of its look
    label: int = 0

    @property
    def embedding(self) -> Tensor:
        built = torch.zeros(DIM)
        built[:CLASSES] = BIAS
        built[self.label] = float(np.log(self.score / (1 - self.score))) - BIAS
        built[CLASSES + self._band] = 8.0
        built[CLASSES + BANDS + self.look] = 6.0
        return built

    @property
    def box(self) -> Tensor:
        return torch.tensor([(self._band + 0.5) / BANDS, 0.5, 1 / BANDS, 1.0])

    @property
    def _band(self) -> int:
        return self.look % BANDS if self.band is None else self.band


Film = Sequence[Sequence[Sighting]]


class FilmedImage(nn.Module):
    """An `ImageModel` for the film whose frame t is a picture of the value t. `asked`: references of its masks."""

    def __init__(self, film: Film) -> None:
        super().__init__()
        self.film = film
        self.asked: list[list[float]] = []

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        seen = self.film[int(frames[0, 0, 0, 0])]
        embeddings = torch.stack([each.embedding for each in seen]) if seen else torch.zeros(0, DIM)
        boxes = torch.stack([each.box for each in seen]) if seen else torch.zeros(0, 4)
        bands = torch.eye(BANDS)[:, None].repeat_interleave(SIZE[1] // 4 // BANDS, dim=2).expand(-1, SIZE[0] // 4, -1)
        return FrameObjects(embeddings[None], self.classes(embeddings)[None], boxes[None], bands[None])

    def classes(self, embeddings: Tensor) -> Tensor:
        return embeddings[..., :CLASSES] + BIAS

    def masks(self, embeddings: Tensor, pixels: Tensor, references: Tensor | None = None) -> Tensor:
        assert references is not None
        assert len(references) == len(embeddings)
        self.asked.append(references[:, 0].tolist())
        return torch.einsum("nb,bhw->nhw", embeddings[:, CLASSES : CLASSES + BANDS], pixels) - 4

    def association(self, objects: FrameObjects) -> Tensor:
        return objects.embeddings[..., CLASSES + BANDS :]


def filmed(film: Film, tar: Tar = "identity", **changes: Any) -> RefineVis:
    """The network for a film. A copying refinement adds what a tracklet looks like on the mean of its window."""
    settings: dict[str, Any] = {"tar_heads": 4, "tar_ffn": 8, "contrastive_head": False} | changes
    preset = Preset(image_model="maskdino", image={"dim": DIM}, num_classes=CLASSES, **settings)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        patch.setattr(network_module, "IMAGE_MODELS", {"maskdino": lambda sizes: FilmedImage(film)})
        built = RefineVis(preset).eval()
        attention = built.tar.attention
        if tar == "copying":
            for linear in (attention.to_q, attention.to_k):
                linear.weight.zero_()
            attention.to_v.weight.copy_(torch.eye(DIM))
            attention.out.weight.copy_(3 * torch.eye(DIM))
        elif tar == "random":
            for parameter in built.tar.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return built


def model(network: RefineVis, **options: Any) -> RefineVisModel:
    info = CheckpointInfo(
        method="refinevis",
        preset="filmed",
        sizes={},
        categories=CATEGORIES,
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
        short_side=SIZE[0],
        conf=0.3,
        training_data="none",
        licence="none",
    )
    return RefineVisModel(network, info, RunOptions(**options))


def pictures(positions: Iterable[int]) -> list[Frame]:
    return [Frame(t, t / 25, np.full((*SIZE, 3), t, np.uint8)) for t in positions]


def online(network: RefineVis, length: int | None = None, **options: Any) -> list[FramePrediction]:
    tracker = model(network, **options).begin(VIDEO)
    return [tracker.step(frame) for frame in pictures(range(_length(network, length)))]


def offline(network: RefineVis, window: int, length: int | None = None, **options: Any) -> list[FramePrediction]:
    tracker = model(network, **options).begin_clips(VIDEO, window)
    frames = pictures(range(_length(network, length)))
    clips = [frames[begin : begin + window] for begin in range(0, len(frames), window)]
    return [prediction for clip in clips for prediction in tracker.segment(clip)]


def _length(network: RefineVis, length: int | None) -> int:
    assert isinstance(network.image, FilmedImage)
    return len(network.image.film) if length is None else length


def bands_of(prediction: FramePrediction) -> dict[int, set[int]]:
    """Which bands of the picture each track covers; tracks without a pixel are left out."""
    width = SIZE[1] // BANDS
    middles = {
        track_id: masks.decode(rle)[0, width // 2 :: width]
        for track_id, rle in zip(prediction.track_ids.tolist(), prediction.masks, strict=True)
    }
    return {track_id: set(np.flatnonzero(seen).tolist()) for track_id, seen in middles.items() if seen.any()}


def rows_of(prediction: FramePrediction) -> dict[int, tuple[bytes, bytes]]:
    """Everything that is said of each track, to the bit."""
    assert prediction.class_scores is not None
    rows = zip(prediction.track_ids.tolist(), prediction.masks, prediction.class_scores, strict=True)
    return {track_id: (rle.counts, scores.tobytes()) for track_id, rle, scores in rows}
