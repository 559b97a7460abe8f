"""Clips out of annotations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toy_training import FRAMES, SIZE_HW

from vistool.errors import InputError
from vistool.training.annotations import read_annotations
from vistool.training.augment import PIXEL_MEAN, PIXEL_STD, Jitter
from vistool.training.batches import Batch, BatchMaker, ahead
from vistool.training.dataset import ClipReader, ClipSampler
from vistool.training.frames import FrameCache
from vistool.video import open_video
from vistool.video.writing import VideoWriter

RED, GREEN = 0, 1


@given(
    seed=st.integers(0, 2**31),
    step=st.integers(0, 10**6),
    clip_frames=st.integers(1, 6),
    clip_range=st.integers(3, 30),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=9),
)
@example(seed=1, step=0, clip_frames=5, clip_range=3, lengths=[10])  # the middle is the last frame: four in reach
def test_frames_are_sorted_near_each_other_and_different_where_there_are_enough(
    seed: int, step: int, clip_frames: int, clip_range: int, lengths: list[int]
) -> None:
    sampler = ClipSampler(tuple(lengths), clip_frames, clip_range, 4, seed)

    row, frames = sampler.choose(step, 3)

    assert len(frames) == clip_frames
    assert frames == sorted(frames)
    assert 0 <= frames[0] <= frames[-1] < lengths[row]
    assert frames[-1] - frames[0] <= 2 * clip_range
    least_reach = min(lengths[row], clip_range + 1)  # of a middle at either end
    assert len(set(frames)) == clip_frames or least_reach < clip_frames


def test_sampling_is_a_pure_function_of_seed_step_and_number() -> None:
    first, second, other = (ClipSampler((30, 20, 25, 9), 3, 10, 2, seed) for seed in (5, 5, 6))
    forwards = [first.choose(step, number) for step in range(20) for number in range(2)]
    backwards = [second.choose(step, number) for step in reversed(range(20)) for number in (1, 0)]

    assert forwards == backwards[::-1]
    assert forwards != [other.choose(step, number) for step in range(20) for number in range(2)]


def test_every_video_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    sampler = ClipSampler((8,) * 12, 1, 5, 4, 0)

    rows = [sampler.choose(step, number)[0] for step in range(6) for number in range(4)]

    assert Counter(rows) == dict.fromkeys(range(12), 2)
    assert rows[:12] != rows[12:]


def test_labels_follow_the_category_ids_in_order(squares: Path) -> None:
    categories = read_annotations(squares).categories

    assert [(category.id, category.name) for category in categories] == [(3, "red"), (7, "green")]


@pytest.mark.parametrize("frames", [[0, 4], [1, 2], [0, 1]], ids=["absent last", "absent second", "always there"])
def test_an_object_keeps_its_label_when_it_is_absent_on_some_frames(squares: Path, frames: list[int]) -> None:
    """Reading the labels off the last frame would give an absent object the wrong one, or none."""
    clip = ClipReader(read_annotations(squares), cache_bytes=10**8).read(0, frames)

    assert sorted(clip.labels.tolist()) == [RED, GREEN]
    for label, planes in zip(clip.labels.tolist(), clip.masks, strict=True):
        for image, mask in zip(clip.images, planes, strict=True):
            assert (image[mask] == ((255, 0, 0), (0, 255, 0))[label]).all()


def test_an_object_absent_on_all_frames_is_not_in_the_clip(squares: Path) -> None:
    clip = ClipReader(read_annotations(squares), cache_bytes=10**8).read(1, [2, 4])

    assert clip.labels.tolist() == [RED]
    assert clip.masks.shape == (1, 2, *SIZE_HW)


def change(squares: Path, how: Callable[[dict[str, Any]], None], tmp_path: Path) -> Path:
    """The annotations with a fault, and the pictures beside them."""
    document = json.loads(squares.read_text())
    how(document)
    for folder in squares.parent.iterdir():
        if folder.is_dir():
            (tmp_path / folder.name).symlink_to(folder)
    (tmp_path / "faulty.json").write_text(json.dumps(document))
    return tmp_path / "faulty.json"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda d: d.pop("categories"), "categories"),
        (lambda d: d["annotations"].clear(), "nothing to train on"),
        (lambda d: d["annotations"][0]["segmentations"].pop(), "4 segmentations"),
        (lambda d: d["annotations"][0].update(category_id=99), "99"),
        (lambda d: d["videos"][0]["file_names"].__setitem__(0, "gone.png"), "gone.png"),
    ],
    ids=["no categories", "no objects", "a frame short", "unknown category", "missing pictures"],
)
def test_faulty_annotations_are_named(
    squares: Path, tmp_path: Path, how: Callable[[dict[str, Any]], None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_annotations(change(squares, how, tmp_path))


def test_a_bad_mask_is_named_with_its_video_and_frame(squares: Path, tmp_path: Path) -> None:
    faulty = change(squares, lambda d: d["annotations"][0]["segmentations"][3].update(size=[9, 9]), tmp_path)
    reader = ClipReader(read_annotations(faulty), cache_bytes=10**8)

    with pytest.raises(InputError, match="frame 3"):
        reader.read(0, [3])


@pytest.fixture
def film(squares: Path, tmp_path: Path) -> Path:
    """The first toy video as one file, in the folder `videos` beside its annotations."""
    document = json.loads(squares.read_text())
    first = document["videos"][0]
    images = [frame for name in first.pop("file_names") for frame in open_video(squares.parent / name)]
    (tmp_path / "videos").mkdir()
    writer = VideoWriter(tmp_path / "videos" / "film.mkv", SIZE_HW, frame_rate=Fraction(10), crf=1)
    for number, frame in enumerate(images):
        writer.write(frame.image, number / 10)
    writer.finish()
    first["file_name"] = "film.mkv"
    document["annotations"] = [entry for entry in document["annotations"] if entry["video_id"] == first["id"]]
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    return tmp_path / "annotations.json"


def test_a_video_file_gives_the_clips_that_its_images_give(squares: Path, film: Path) -> None:
    images, video = (
        ClipReader(read_annotations(path), cache_bytes=10**8).read(0, [1, 2, 4]) for path in (squares, film)
    )

    assert np.array_equal(images.masks, video.masks)
    distances = np.abs(images.images[:, None].astype(int) - video.images[None]).mean((2, 3, 4))
    assert distances.argmin(1).tolist() == [0, 1, 2]  # compression changes pixels, but no frame into another


def test_a_video_shorter_than_its_annotations_is_named(film: Path) -> None:
    document = json.loads(film.read_text())
    document["videos"][0]["length"] = FRAMES + 1
    for entry in document["annotations"]:
        entry["segmentations"].append(None)
    film.write_text(json.dumps(document))

    with pytest.raises(InputError, match=r"film\.mkv.* has 5 frames, its annotations 6"):
        ClipReader(read_annotations(film), cache_bytes=10**8).read(0, [0])


def test_crowds_are_not_trained_on(squares: Path, tmp_path: Path) -> None:
    marked = change(squares, lambda d: d["annotations"][0].update(iscrowd=1), tmp_path)

    assert [item.label for item in read_annotations(marked).videos[0].objects] == [GREEN]


def test_the_cache_stays_within_its_budget_and_gives_the_same_pictures(squares: Path) -> None:
    paths = read_annotations(squares).videos[0].files
    picture_bytes = int(np.prod(SIZE_HW)) * 3
    small, large = FrameCache(2 * picture_bytes), FrameCache(10**9)

    pictures = [small.pictures(path) for path in (*paths, *paths)]

    assert all(np.array_equal(a, large.pictures(p)) for a, p in zip(pictures, (*paths, *paths), strict=True))
    assert small.held_bytes <= 2 * picture_bytes
    assert large.pictures(paths[0]) is large.pictures(paths[0])


def maker(squares: Path, numbers: range = range(3)) -> BatchMaker:
    annotations = read_annotations(squares)
    sampler = ClipSampler((FRAMES,) * len(annotations.videos), 2, 3, 3, 0)
    jitter = Jitter((32, 48), (0.7, 1.5), 0.5, 0.2)
    return BatchMaker(ClipReader(annotations, cache_bytes=10**8), sampler, numbers, jitter, PIXEL_MEAN, PIXEL_STD)


def same(a: Batch, b: Batch) -> bool:
    masks = all(x.masks.equal(y.masks) and x.labels.equal(y.labels) for x, y in zip(a.targets, b.targets, strict=True))
    return masks and a.frames.equal(b.frames)


def test_batches_made_ahead_are_those_made_one_by_one(squares: Path) -> None:
    make = maker(squares)

    made = list(ahead(make, 3, 9))

    assert len(made) == 6
    assert all(same(batch, make(step)) for step, batch in enumerate(made, start=3))


def test_processes_share_a_batch_without_changing_it(squares: Path) -> None:
    whole, first, second = maker(squares)(4), maker(squares, range(2))(4), maker(squares, range(2, 3))(4)

    assert np.array_equal(whole.frames, np.concatenate([first.frames, second.frames]))


def test_an_error_in_the_background_reaches_the_loop() -> None:
    def fail(step: int) -> Batch:
        raise InputError(f"step {step}")

    with pytest.raises(InputError, match="step 2"):
        next(ahead(fail, 2, 5))
