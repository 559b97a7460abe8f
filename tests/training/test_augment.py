"""Augmentation: one draw a clip, and picture and mask stay one above the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vistool.training.augment import PIXEL_MEAN, PIXEL_STD, Jitter, View, augment
from vistool.training.dataset import Clip

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def clip_with_box(size_hw: tuple[int, int], box: tuple[int, int, int, int], frames: int = 2) -> Clip:
    """A white box (y0, x0, y1, x1) on black, the same on every frame, with its mask."""
    images = np.zeros((frames, *size_hw, 3), np.uint8)
    masks = np.zeros((1, frames, *size_hw), bool)
    y0, x0, y1, x1 = box
    images[:, y0:y1, x0:x1] = 255
    masks[:, :, y0:y1, x0:x1] = True
    return Clip(images, np.array([4]), masks)


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(40, 130),
    width=st.integers(40, 130),
    flip=st.sampled_from([0.0, 1.0]),
    scales=st.tuples(st.floats(0.4, 1.0), st.floats(1.0, 2.5)),
)
@settings(deadline=None, max_examples=60)
def test_a_box_in_the_picture_and_its_mask_stay_aligned(
    seed: int, height: int, width: int, flip: float, scales: tuple[float, float]
) -> None:
    clip = clip_with_box((height, width), (height // 4, width // 3, height // 2, width // 2 + 5))
    jitter = Jitter((64, 96), scales, flip, 0.0)

    frames, targets = augment(clip, [seed], jitter, *PLAIN)

    seen = frames[..., 0] > 127.5
    masks = targets.masks[0].numpy() if len(targets.labels) else np.zeros_like(seen)
    assert np.array_equal(seen, masks)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_every_frame_of_a_clip_gets_the_same_draw(seed: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    mask = image[..., 0] > 128
    clip = Clip(np.stack([image] * 4), np.array([0]), np.stack([mask] * 4)[None])

    frames, targets = augment(clip, [seed], Jitter((48, 64), (0.6, 1.7), 0.5, 0.4), PIXEL_MEAN, PIXEL_STD)

    assert (frames == frames[0]).all()
    assert all(plane.equal(targets.masks[0, 0]) for plane in targets.masks[0])


def test_a_flip_mirrors_picture_and_mask() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    masks = rng.random((3, 2, 32, 48)) > 0.5
    straight, mirrored = (View(flip, (32, 48), (0, 0), (32, 48)) for flip in (False, True))

    assert np.array_equal(straight.pictures(images, *PLAIN)[:, :, ::-1], mirrored.pictures(images, *PLAIN))
    assert np.array_equal(straight.planes(masks)[..., ::-1], mirrored.planes(masks))


def test_without_change_of_size_the_pixels_are_the_normalised_source() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)

    pictures = View(False, (32, 48), (0, 0), (32, 48)).pictures(images, PIXEL_MEAN, PIXEL_STD)

    np.testing.assert_allclose(pictures, (images - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD), atol=1e-5)


def test_padding_is_the_mean_colour_and_belongs_to_no_object() -> None:
    images = np.full((1, 32, 48, 3), 200, np.uint8)
    view = View(False, (16, 24), (10, 20), (32, 48))

    pictures, planes = view.pictures(images, PIXEL_MEAN, PIXEL_STD), view.planes(np.ones((1, 1, 32, 48), bool))

    outside = np.ones((32, 48), bool)
    outside[10:26, 20:44] = False
    assert (pictures[0, outside] == 0).all()
    assert np.array_equal(planes[0, 0], ~outside)


def test_an_object_cropped_away_on_every_frame_is_dropped() -> None:
    clip = clip_with_box((40, 40), (0, 0, 3, 3))
    clip.masks[0, 0] = False
    twice = Clip(clip.images, np.array([4, 5]), np.concatenate([clip.masks, np.ones_like(clip.masks)]))

    kept = [augment(twice, [seed], Jitter((32, 32), (3.0, 3.0), 0.0, 0.0), *PLAIN)[1] for seed in range(12)]

    assert {tuple(targets.labels.tolist()) for targets in kept} >= {(5,)}
    assert all(bool(targets.masks.any((1, 2, 3)).all()) for targets in kept)


def test_scale_and_place_use_their_whole_range() -> None:
    jitter = Jitter((60, 100), (0.5, 2.0), 0.5, 0.0)

    views = [View.draw(np.random.default_rng(seed), (120, 200), jitter) for seed in range(400)]

    factors = np.array([view.resized_hw[0] / 60 for view in views])
    assert factors.min() < 0.55
    assert factors.max() > 1.9
    assert 0.4 < np.mean(factors < 1) < 0.6
    assert 0.4 < np.mean([view.flip for view in views]) < 0.6
    assert all(abs(view.offset_yx[0]) <= abs(60 - view.resized_hw[0]) for view in views)


def test_colour_jitter_leaves_masks_alone_and_stays_in_range() -> None:
    box = clip_with_box((32, 48), (5, 5, 20, 20))
    clip = Clip(np.random.default_rng(0).integers(0, 256, box.images.shape, np.uint8), box.labels, box.masks)
    plain, coloured = (Jitter((32, 48), (1.0, 1.0), 0.0, strength) for strength in (0.0, 0.5))

    (frames, targets), (changed, same) = (augment(clip, [3], jitter, *PLAIN) for jitter in (plain, coloured))

    assert targets.masks.equal(same.masks)
    assert not np.array_equal(frames, changed)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_is_a_pure_function_of_its_seed(seed: int) -> None:
    clip = clip_with_box((50, 60), (10, 10, 30, 30))
    jitter = Jitter((32, 48), (0.5, 2.0), 0.5, 0.3)

    first, second = (augment(clip, [seed, 7], jitter, *PLAIN) for _ in range(2))

    assert np.array_equal(first[0], second[0])
    assert first[1].masks.equal(second[1].masks)
