"""Laws of the eight outlines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vistool.shapes.outlines import CLASSES, OUTLINES, Points, Wobble


def _filled(contours: tuple[Points, ...]) -> np.ndarray:
    canvas = np.zeros((200, 200), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * 60 + 100).astype(np.int32) for points in contours], 1)
    return canvas.astype(bool)


def test_there_are_eight_classes() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 8


@pytest.mark.parametrize("name", CLASSES)
def test_an_outline_has_about_the_size_of_the_others(name: str) -> None:
    radius = np.linalg.norm(OUTLINES[name][0], axis=1).max()

    assert 0.95 < radius < 1.4


@pytest.mark.parametrize("name", CLASSES)
def test_an_outline_is_one_piece(name: str) -> None:
    pieces, _ = cv2.connectedComponents(_filled(OUTLINES[name]).astype(np.uint8), connectivity=4)

    assert pieces == 2  # the background is one


@pytest.mark.parametrize("name", CLASSES)
def test_only_the_ring_has_a_hole(name: str) -> None:
    pieces, _ = cv2.connectedComponents((~_filled(OUTLINES[name])).astype(np.uint8), connectivity=4)

    assert pieces == (3 if name == "ring" else 2)


@pytest.mark.parametrize("name", CLASSES)
def test_no_turn_of_another_class_covers_the_same_pixels(name: str) -> None:
    ours = _filled(OUTLINES[name])
    turns = [cv2.Rodrigues(np.array([0.0, 0.0, angle]))[0][:2, :2] for angle in np.arange(0, 2 * np.pi, np.pi / 12)]
    theirs = [
        _filled(tuple(p @ turn.T for p in OUTLINES[other])) for other in CLASSES if other != name for turn in turns
    ]

    assert max((ours & mask).sum() / (ours | mask).sum() for mask in theirs) < 0.85


def test_a_wobble_without_amplitude_changes_nothing() -> None:
    still = Wobble(np.zeros(3), np.ones(3), np.ones(3))

    bent = still.apply(OUTLINES["ring"], frame=5)

    np.testing.assert_array_equal(bent[0], OUTLINES["ring"][0])
    np.testing.assert_array_equal(bent[1], OUTLINES["ring"][1])


def test_a_wobble_moves_a_point_along_its_radius_only() -> None:
    wobble = Wobble(np.array([0.1, 0.05, 0.02]), np.array([0.0, 1.0, 2.0]), np.array([0.3, -0.2, 0.1]))
    before = OUTLINES["star"][0]

    (after,) = wobble.apply((before,), frame=7)

    np.testing.assert_allclose(before[:, 0] * after[:, 1], before[:, 1] * after[:, 0], atol=1e-12)
    assert np.abs(np.linalg.norm(after, axis=1) / np.linalg.norm(before, axis=1) - 1).max() <= 0.17
