"""Features of frames: computed once though windows overlap, the same as without a memory, gone with the frames."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vistool import windows
from vistool.methods.clip_inference import fit, prepare
from vistool.methods.frame_features import FrameFeatures
from vistool.nn.pixel_decoder import PixelFeatures
from vistool.nn.presets import TINY, Mask2FormerSizes
from vistool.nn.trunk import FrameTrunk
from vistool.types import Category, Frame, RunOptions, Track
from vistool.weights.checkpoint import CheckpointInfo

SIZES = Mask2FormerSizes(**TINY)
INFO = CheckpointInfo(
    method="mask2former-vis",
    preset="tiny",
    sizes=asdict(SIZES),
    categories=(Category(1, "cat"),),
    pixel_mean=(120.0, 110.0, 100.0),
    pixel_std=(60.0, 60.0, 60.0),
    short_side=32,
    conf=0.3,
    training_data="none",
    licence="none",
)


def film(count: int) -> list[Frame]:
    rng = np.random.default_rng(3)
    return [Frame(index, index / 25, rng.integers(0, 256, (40, 64, 3), np.uint8)) for index in range(count)]


@pytest.fixture(scope="module")
def trunk() -> FrameTrunk:
    torch.manual_seed(0)
    return FrameTrunk(SIZES).eval()


@pytest.mark.parametrize("count", [1, 3, 8, 11, 21])
@pytest.mark.parametrize(("window", "overlap"), [(8, 4), (5, 0), (3, 2), (0, 0)])
@torch.inference_mode()
def test_every_frame_goes_through_the_trunk_once(trunk: FrameTrunk, window: int, overlap: int, count: int) -> None:
    frames, looked_at = film(count), 0

    def counted(pictures: Tensor) -> PixelFeatures:
        nonlocal looked_at
        looked_at += pictures.shape[1]
        return trunk(pictures)  # type: ignore[no-any-return]

    features = FrameFeatures(counted, INFO, RunOptions())

    def segment(some: Sequence[Frame]) -> Sequence[Track]:
        found, letterbox = features.of(some)
        alone = trunk(prepare([frame.image for frame in some], letterbox, INFO, RunOptions()))
        ours, theirs = (*found.levels, found.mask_features), (*alone.levels, alone.mask_features)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        assert letterbox == fit(some[0].image, INFO, RunOptions())
        return []

    steps = windows.settle(iter(frames), segment, window=window, overlap=overlap, classes=1)

    assert len(list(steps)) == count
    assert looked_at == count


@torch.inference_mode()
def test_the_size_asked_for_is_the_size_looked_at(trunk: FrameTrunk) -> None:
    options = replace(RunOptions(), short_side=64)

    found, letterbox = FrameFeatures(trunk, INFO, options).of(film(2))

    assert letterbox.padded_hw == (64, 128)
    assert found.mask_features.shape == (2, SIZES.dim, 16, 32)


@torch.inference_mode()
def test_features_are_gone_when_their_frames_are(trunk: FrameTrunk) -> None:
    features = FrameFeatures(trunk, INFO, RunOptions())
    frames = film(3)
    features.of(frames)

    del frames[0]
    gc.collect()

    assert [frame.index for frame in features._known] == [1, 2]
