"""What a split holds, and that it is written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vistool import masks
from vistool.errors import InputError, OutputExistsError, UsageError
from vistool.shapes import make_split
from vistool.shapes.dataset import DATA_VERSION, SPLITS, Recipe, annotate
from vistool.shapes.drawing import MIN_VISIBLE, pictures
from vistool.shapes.outlines import CLASSES
from vistool.shapes.statistics import Statistics, measure


@pytest.fixture(scope="module")
def validation() -> dict[str, Any]:
    """The annotations of the whole of shapes-val."""
    return annotate(Recipe.of("shapes-val"))


@pytest.fixture(scope="module")
def statistics(validation: dict[str, Any]) -> Statistics:
    """How hard shapes-val is."""
    return measure(validation)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a written data set of two videos."""
    out = tmp_path_factory.mktemp("shapes") / "train"
    make_split("shapes-train", out, videos=2, seed=3)
    return out


def test_validation_has_sixty_videos_of_two_to_seven_objects(statistics: Statistics) -> None:
    assert statistics.videos == 60
    assert statistics.fewest_objects == 2
    assert statistics.most_objects == 7


def test_two_fifths_of_the_tracks_are_over_half_occluded_once(statistics: Statistics) -> None:
    assert statistics.half_occluded >= 0.40


def test_a_quarter_of_the_tracks_vanish_and_return(statistics: Statistics) -> None:
    assert statistics.returning >= 0.25


def test_half_of_the_videos_hold_two_objects_of_a_class(statistics: Statistics) -> None:
    assert statistics.same_class >= 0.5


def test_every_class_is_in_the_validation_set(validation: dict[str, Any]) -> None:
    assert {track["category_id"] for track in validation["annotations"]} == set(range(1, len(CLASSES) + 1))
    assert [category["name"] for category in validation["categories"]] == list(CLASSES)


def test_every_list_of_a_track_has_an_entry_a_frame(validation: dict[str, Any]) -> None:
    names = ("segmentations", "bboxes", "areas", "full_segmentations", "occlusions")

    lengths = {len(track[name]) for track in validation["annotations"] for name in names}

    assert lengths == {24}


def test_a_track_agrees_with_its_masks(validation: dict[str, Any]) -> None:
    track = validation["annotations"][0]
    seen = [(masks.from_json(obj), k) for k, obj in enumerate(track["segmentations"]) if obj]

    assert [list(masks.box_xywh(rle) or ()) for rle, _ in seen] == [box for box in track["bboxes"] if box]
    assert [masks.area(rle) for rle, _ in seen] == [area for area in track["areas"] if area]
    assert {rle.size_hw for rle, _ in seen} == {(192, 320)}


def test_nothing_visible_is_smaller_than_a_handful_of_pixels(validation: dict[str, Any]) -> None:
    areas = [area for track in validation["annotations"] for area in track["areas"] if area is not None]

    assert min(areas) >= MIN_VISIBLE


def test_occlusion_is_the_hidden_share_of_the_full_mask(validation: dict[str, Any]) -> None:
    for track in validation["annotations"][:20]:
        full = [masks.area(masks.from_json(obj)) if obj else None for obj in track["full_segmentations"]]
        expected = [
            1 - (area or 0) / whole if whole else None for area, whole in zip(track["areas"], full, strict=True)
        ]

        assert track["occlusions"] == pytest.approx(expected, abs=1e-4)


def test_fewer_videos_are_a_prefix_of_more() -> None:
    few, many = (annotate(Recipe.of("shapes-train", videos=count, seed=5)) for count in (2, 4))

    count = len(few["annotations"])
    assert few["videos"] == many["videos"][:2]
    assert few["annotations"] == many["annotations"][:count]
    assert {track["video_id"] for track in many["annotations"][count:]} == {3, 4}


def test_splits_and_seeds_share_no_video() -> None:
    recipes = [Recipe.of(split, seed=seed) for split in ("shapes-train", "shapes-val") for seed in (0, 1)]

    backgrounds = [recipe.scene(0)[0].background for recipe in recipes]

    assert len({background.tobytes() for background in backgrounds}) == 4
    assert len({split.stream for split in SPLITS.values()}) == len(SPLITS)


def test_the_occluded_split_hides_its_tracks_for_longer() -> None:
    plain, occluded = (
        [
            value
            for track in annotate(Recipe.of(split, videos=6))["annotations"]
            for value in track["occlusions"]
            if value
        ]
        for split in ("shapes-val", "shapes-occluded")
    )

    assert np.mean(np.array(occluded) > 0.5) > np.mean(np.array(plain) > 0.5)


def test_difficulty_hides_more() -> None:
    easy, hard = (
        measure(annotate(Recipe.of("shapes-val", videos=6, difficulty=value))).half_occluded for value in (0.0, 1.0)
    )

    assert easy < hard


def test_a_written_set_has_the_annotations_of_its_recipe(made: Path) -> None:
    document = json.loads((made / "annotations.json").read_text())

    assert document == annotate(Recipe.of("shapes-train", videos=2, seed=3))
    assert document["info"] | {"description": ""} == {
        "description": "",
        "split": "shapes-train",
        "videos": 2,
        "seed": 3,
        "difficulty": 0.5,
        "version": DATA_VERSION,
    }


def test_a_written_video_shows_its_pictures_but_for_the_compression(made: Path) -> None:
    scene, noise = Recipe.of("shapes-train", seed=3).scene(1)

    decoded = _decode(made / "videos" / "00002.mp4")

    drawn = np.stack(list(pictures(scene, noise)))
    assert decoded.shape == drawn.shape == (24, 192, 320, 3)
    assert np.abs(decoded.astype(float) - drawn).mean() < 8


def test_the_same_arguments_give_the_same_bytes_and_pixels(made: Path, tmp_path: Path) -> None:
    make_split("shapes-train", tmp_path / "again", videos=2, seed=3)

    assert (tmp_path / "again" / "annotations.json").read_bytes() == (made / "annotations.json").read_bytes()
    np.testing.assert_array_equal(*[_decode(out / "videos" / "00001.mp4") for out in (made, tmp_path / "again")])


def test_an_existing_set_is_kept_without_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "set"
    before = make_split("shapes-val", out, videos=1).read_bytes()

    with pytest.raises(OutputExistsError):
        make_split("shapes-val", out, videos=1, seed=9)
    assert (out / "annotations.json").read_bytes() == before

    make_split("shapes-val", out, videos=1, seed=9, overwrite=True)
    assert (out / "annotations.json").read_bytes() != before


def test_a_folder_with_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")

    with pytest.raises(OutputExistsError, match=r"thesis\.txt"):
        make_split("shapes-val", tmp_path, videos=1, overwrite=True)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_split("shapes-val", tmp_path / "set", videos=2, on_video=interrupt)

    assert list(tmp_path.iterdir()) == []


def test_a_missing_parent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        make_split("shapes-val", tmp_path / "absent" / "set", videos=1)


@pytest.mark.parametrize(
    ("split", "options"),
    [
        ("shapes-test", {}),
        ("shapes-val", {"videos": 0}),
        ("shapes-val", {"seed": -1}),
        ("shapes-val", {"difficulty": 2.0}),
    ],
    ids=["unknown split", "no videos", "negative seed", "difficulty above 1"],
)
def test_values_that_make_no_sense_are_refused(split: str, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        make_split(split, tmp_path / "set", **options)


def _decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
