"""Settings are checked before any work is done, by the name of their flag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_training import toy_options

from vistool.errors import UsageError
from vistool.training.options import all_settings, fixed_settings


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"batch": 0}, "--batch"),
        ({"lr": 0.0}, "--lr"),
        ({"size_hw": (16, 64)}, "--size"),
        ({"scale_min": 1.2, "scale_max": 1.1}, "--scale-max"),
        ({"clip_frames": 9, "clip_range": 3}, "--clip-frames"),
        ({"clip_gap": 0}, "--clip-gap"),
        ({"warmup": 40}, "--warmup"),
        ({"ema": 1.0}, "--ema"),
        ({"flip": 1.5}, "--flip"),
        ({"schedule": "steps"}, "--milestones"),
        ({"milestones": (5, 9)}, "--milestones"),
        ({"schedule": "steps", "milestones": (9, 5)}, "--milestones"),
    ],
    ids=str,
)
def test_a_setting_that_does_not_fit_is_refused_by_its_flag(changes: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        toy_options(Path("data.json"), Path("run"), **changes)


def test_what_decides_the_weights_is_fixed_for_a_run_and_the_rest_is_not() -> None:
    first = fixed_settings(toy_options(Path("data.json"), Path("run")))

    assert first == fixed_settings(toy_options(Path("data.json"), Path("other"), save_every=7, cache_gb=1.0, half=True))
    assert first != fixed_settings(toy_options(Path("data.json"), Path("run"), seed=1))
    assert first.keys() < all_settings(toy_options(Path("data.json"), Path("run"))).keys()
