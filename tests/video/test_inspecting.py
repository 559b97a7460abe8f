from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_films import make_film, picture, steady
from typer import Typer
from typer.testing import CliRunner, Result

from vistool import masks
from vistool.cli.inspect import inspect
from vistool.errors import InputError
from vistool.types import Category, Track, VideoInfo, VideoPrediction
from vistool.video.facts import inspect_video
from vistool.writers import open_writer

ONE = 1 << 16


def run(*arguments: str | Path) -> Result:
    app = Typer()
    app.command()(inspect)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_facts_of_a_film_are_found(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", [1 + time for time in steady(10)], matrix=None)

    facts = inspect_video(film)

    assert (facts.name, facts.codec, facts.pixel_format) == ("film.mkv", "h264", "yuv420p")
    assert (facts.width, facts.height, facts.frames, facts.frames_claimed) == (64, 48, 10, None)
    assert (facts.frame_rate, facts.variable_rate, facts.start_s) == (25, False, 1)
    assert facts.duration_s == pytest.approx(0.4)
    assert (facts.rotation, facts.mirrored, facts.interlaced, facts.sizes) == (0, False, False, 1)
    assert (facts.audio, facts.video_streams, facts.damage.count) == ((), 1, 0)


def test_a_varying_rate_is_told_with_its_extremes(tmp_path: Path) -> None:
    facts = inspect_video(make_film(tmp_path / "film.mp4", [0, 0.1, 0.15, 0.95]))

    assert facts.variable_rate
    assert (facts.shortest_frame_s, facts.longest_frame_s) == pytest.approx((0.05, 0.8))


def test_orientation_and_interlacing_are_told(tmp_path: Path) -> None:
    turned = inspect_video(make_film(tmp_path / "a.mp4", steady(2), matrix=[0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30]))
    mirrored = inspect_video(make_film(tmp_path / "b.mp4", steady(2), matrix=[-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30]))
    interlaced = inspect_video(make_film(tmp_path / "c.mp4", steady(2), interlaced=True))

    assert (turned.rotation, turned.mirrored, turned.width, turned.height) == (270, False, 48, 64)
    assert (mirrored.rotation, mirrored.mirrored) == (0, True)
    assert interlaced.interlaced


def test_pictures_are_counted_by_decoding_them(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index))
    (tmp_path / "3.png").write_bytes(b"no picture")

    facts = inspect_video(tmp_path)

    assert (facts.container, facts.codec, facts.frames, facts.frames_claimed) == ("images", "png", 3, 4)
    assert facts.damage.positions == (3,)


def test_no_video_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        inspect_video(tmp_path / "missing.mp4")


def test_people_get_a_line_a_fact(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", [0, 0.04, 0.5], matrix=[-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30])

    result = run(film)

    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["size"] == "64x48"
    assert lines["frames"] == "3 counted"
    assert "variable: 40 to 460 ms" in lines["rate"]
    assert "turned by 180 degrees" in result.stdout
    assert lines["damage"] == "none"


def test_damage_is_listed_by_place(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", steady(90))
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])

    assert "the file ends after" in run(film).stdout


def test_programs_get_all_facts_as_json(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", steady(4))

    facts = json.loads(run(film, "--json").stdout)

    assert facts == json.loads(json.dumps(inspect_video(film).to_json()))
    assert facts["damage"] == {"count": 0, "positions": [], "messages": []}


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """Two tracks of one class over three frames, as `segment` writes them."""
    square = masks.encode(np.ones((4, 5), np.bool_))
    tracks = tuple(Track(number, 0, 0.9, {0: square, 2: square}) for number in (1, 2))
    video = VideoInfo("clip.mp4", (4, 5), Fraction(6), 3)
    prediction = VideoPrediction(
        video, (Category(3, "cat"),), tracks, {index: index / 6 for index in range(3)}, {"method": "ifr"}
    )
    writer = open_writer(
        tmp_path / "result.json", categories=prediction.categories, video=video, facts=prediction.facts
    )
    writer.finish(prediction)
    writer.close()
    return tmp_path / "result.json"


def test_a_result_tells_its_tracks(result: Path) -> None:
    facts = json.loads(run(result, "--json").stdout)

    assert (facts["video"], facts["width"], facts["height"], facts["frames"]) == ("clip.mp4", 5, 4, 3)
    assert (facts["tracks"], facts["masks"], facts["tracks_by_category"]) == (2, 4, {"cat": 2})
    assert facts["method"] == "ifr"
    assert run(result).stdout.splitlines()[0].split() == ["video", "clip.mp4"]


def test_a_json_file_that_is_no_result_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")

    assert isinstance(run(tmp_path / "other.json").exception, InputError)
