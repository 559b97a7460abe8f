"""`vistool render`: an overlay from a result, and every way it can be the wrong result."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner
from writer_samples import prediction, square, write

from vistool.cli.render import render
from vistool.errors import InputError, OutputExistsError, UsageError, VistoolError
from vistool.types import Track, VideoPrediction
from vistool.video import open_video
from vistool.video.writing import VideoWriter
from vistool.writers.palette import track_colour

SIZE_HW = (96, 128)
LEFT = Track(3, 0, 0.9, {index: square(30, 5, 50, SIZE_HW) for index in range(12)})
RIGHT = Track(7, 1, 0.8, {index: square(30, 70, 50, SIZE_HW) for index in range(12)})
BOTH = prediction(LEFT, RIGHT, frames=12, size_hw=SIZE_HW)

app = typer.Typer()
app.command()(render)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve black frames at 6 frames per second."""
    writer = VideoWriter(tmp_path / "clip.mp4", SIZE_HW, frame_rate=Fraction(6))
    for index in range(12):
        writer.write(np.zeros((*SIZE_HW, 3), np.uint8), index / 6)
    writer.finish()
    writer.close()
    return tmp_path / "clip.mp4"


def _run(clip: Path, *options: str, result: VideoPrediction = BOTH, name: str = "tracks.json") -> str:
    """stderr of a run that ends well; the error of one that does not."""
    tracks = clip.with_name(name)
    if not tracks.exists():
        write(tracks, result)
    outcome = CliRunner().invoke(app, [str(clip), str(tracks), "-o", str(clip.with_name("out.mp4")), *options])
    if outcome.exception is not None:
        raise outcome.exception
    assert outcome.stdout == ""
    return outcome.stderr


def _pictures(path: Path) -> list[np.ndarray]:
    source = open_video(path)
    pictures = [frame.image for frame in source]
    source.close()
    return pictures


@pytest.mark.parametrize("name", ["tracks.json", "tracks.jsonl", "tracks.jsonl.gz"])
def test_an_overlay_is_drawn_from_every_result_that_we_write(clip: Path, name: str) -> None:
    message = _run(clip, name=name)

    pictures = _pictures(clip.with_name("out.mp4"))
    assert len(pictures) == 12
    np.testing.assert_allclose(pictures[6][45:70, 20:45].mean((0, 1)), 0.45 * np.array(track_colour(3)), atol=12)
    np.testing.assert_allclose(pictures[6][45:70, 85:110].mean((0, 1)), 0.45 * np.array(track_colour(7)), atol=12)
    assert message.startswith("wrote ")
    assert "(12 frames)" in message


def test_only_the_tracks_asked_for_are_drawn(clip: Path) -> None:
    _run(clip, "--ids", "7", "--alpha", "1")

    picture = _pictures(clip.with_name("out.mp4"))[0]
    assert picture[:, :60].max() < 30
    assert picture[45:70, 85:110].mean() > 60


@pytest.mark.parametrize("style", ["fill", "contour", "box", "id"])
def test_every_style_draws_something(clip: Path, style: str) -> None:
    _run(clip, "--style", style, "-q")

    assert _pictures(clip.with_name("out.mp4"))[0].max() > 60


def test_a_part_of_the_video_matches_the_result_by_index(clip: Path) -> None:
    late = prediction(Track(3, 0, 0.9, {9: square(20, 20, 60, SIZE_HW)}), frames=12, size_hw=SIZE_HW)

    _run(clip, "--start", "8f", "--end", "11f", result=late)

    pictures = _pictures(clip.with_name("out.mp4"))
    assert [bool(picture.max() > 60) for picture in pictures] == [False, True, False]


def test_frames_that_the_result_did_not_look_at_are_left_out_and_counted(clip: Path) -> None:
    message = _run(clip, result=prediction(frames=12, size_hw=SIZE_HW, stride=5))

    assert len(_pictures(clip.with_name("out.mp4"))) == 3
    assert "(3 frames; 9 that the result did not look at left out)" in message


def test_quiet_says_nothing(clip: Path) -> None:
    assert _run(clip, "-q") == ""


@pytest.mark.parametrize(
    ("options", "result", "error", "complaint"),
    [
        ((), prediction(frames=12), InputError, r"it is 5x4, .*clip\.mp4` is 128x96"),
        ((), prediction(frames=13, size_hw=SIZE_HW), InputError, "ends at frame 11, the result at 12"),
        (("--start", "9f"), prediction(frames=9, size_hw=SIZE_HW), InputError, "looked at no frame of this part"),
        (("--ids", "3,8"), BOTH, UsageError, "no such track in the result: 8"),
        (("--ids", "three"), BOTH, UsageError, "--ids is not a list of track ids: `three`"),
    ],
)
def test_what_does_not_belong_together_is_named_and_nothing_is_written(
    clip: Path, options: tuple[str, ...], result: VideoPrediction, error: type[VistoolError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        _run(clip, *options, result=result)

    assert sorted(path.name for path in clip.parent.iterdir()) == ["clip.mp4", "tracks.json"]


def _invoke(*arguments: Any) -> None:
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert outcome.exception is not None
    raise outcome.exception


def test_an_output_that_is_no_video_is_refused(clip: Path) -> None:
    with pytest.raises(UsageError, match="an overlay is a video"):
        _invoke(clip, "tracks.json", "-o", clip.with_name("out.json"))


def test_an_existing_output_is_refused_before_the_result_is_read(clip: Path) -> None:
    clip.with_name("out.mp4").touch()

    with pytest.raises(OutputExistsError):
        _invoke(clip, "missing.json", "-o", clip.with_name("out.mp4"))


def test_the_video_is_never_its_own_overlay(clip: Path) -> None:
    with pytest.raises(UsageError, match="output is an input"):
        _invoke(clip, "tracks.json", "-o", clip, "--overwrite")


def test_drawing_loads_no_network_library(clip: Path) -> None:
    write(clip.with_name("tracks.json"), BOTH)
    code = (
        "import sys, typer; from vistool.cli.render import render; app = typer.Typer(); app.command()(render)\n"
        f"app([{str(clip)!r}, {str(clip.with_name('tracks.json'))!r}, '-o', {str(clip.with_name('out.mp4'))!r}],"
        " standalone_mode=False)\nassert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)

    assert clip.with_name("out.mp4").exists()
