"""Colours of identities: steady, apart from each other, and readable."""

from __future__ import annotations

import itertools

import pytest

from vistool.writers.palette import Colour, text_colour, track_colour


def _luminance(colour: Colour) -> float:
    red, green, blue = ((c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(a: Colour, b: Colour) -> float:
    """Contrast ratio of WCAG 2, 1 to 21."""
    darker, lighter = sorted((_luminance(a), _luminance(b)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_first_twelve_colours_are_far_apart() -> None:
    colours = [track_colour(track_id) for track_id in range(1, 13)]

    gaps = [sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) for one, two in itertools.combinations(colours, 2)]
    assert min(gaps) > 45**2


@pytest.mark.parametrize("track_id", [1, 2, 3, 255, 256, 10**9, 0, -4])
def test_every_track_has_a_colour_that_stands_out_from_black(track_id: int) -> None:
    assert _contrast(track_colour(track_id), (0, 0, 0)) > 4


@pytest.mark.parametrize("colour", [*(track_colour(track_id) for track_id in range(24)), (0, 0, 90), (250, 250, 0)])
def test_text_is_readable_on_its_tag(colour: Colour) -> None:
    assert _contrast(text_colour(colour), colour) > 4
