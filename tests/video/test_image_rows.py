from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from toy_films import SIZE_HW, make_film, number, picture, read, steady

from vistool.errors import InputError
from vistool.video import open_video
from vistool.video.images import natural_order


def save(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve numbered pictures whose names sort wrongly letter by letter, beside files that are no pictures."""
    target = tmp_path / "pictures"
    target.mkdir()
    for index in range(12):
        save(target / f"shot{index}.{('png', 'jpg')[index % 2]}", picture(index))
    (target / "notes.txt").write_text("no picture")
    (target / ".hidden.png").write_text("no picture")
    return target


def test_a_folder_is_read_in_natural_order_at_a_steady_rate(folder: Path) -> None:
    source = open_video(folder, frame_rate=Fraction(10))

    frames = list(source)

    assert [number(frame.image) for frame in frames] == [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == [index / 10 for index in range(12)]
    assert (source.info.name, source.info.size_hw, source.info.frame_count) == ("pictures", SIZE_HW, 12)


def test_a_glob_takes_what_it_matches(folder: Path) -> None:
    assert [number(frame.image) for frame in read(f"{folder}/shot*.jpg")] == [1, 3, 5, 7, 9, 11]


def test_images_take_25_a_second_unless_told_otherwise(folder: Path) -> None:
    assert [frame.index for frame in read(folder, start="0.2", end="0.4", stride=2)] == [5, 7, 9]


def test_one_image_is_a_video_of_one_frame(folder: Path) -> None:
    assert [number(frame.image) for frame in read(folder / "shot7.jpg")] == [7]


def test_a_name_that_exists_wins_over_its_meaning_as_a_glob(folder: Path) -> None:
    odd = folder.parent / "shot[1]*"
    odd.mkdir()
    save(odd / "a.png", picture(42))

    assert [number(frame.image) for frame in read(odd)] == [42]


def test_a_film_that_a_glob_matches_is_no_image(tmp_path: Path) -> None:
    make_film(tmp_path / "film.mp4", steady(2))

    with pytest.raises(InputError, match="no image matches"):
        open_video(f"{tmp_path}/*.mp4")


def test_a_folder_without_images_is_an_input_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")

    with pytest.raises(InputError, match="no images in folder") as caught:
        open_video(tmp_path)

    assert caught.value.hint


def test_images_of_differing_sizes_name_the_first_that_differs(folder: Path) -> None:
    save(folder / "shot5.png", picture(5, (50, 64)))
    save(folder / "shot8.png", picture(8, (60, 64)))
    (folder / "shot5.jpg").unlink()

    with pytest.raises(InputError, match=r"shot5\.png.*it is 64x50, `shot0\.png` is 64x48"):
        read(folder)


def test_a_broken_image_leaves_its_place_empty_and_is_counted(folder: Path) -> None:
    (folder / "shot3.jpg").write_bytes(b"no picture")

    with open_video(folder) as source:
        frames = list(source)

    assert [frame.index for frame in frames] == [0, 1, 2, *range(4, 12)]
    assert (source.damage.count, source.damage.positions) == (1, (3,))
    assert "shot3.jpg" in source.damage.messages[0]


@pytest.mark.parametrize("name", ["shot2.png", "shot3.jpg"])
def test_a_truncated_image_is_not_taken_for_whole(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) * 9 // 10])

    with open_video(folder) as source:
        frames = list(source)

    assert len(frames) == 11
    assert source.damage.count == 1


def test_a_name_that_no_system_takes_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name too long"):
        open_video(tmp_path / ("x" * 300))


def test_images_that_are_all_broken_are_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"no picture")

    with pytest.raises(InputError, match="no image can be read"):
        open_video(tmp_path)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 6), 77, np.uint8), (77, 77, 77)),
        (np.full((4, 6, 3), (10, 20, 30), np.uint8), (30, 20, 10)),
        (np.full((4, 6, 3), (10 * 257, 20 * 257, 30 * 257), np.uint16), (30, 20, 10)),
        (np.full((4, 6), 77 * 257, np.uint16), (77, 77, 77)),
        (np.full((4, 6, 4), (100, 50, 200, 128), np.uint8), (100, 25, 50)),
        (np.full((4, 6, 4), (100 * 257, 50 * 257, 200 * 257, 0), np.uint16), (0, 0, 0)),
    ],
    ids=["grey", "colour", "16-bit colour", "16-bit grey", "half transparent", "16-bit transparent"],
)
def test_png_of_every_kind_becomes_rgb(
    image: NDArray[np.uint8] | NDArray[np.uint16], expected: tuple[int, int, int], tmp_path: Path
) -> None:
    found = read(save(tmp_path / "a.png", image))[0].image

    np.testing.assert_array_equal(found, np.broadcast_to(np.array(expected, np.uint8), (4, 6, 3)))


def test_the_orientation_tag_of_a_photograph_is_obeyed(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.jpg", picture(9)).read_bytes()
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)  # 6: turn clockwise to see it
    exif = b"Exif\0\0" + tiff
    tagged = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    (tmp_path / "tagged.jpg").write_bytes(tagged)

    upright = read(tmp_path / "tagged.jpg")[0].image

    np.testing.assert_array_equal(upright, np.rot90(read(tmp_path / "plain.jpg")[0].image, -1))


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["", "img_", "a1b"]))
def test_numbers_in_names_sort_by_value(numbers: list[int], prefix: str) -> None:
    paths = [Path(f"{prefix}{n}.png") for n in numbers]

    assert sorted(paths, key=natural_order) == [Path(f"{prefix}{n}.png") for n in sorted(numbers)]
