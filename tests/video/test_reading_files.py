"""Films of every awkward kind, made on the spot."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_films import SIZE_HW, TICKS, make_film, number, picture, read, steady

from vistool.errors import InputError
from vistool.types import Frame
from vistool.video import open_video
from vistool.video.decoding import Decoding
from vistool.video.file import open_container


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty numbered frames with B-frames in between."""
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", steady(50), options={"preset": "fast", "g": "20"})


@pytest.fixture(scope="module")
def all_frames(film: Path) -> list[Frame]:
    return read(film)


def test_frames_come_in_order_with_their_numbers_and_times(all_frames: list[Frame]) -> None:
    assert [number(frame.image) for frame in all_frames] == [frame.index for frame in all_frames] == list(range(50))
    assert [frame.time_s for frame in all_frames] == [pytest.approx(index / 25, abs=1e-12) for index in range(50)]


@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, 49), end=st.integers(1, 60), stride=st.integers(1, 20))
def test_start_end_and_stride_select_what_slicing_all_frames_selects(
    film: Path, all_frames: list[Frame], start: int, end: int, stride: int
) -> None:
    end = max(end, start + 1)
    whole = all_frames[start:end:stride]

    frames = read(film, start=f"{start}f", end=f"{end}f", stride=stride)

    assert [(frame.index, frame.time_s) for frame in frames] == [(frame.index, frame.time_s) for frame in whole]
    for frame, expected in zip(frames, whole, strict=True):
        np.testing.assert_array_equal(frame.image, expected.image)


def test_uneven_times_are_those_of_the_file(tmp_path: Path) -> None:
    times = [0, 0.04, 0.05, 0.4, 0.401, 2.5, 2.54]

    frames = read(make_film(tmp_path / "uneven.mp4", times))

    assert [round(frame.time_s * TICKS) for frame in frames] == [round(time * TICKS) for time in times]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_late_start_is_time_zero(suffix: str, tmp_path: Path) -> None:
    frames = read(make_film(tmp_path / f"late.{suffix}", [7 + time for time in steady(5)]))

    assert [frame.time_s for frame in frames] == [pytest.approx(index / 25, abs=1e-3) for index in range(5)]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [
        ("libx264", "yuv420p10le", "mkv"),
        ("libx264", "yuv444p", "mp4"),
        ("libx264", "yuvj420p", "mp4"),
        ("libx264", "gray", "mp4"),
        ("ffv1", "gray16le", "mkv"),
        ("ffv1", "gbrp12le", "mkv"),
        ("ffv1", "yuva444p", "mkv"),
        ("qtrle", "argb", "mov"),
        ("png", "rgba", "mov"),
        ("mjpeg", "yuvj422p", "avi"),
        ("rawvideo", "bgr24", "avi"),
        ("gif", "pal8", "gif"),
    ],
)
def test_every_pixel_format_becomes_rgb(codec: str, pixel_format: str, suffix: str, tmp_path: Path) -> None:
    source = "rgb8" if pixel_format == "pal8" else pixel_format

    frames = read(make_film(tmp_path / f"film.{suffix}", steady(3), codec=codec, pixel_format=source))

    assert [number(frame.image) for frame in frames] == [0, 1, 2]
    assert all(frame.image.shape == (*SIZE_HW, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert frames[0].image[-1].mean() == pytest.approx(96, abs=10)  # the grey of the picture, whatever its range


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    frames = read(make_film(tmp_path / "odd.mkv", steady(2), codec="ffv1", pixel_format="bgr0", size_hw=(49, 65)))

    np.testing.assert_array_equal(frames[1].image, picture(1, (49, 65)))


def test_transparent_films_lie_over_black(tmp_path: Path) -> None:
    rgba = np.full((16, 16, 4), 200, np.uint8)
    rgba[:8, :, 3], rgba[8:, :, 3] = 0, 255
    with av.open(str(tmp_path / "alpha.mov"), "w") as container:
        stream = container.add_stream("png", rate=25, width=16, height=16, pix_fmt="rgba")
        container.mux([*stream.encode(VideoFrame.from_ndarray(rgba, format="rgba")), *stream.encode(None)])

    image = read(tmp_path / "alpha.mov")[0].image

    assert (image[:8].max(), image[8:].min()) == (0, 200)


def test_frames_of_another_size_are_resized_to_the_first(tmp_path: Path) -> None:
    small = make_film(tmp_path / "small.ts", steady(5))
    large = make_film(tmp_path / "large.ts", [1 + time for time in steady(5)], size_hw=(96, 128))
    (tmp_path / "both.ts").write_bytes(small.read_bytes() + large.read_bytes())

    frames = read(tmp_path / "both.ts")

    assert len(frames) == 10
    assert {frame.image.shape for frame in frames} == {(*SIZE_HW, 3)}


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", steady(3))
    with av.open(str(film)) as source, av.open(str(tmp_path / "covered.mp4"), "w") as target:
        cover = target.add_stream("mjpeg", rate=25, width=32, height=32, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        moving = target.add_stream_from_template(source.streams.video[0])
        target.mux(cover.encode(VideoFrame(32, 32, "yuvj420p")))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = moving
                target.mux(packet)
        target.mux(cover.encode(None))

    assert [number(frame.image) for frame in read(tmp_path / "covered.mp4")] == [0, 1, 2]


def test_the_nominal_rate_can_be_set_and_times_stay(film: Path) -> None:
    source = open_video(film, frame_rate=Fraction(7))

    assert source.info.frame_rate == 7
    assert [frame.time_s for frame in source][:2] == [0, pytest.approx(0.04)]


@pytest.mark.parametrize("name", ["-leading dash.mp4", "a:b.mp4", "clip[1]*.mp4", "wh'at?.mp4", "%03d.mp4"])
def test_a_name_is_a_name_whatever_it_looks_like(film: Path, name: str, tmp_path: Path) -> None:
    shutil.copy(film, tmp_path / name)

    assert len(read(tmp_path / name)) == 50
    assert open_video(str(tmp_path / name)).info.name == name


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.mp4", b"", "it is empty"),
        ("text.mp4", b"This is no film.\n" * 50, "no video"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "cannot read video"),
    ],
    ids=["empty", "text", "a playlist of a network"],
)
def test_what_is_no_video_is_an_input_error_with_reason_and_hint(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=reason) as caught:
        open_video(tmp_path / name)

    assert str(tmp_path / name) in caught.value.message
    assert caught.value.hint


def test_sound_alone_is_an_input_error(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])

    with pytest.raises(InputError, match="no video, only audio"):
        open_video(tmp_path / "sound.mp4")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_video(tmp_path / "missing.mp4")


def test_a_damaged_file_that_goes_away_while_it_is_read_is_an_input_error(tmp_path: Path) -> None:
    film = noisy(make_film(tmp_path / "film.ts", steady(100), options={"g": "10"}), tmp_path / "broken.ts")

    with open_video(film) as source, pytest.raises(InputError, match="No such file"):
        for _ in source:
            film.unlink(missing_ok=True)


def test_a_picture_size_that_no_memory_holds_is_refused_before_it_is_decoded(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vistool.video.decoding.MAX_PIXELS", SIZE_HW[0] * SIZE_HW[1] - 1)

    with pytest.raises(InputError, match="64 x 48 pixels"):
        open_video(film)


def test_a_truncated_film_gives_its_beginning_and_says_that_it_ends_early(tmp_path: Path) -> None:
    film = make_film(
        tmp_path / "film.mp4", steady(100), options={"g": "10"}, container_options={"movflags": "+faststart"}
    )
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[: film.stat().st_size * 6 // 10])

    with open_video(tmp_path / "cut.mp4") as source:
        frames = list(source)

    assert 30 < len(frames) < 90
    assert [number(frame.image) for frame in frames[:30]] == list(range(30))
    assert source.damage.count
    assert "ends after" in source.damage.messages[-1]


def noisy(film: Path, target: Path) -> Path:
    content = bytearray(film.read_bytes())
    rng = np.random.default_rng(3)
    for place in rng.integers(len(content) // 3, len(content) // 2, 40):
        content[place] = rng.integers(256)
    target.write_bytes(content)
    return target


def test_damage_is_skipped_counted_and_the_same_each_time(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.ts", steady(100), options={"g": "10"})
    broken = noisy(film, tmp_path / "broken.ts")

    runs = []
    for _ in range(3):
        with open_video(broken) as source:
            frames = list(source)
        runs.append((len(frames), b"".join(frame.image.tobytes() for frame in frames), source.damage))

    assert len(set(runs)) == 1
    assert runs[0][0] > 60
    assert runs[0][2].count
    assert runs[0][2].positions == tuple(sorted(runs[0][2].positions))


def test_sound_files_are_decoded_on_all_cores_and_give_what_one_gives(film: Path) -> None:
    def pictures(decoding: Decoding) -> list[bytes]:
        return [bytes(frame.planes[0]) for frame, _ in decoding]

    many = Decoding(open_container(film), reopen=lambda: open_container(film))
    one = Decoding(open_container(film), reopen=None)

    assert pictures(many) == pictures(one)
    assert many.stream.codec_context.thread_count != one.stream.codec_context.thread_count == 1
