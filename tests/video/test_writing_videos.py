from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_films import SIZE_HW, TICKS, number, picture, read, steady

from vistool.errors import OutputExistsError, UsageError, VistoolError
from vistool.video.encoders import ENCODERS, Encoder, best_encoder
from vistool.video.writing import VideoWriter

RATE = Fraction(25)
SOUND_RATE = 8000


def write(path: Path, times: list[float], size_hw: tuple[int, int] = SIZE_HW, **options: object) -> Path:
    with VideoWriter(path, size_hw, frame_rate=RATE, **options) as writer:  # type: ignore[arg-type]
        for index, time in enumerate(times):
            writer.write(picture(index, size_hw), time)
        writer.finish()
    return path


def film_with_sound(path: Path, codec: str = "aac", video_late_s: float = 0.0) -> Path:
    """Two seconds of numbered pictures that begin late, and of a rising tone that does not."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        sound = container.add_stream(codec, rate=SOUND_RATE, layout="mono")
        for index, time in enumerate(steady(50)):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round((time + video_late_s) * TICKS), Fraction(1, TICKS)
            container.mux(video.encode(frame))
        wave = np.sin(np.linspace(0, 900, 2 * SOUND_RATE) ** 1.2).astype(np.float32)
        size = sound.codec_context.frame_size or 800
        for start in range(0, len(wave) - size, size):
            piece = (wave[None, start : start + size] * 20000).astype(np.int16)
            audio = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            audio.rate, audio.pts = SOUND_RATE, start
            container.mux(sound.encode(audio))
        container.mux([*video.encode(None), *sound.encode(None)])
    return path


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        packets = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in packets]


@settings(max_examples=10, deadline=None)
@given(gaps=st.lists(st.integers(1, 200_000), max_size=40), start=st.integers(0, 10**7))
def test_times_come_back_exactly_from_the_first_frame_on(
    gaps: list[int], start: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ticks = [0, *itertools.accumulate(gaps)]
    path = write(tmp_path_factory.mktemp("times") / "film.mp4", [(start + tick) / TICKS for tick in ticks])

    frames = read(path)

    assert [round(frame.time_s * TICKS) for frame in frames] == ticks
    assert [number(frame.image) for frame in frames] == list(range(len(ticks)))


def test_matroska_keeps_times_to_a_millisecond(tmp_path: Path) -> None:
    times = [0, 1 / 30, 2 / 30, 0.5, 0.51234]

    frames = read(write(tmp_path / "film.mkv", times))

    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=0.0005 + 1e-9)


def test_frames_of_the_same_time_still_follow_each_other(tmp_path: Path) -> None:
    frames = read(write(tmp_path / "film.mp4", [0, 1, 1, 1, 2]))

    assert [round(frame.time_s * TICKS) for frame in frames] == [0, TICKS, TICKS + 1, TICKS + 2, 2 * TICKS]


def test_the_last_frame_lasts_as_long_as_the_rate_says(tmp_path: Path) -> None:
    with av.open(str(write(tmp_path / "film.mp4", [0, 0.5]))) as container:
        stream = container.streams.video[0]

        assert stream.duration * stream.time_base == Fraction(54, 100)


def test_odd_sizes_grow_by_a_repeated_row_and_column(tmp_path: Path) -> None:
    image = read(write(tmp_path / "film.mp4", [0], size_hw=(47, 65), crf=0))[0].image

    assert image.shape == (48, 66, 3)
    np.testing.assert_allclose(image[:47, :65], picture(0, (47, 65)), atol=6)
    np.testing.assert_allclose(image[47], image[46], atol=3)
    np.testing.assert_allclose(image[:, 65], image[:, 64], atol=3)


@pytest.mark.parametrize("colour", [(200, 60, 30), (20, 200, 40), (30, 40, 220), (255, 255, 255), (0, 0, 0)])
def test_colours_come_back(colour: tuple[int, int, int], tmp_path: Path) -> None:
    image = np.full((*SIZE_HW, 3), colour, np.uint8)
    with VideoWriter(tmp_path / "film.mp4", SIZE_HW, frame_rate=RATE) as writer:
        writer.write(image, 0.0)
        writer.finish()

    np.testing.assert_allclose(read(tmp_path / "film.mp4")[0].image, image, atol=4)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_same_frames_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    first = write(tmp_path / f"first{suffix}", steady(30))
    second = write(tmp_path / f"second{suffix}", steady(30))

    assert first.read_bytes() == second.read_bytes()


def test_browsers_can_begin_before_the_end_has_come(tmp_path: Path) -> None:
    content = write(tmp_path / "film.mp4", steady(5)).read_bytes()

    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_every_encoder_keeps_order_and_times(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vistool.video.writing.best_encoder", lambda: encoder)

    frames = read(write(tmp_path / "film.mp4", [0, 0.1, 0.15, 0.9]))

    assert [number(frame.image) for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.15, 0.9], abs=1 / TICKS)


def test_the_first_encoder_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Encoder("no_such_encoder", ENCODERS[0].options)
    monkeypatch.setattr("vistool.video.encoders.ENCODERS", (broken, *ENCODERS[1:]))

    assert best_encoder.__wrapped__() is ENCODERS[1]


def test_no_encoder_at_all_is_an_error_that_names_those_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vistool.video.encoders.ENCODERS", (Encoder("no_such_encoder", ENCODERS[0].options),))

    with pytest.raises(VistoolError, match="no_such_encoder"):
        best_encoder.__wrapped__()


@pytest.mark.parametrize("late_s", [0.0, 0.5], ids=["together", "pictures begin late"])
def test_sound_is_copied_packet_by_packet_in_time_with_the_pictures(late_s: float, tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "source.mp4", video_late_s=late_s)
    original = [(time - late_s, data) for time, data in sound_packets(source) if 0 <= time - late_s < 1]

    copied = sound_packets(write(tmp_path / "film.mp4", steady(25), audio_from=source))

    assert [data for _, data in copied] == [data for _, data in original]
    assert [time for time, _ in copied] == pytest.approx([time for time, _ in original], abs=1e-3)


def test_sound_is_cut_to_the_range_of_the_pictures_and_begins_with_them(tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "source.mp4")
    original = [(time - 1, data) for time, data in sound_packets(source) if 1 <= time < 1.4]

    copied = sound_packets(write(tmp_path / "film.mp4", [1 + time for time in steady(10)], audio_from=source))

    assert [data for _, data in copied] == [data for _, data in original]
    assert [time for time, _ in copied] == pytest.approx([time for time, _ in original], abs=1e-3)


def test_sound_that_the_container_cannot_hold_is_left_out_with_a_warning(tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "source.mkv", codec="pcm_u8")

    with pytest.warns(UserWarning, match=r"no sound in `film\.mp4` \(pcm_u8 does not go into mp4\)"):
        path = write(tmp_path / "film.mp4", steady(5), audio_from=source)

    assert len(read(path)) == 5
    assert sound_packets(path) == []


def test_a_silent_source_needs_no_warning(tmp_path: Path) -> None:
    source = write(tmp_path / "source.mp4", steady(5))

    assert sound_packets(write(tmp_path / "film.mp4", steady(5), audio_from=source)) == []


def test_a_sound_source_that_cannot_be_read_costs_the_sound_only(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")

    with pytest.warns(UserWarning, match="cannot be read"):
        path = write(tmp_path / "film.mp4", steady(5), audio_from=tmp_path / "text.mp4")

    assert len(read(path)) == 5


def test_nothing_is_under_the_name_before_finish_and_nothing_is_left_after_close(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "film.mp4", SIZE_HW, frame_rate=RATE)
    for index, time in enumerate(steady(60)):
        writer.write(picture(index), time)

    assert not (tmp_path / "film.mp4").exists()
    writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    script = f"""
import os, signal
import numpy as np
from fractions import Fraction
from pathlib import Path
from vistool.video.writing import VideoWriter
writer = VideoWriter(Path({str(tmp_path)!r}) / "film.mp4", (48, 64), frame_rate=Fraction(25))
for index in range(100):
    writer.write(np.full((48, 64, 3), index, np.uint8), index / 25)
os.kill(os.getpid(), signal.SIGKILL)
"""

    killed = subprocess.run([sys.executable, "-c", script], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "film.mp4").exists()
    assert len(read(write(tmp_path / "film.mp4", steady(3)))) == 3


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_an_error_and_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f".film.partial{suffix}").symlink_to("/dev/full")
    rng = np.random.default_rng(0)

    with (
        pytest.raises(VistoolError, match="No space left on device"),
        VideoWriter(tmp_path / f"film{suffix}", (120, 160), frame_rate=RATE, crf=0) as writer,
    ):
        for time in steady(60):
            writer.write(rng.integers(0, 256, (120, 160, 3), np.uint8), time)
        writer.finish()

    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("mine")

    with pytest.raises(OutputExistsError, match=r"film\.mp4"):
        VideoWriter(tmp_path / "film.mp4", SIZE_HW, frame_rate=RATE)

    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    assert (tmp_path / "film.mp4").read_text() == "mine"


def test_an_existing_output_is_replaced_when_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("mine")

    assert len(read(write(tmp_path / "film.mp4", steady(3), overwrite=True))) == 3


def test_a_missing_folder_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(VistoolError, match="No such file or directory"):
        VideoWriter(tmp_path / "nowhere" / "film.mp4", SIZE_HW, frame_rate=RATE)


def test_an_unknown_suffix_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"film\.xyz"):
        VideoWriter(tmp_path / "film.xyz", SIZE_HW, frame_rate=RATE)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    with (
        VideoWriter(tmp_path / "film.mp4", SIZE_HW, frame_rate=RATE) as writer,
        pytest.raises(ValueError, match=r"\(10, 10, 3\), expected \(48, 64, 3\)"),
    ):
        writer.write(np.zeros((10, 10, 3), np.uint8), 0.0)


def test_a_film_without_frames_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(VistoolError, match="it has no frame"),
        VideoWriter(tmp_path / "film.mp4", SIZE_HW, frame_rate=RATE) as writer,
    ):
        writer.finish()

    assert list(tmp_path.iterdir()) == []
