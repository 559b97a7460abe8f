"""Every file of the sample videos: good, odd and damaged."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vistool.errors import InputError
from vistool.video import open_video
from vistool.video.facts import VideoFacts, inspect_video

VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "videos"
ENTRIES = json.loads((VIDEOS / "manifest.json").read_text())["files"] if VIDEOS.is_dir() else []
READABLE = {
    entry["path"]: entry
    for entry in ENTRIES
    if entry.get("frames_decoded_skipping_bad_packets") or entry.get("frames_decoded")
}
UNREADABLE = [
    "broken.mp4",
    "claims_12336x12336.webm",
    "invalid_bitstream.webm",
    "not_a_video.mp4",
    "novideo_stream.mkv",
]
SIDEWAYS = {
    "rot90.mov",
    "hevc_hdr_rotated.mp4",
    "hevc_rotated_metadata_track.mp4",
    "portrait_rotated.MOV",
    "odd_names/sideways movie.mov",
}
DAMAGED = sorted(path.name for path in (VIDEOS / "damaged").glob("*") if path.name != "damaged.json")
WHOLE_AFTER_ALL = {"trailing_garbage.MOV", "wrong_extension.txt", "png_named.mp4"}
NO_PICTURES = {
    "av1_trunc50.mp4",
    "cut_out_middle.MOV",
    "header_only.MOV",
    "html_error_page.webm",
    "nasa_13013_trunc50.mp4",
    "noise_header.MOV",
    "one_byte.mp4",
    "random.mp4",
    "text.mp4",
    "trunc97.MOV",
    "zero_bytes.mp4",
    "zeros.avi",
}  # their index is gone, or there never was one
SILENT = {  # what the container lost is nowhere told, and the decoder conceals it without a word
    "h264_1000tb_hole.mkv",
    "h264_hole.flv",
    "people_hole.gif",
    "people_noise_middle.gif",
    "people_trunc50.gif",
    "roadtrip_vp9_10bit_hole.webm",
}


@pytest.fixture(scope="module")
def facts(shared_data: Path) -> Mapping[str, VideoFacts]:
    return {name: inspect_video(VIDEOS / name) for name in READABLE}


@pytest.mark.parametrize("name", READABLE)
def test_all_frames_are_found_whatever_the_header_says(name: str, facts: Mapping[str, VideoFacts]) -> None:
    entry = READABLE[name]

    assert facts[name].frames == entry.get("frames_decoded_skipping_bad_packets", entry["frames_decoded"])
    assert bool(facts[name].damage.count) == (name == "corrupted_stream.mp4")


@pytest.mark.parametrize("name", sorted(READABLE.keys() - {"corrupted_stream.mp4"}))
def test_facts_agree_with_an_independent_reading(name: str, facts: Mapping[str, VideoFacts]) -> None:
    found, entry = facts[name], READABLE[name]
    width, height = entry["width"], entry["height"]

    assert (found.width, found.height) == ((height, width) if name in SIDEWAYS else (width, height))
    assert (found.codec, found.pixel_format) == (entry["codec"], entry["pix_fmt"])
    assert found.variable_rate == entry.get("vfr", False)
    assert found.start_s == pytest.approx(entry.get("first_pts") or 0, abs=1e-3)
    assert 0 < found.frame_rate <= 60
    last_s = (entry.get("last_pts") or 0) - (entry.get("first_pts") or 0)
    assert found.duration_s == pytest.approx(last_s + 1 / found.frame_rate, abs=2e-3)


@pytest.mark.parametrize("name", READABLE)
def test_first_frames_are_upright_rgb_in_rising_time(name: str, facts: Mapping[str, VideoFacts]) -> None:
    with open_video(VIDEOS / name, end="4f") as source:
        frames = list(source)

    assert [frame.index for frame in frames] == list(range(min(4, facts[name].frames)))
    assert {frame.image.shape for frame in frames} == {(facts[name].height, facts[name].width, 3)}
    assert source.info.size_hw == (facts[name].height, facts[name].width)
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))
    assert frames[0].time_s == 0


def test_metadata_in_another_encoding_does_not_matter(shared_data: Path) -> None:
    assert inspect_video(VIDEOS / "bad_utf8_metadata.3gp").frames == 71


@pytest.mark.parametrize("name", ["h264_1000tb.mkv", "h264.flv"])
def test_a_rate_of_1000_in_the_header_is_seen_through(name: str, facts: Mapping[str, VideoFacts]) -> None:
    assert facts[name].frame_rate == 30


def test_the_number_drawn_in_a_film_rises(shared_data: Path) -> None:
    """h265_video.mp4 shows a growing pattern: no two of its frames are alike."""
    with open_video(VIDEOS / "h265_video.mp4") as source:
        images = [frame.image for frame in source]

    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_has_no_pictures_is_an_input_error(name: str, shared_data: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_video(VIDEOS / name)

    assert name in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", sorted(NO_PICTURES & set(DAMAGED)))
def test_damage_beyond_reading_is_an_input_error(name: str, shared_data: Path) -> None:
    with pytest.raises(InputError, match=r"no video, or damaged beyond reading|it is empty"):
        open_video(VIDEOS / "damaged" / name)


@pytest.mark.parametrize("name", sorted(set(DAMAGED) - NO_PICTURES))
def test_what_is_left_of_a_damaged_file_is_read_and_the_damage_told(name: str, shared_data: Path) -> None:
    with open_video(VIDEOS / "damaged" / name, stride=3) as source:
        frames: list[Any] = [(frame.index, frame.time_s, frame.image.shape) for frame in source]

    assert frames
    assert [time for _, time, _ in frames] == sorted(time for _, time, _ in frames)
    assert {shape for _, _, shape in frames} == {(*source.info.size_hw, 3)}
    assert bool(source.damage.count) == (name not in WHOLE_AFTER_ALL | SILENT)
    assert len(source.damage.messages) == len(source.damage.positions) <= source.damage.count


def test_a_gap_in_the_middle_moves_no_later_frame_in_time(shared_data: Path) -> None:
    def last_time(name: str) -> float:
        with open_video(VIDEOS / name, stride=5) as source:
            return max(frame.time_s for frame in source)

    assert last_time("damaged/nasa_13013_hole.mp4") <= 12.96


def test_a_pictures_folder_is_a_video(shared_data: Path) -> None:
    with open_video(VIDEOS / "image_sequences" / "bedroom_jpg", start="1.0") as source:
        frames = list(source)

    assert [frame.index for frame in frames] == list(range(25, 40))
    assert source.info.frame_count == 40
    assert not any(np.array_equal(a.image, b.image) for a, b in itertools.pairwise(frames))
