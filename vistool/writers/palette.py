"""One colour an identity: the same in every frame, run and style, and far from those of its neighbours in number."""

from __future__ import annotations

import math
from functools import lru_cache

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

BLACK: Colour = (16, 16, 16)
WHITE: Colour = (255, 255, 255)

_GOLDEN_TURN = 0.381966  # of the hue circle: every new hue falls into the widest gap that is left
_FIRST_HUE = 0.70  # blue, which skin, wood and grass are not
_TONES = ((0.70, 0.17), (0.83, 0.13), (0.62, 0.20))  # OKLab lightness and chroma, in turn
_CHROMA_STEP = 0.97


@lru_cache(maxsize=4096)
def track_colour(track_id: int) -> Colour:
    """The colour of a track: light and saturated enough to stand out from dark and from light pictures."""
    lightness, chroma = _TONES[track_id % len(_TONES)]
    hue = 2 * math.pi * ((_FIRST_HUE + track_id * _GOLDEN_TURN) % 1)
    while True:
        rgb = _linear_rgb(lightness, chroma * math.cos(hue), chroma * math.sin(hue))
        if all(-1e-4 <= value <= 1 + 1e-4 for value in rgb):
            red, green, blue = (round(255 * _gamma(min(max(value, 0.0), 1.0))) for value in rgb)
            return red, green, blue
        chroma *= _CHROMA_STEP  # a screen cannot show it: paler, at the same hue and lightness


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever contrasts more with the background."""
    red, green, blue = (_linear(value / 255) for value in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Contrast is (lighter + 0.05) / (darker + 0.05); the two choices are even at this luminance.
    return BLACK if luminance > math.sqrt(1.05 * 0.05) - 0.05 else WHITE


def _linear_rgb(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """OKLab → linear sRGB (B. Ottosson, 2020)."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
