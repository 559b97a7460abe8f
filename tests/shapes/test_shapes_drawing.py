"""Pictures and masks agree, and masks say who covers whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vistool.shapes.dataset import Recipe
from vistool.shapes.drawing import MIN_VISIBLE, Silhouettes, pictures, silhouettes
from vistool.shapes.motion import Path
from vistool.shapes.outlines import OUTLINES, Wobble
from vistool.shapes.scene import Camera, Scene, Thing

STILL = Wobble(np.zeros(1), np.zeros(1), np.zeros(1))
HEIGHT, WIDTH = 100, 160


def disk(x: float, y: float, radius: float, depth: float = 0.5, colour: float = 255) -> Thing:
    """A plain disk that stands still for two frames; lengths in frame heights."""
    return Thing(
        label=0,
        contours=OUTLINES["disk"],
        wobble=STILL,
        surface=np.full((8, 8, 3), colour, np.float32),
        rim=np.full(3, colour, np.float32),
        path=Path(np.full((2, 2), [x, y]), np.full(2, depth)),
        shapes=np.stack([radius * np.eye(2)] * 2),
    )


def scene_of(*objects: Thing, poles: tuple[Thing, ...] = ()) -> Scene:
    """Two frames on black without noise and camera."""
    rest = Camera(np.zeros((2, 2)), np.ones(2), np.zeros((2, 2)), np.zeros(2))
    black = np.zeros((180, 240, 3), np.float32)
    return Scene((HEIGHT, WIDTH), 2, objects, poles, black, rest, shutter=0.0, noise=0.0)


def test_a_disk_covers_the_pixels_whose_centres_it_holds() -> None:
    (mask,) = silhouettes(scene_of(disk(0.7, 0.5, 0.2)), 0).full

    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(x - 70, y - 50)
    assert mask[distance < 19.3].all()
    assert not mask[distance > 20.5].any()
    assert mask.sum() == pytest.approx(np.pi * 20**2, rel=2 * 0.125 / 20)  # an outline is true to an eighth of a pixel


def test_a_nearer_object_covers_a_farther_one() -> None:
    shot = silhouettes(scene_of(disk(0.6, 0.5, 0.2, depth=0.9), disk(0.8, 0.5, 0.2, depth=0.1)), 0)

    np.testing.assert_array_equal(shot.visible[1], shot.full[1])
    np.testing.assert_array_equal(shot.visible[0], shot.full[0] & ~shot.full[1])
    assert (shot.full[0] & shot.full[1]).any()


def test_a_pole_covers_objects_and_has_no_mask() -> None:
    pole = replace(disk(0.7, 0.5, 0.1, depth=-np.inf), label=None)

    shot = silhouettes(scene_of(disk(0.7, 0.5, 0.2), poles=(pole,)), 0)

    assert len(shot.full) == 1
    assert shot.full.sum() - shot.visible.sum() == pytest.approx(np.pi * 10**2, rel=2 * 0.125 / 10)


def test_an_object_with_a_handful_of_pixels_is_not_visible() -> None:
    few, enough = (silhouettes(scene_of(disk(0.7, 0.5, radius)), 0) for radius in (0.015, 0.03))

    assert not few.visible.any()
    assert enough.visible.sum() >= MIN_VISIBLE


def test_an_object_outside_the_frame_has_an_empty_mask() -> None:
    shot = silhouettes(scene_of(disk(-0.5, 0.5, 0.2), disk(0.7, 1.4, 0.2)), 0)

    assert not shot.full.any()


def test_a_still_picture_shows_the_object_exactly_where_its_mask_is() -> None:
    scene = scene_of(disk(0.7, 0.5, 0.2), disk(0.1, 0.0, 0.3))

    picture = next(pictures(scene, np.random.default_rng(0)))

    shown = picture[..., 0] > 127
    np.testing.assert_array_equal(shown, silhouettes(scene, 0).visible.any(axis=0))


def test_motion_smears_the_picture_and_leaves_the_mask_sharp() -> None:
    moving = replace(disk(0.7, 0.5, 0.2), path=Path(np.array([[0.5, 0.5], [0.7, 0.5]]), np.full(2, 0.5)))
    scene = replace(scene_of(moving), shutter=1.0)

    sharp = silhouettes(scene, 0).full[0]
    picture = next(pictures(scene, np.random.default_rng(0)))[..., 0]

    grey = (picture > 20) & (picture < 235)
    assert sharp.sum() == pytest.approx(np.pi * 20**2, rel=2 * 0.125 / 20)
    assert grey.sum() > 0.2 * sharp.sum()
    assert picture.sum() / 255 == pytest.approx(sharp.sum(), rel=0.02)


@pytest.mark.parametrize("number", range(3))
def test_visible_masks_are_apart_and_inside_the_full_ones(number: int) -> None:
    scene, _ = Recipe.of("shapes-val").scene(number)
    shots: list[Silhouettes] = [silhouettes(scene, frame) for frame in range(0, scene.frames, 4)]

    assert max(shot.visible.sum(axis=0).max() for shot in shots) <= 1
    assert not any((shot.visible & ~shot.full).any() for shot in shots)
