from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_films import make_film, number, read, steady

from vistool.errors import InputError
from vistool.video import open_video


class Pipe(io.RawIOBase):
    """What standard input is to a program behind a `|`: it can be read on, and not back."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._content.readinto(buffer)


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    stdin = SimpleNamespace(buffer=io.BufferedReader(Pipe(content)), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("ts", {}),
        ("mkv", {}),
        ("flv", {}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("mp4", {"movflags": "+faststart"}),
    ],
    ids=["MPEG-TS", "Matroska", "Flash", "fragmented MP4", "MP4 with its index first"],
)
def test_a_stream_is_read_from_standard_input(
    suffix: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / f"film.{suffix}", steady(60), container_options=options)
    feed(monkeypatch, film.read_bytes())

    with open_video("-") as source:
        frames = list(source)

    assert [number(frame.image) for frame in frames] == list(range(60))
    assert [frame.time_s for frame in frames] == [frame.time_s for frame in read(film)]
    assert (source.info.name, source.damage.count) == ("stdin", 0)


def test_a_file_with_its_index_at_the_end_is_an_input_error_that_says_what_to_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / "film.mov", steady(60), codec="rawvideo", pixel_format="yuv420p")
    feed(monkeypatch, film.read_bytes())

    with pytest.raises(InputError, match="standard input") as caught:
        open_video("-")

    assert "MPEG-TS, Matroska or fragmented MP4" in (caught.value.hint or "")


@pytest.mark.parametrize("content", [b"", b"This is no film.\n" * 999], ids=["nothing", "text"])
def test_what_is_no_video_is_an_input_error(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, content)

    with pytest.raises(InputError, match="standard input"):
        open_video("-")


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))

    with pytest.raises(InputError, match="it is a terminal"):
        open_video("-")


def test_a_real_pipe_and_a_redirected_file_are_read(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", steady(5))
    plain = make_film(tmp_path / "film.mp4", steady(5))
    count = "import json; from vistool.video import open_video; print(json.dumps([f.time_s for f in open_video('-')]))"

    with plain.open("rb") as redirected:
        runs = [
            subprocess.run([sys.executable, "-c", count], input=film.read_bytes(), capture_output=True, check=True),
            subprocess.run([sys.executable, "-c", count], stdin=redirected, capture_output=True, check=True),
        ]

    assert [json.loads(run.stdout) for run in runs] == [pytest.approx(steady(5))] * 2
