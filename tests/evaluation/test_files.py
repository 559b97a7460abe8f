"""Annotations and predictions from files: every layout leads to the same tubes, and every mistake to a name."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vistool import masks
from vistool.errors import InputError
from vistool.evaluation.files import from_document, read_ground_truth, read_predictions
from vistool.evaluation.measured import SIDE_BY_SIDE
from vistool.evaluation.tubes import GroundTruth, Notes, Tube
from vistool.types import Category, Rle, Track, VideoInfo, VideoPrediction
from vistool.writers import open_writer

Json = dict[str, Any]

SIZE_HW = (4, 5)
INSIDE = {"size": [4, 5], "counts": [5, 2, 2, 2, 2, 2, 5]}  # rows 1 and 2, columns 1 to 3
SPELT = {"size": [4, 5], "counts": "5220003"}
OUTLINE = [[1, 1, 4, 1, 4, 3, 1, 3]]
CORNER = {"size": [4, 5], "counts": [0, 1, 19]}
INSIDE_RLE, CORNER_RLE = Rle(SIZE_HW, b"5220003"), Rle(SIZE_HW, b"01c0")


def document() -> Json:
    """Two videos of two frames: a folder of pictures and a file; two categories; one track in each video."""
    return {
        "videos": [
            {"id": 20, "height": 4, "width": 5, "length": 2, "file_name": "videos/film.mp4"},
            {"id": 10, "height": 4, "width": 5, "length": 2, "file_names": ["walk/00000.jpg", "walk/00005.jpg"]},
        ],
        "categories": [{"id": 7, "name": "giant_panda"}, {"id": 3, "name": "ring"}],
        "annotations": [
            annotation(5, 10, 7, INSIDE, None, areas=[6, None], iscrowd=0),
            annotation(4, 20, 3, None, CORNER, areas=[None, 1], iscrowd=1),
        ],
    }


def annotation(key: int, video: int, category: int, *slots: Any, **more: Any) -> Json:
    return {"id": key, "video_id": video, "category_id": category, "segmentations": list(slots), **more}


def found(video: int = 10, category: int = 7, score: float = 0.5, slots: Any = (INSIDE, None), **more: Any) -> Json:
    return {"video_id": video, "category_id": category, "score": score, "segmentations": list(slots), **more}


def save(path: Path, content: Any) -> Path:
    """JSON, or text as it is; compressed where the name says so."""
    path.parent.mkdir(exist_ok=True)
    text = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    return read_ground_truth(save(tmp_path / "truth.json", document()), Notes())


def facts(tubes: Iterable[Tube]) -> list[tuple[Any, ...]]:
    return [
        (t.id, t.video_id, t.category_id, pictures(t), t.areas.tolist(), t.mean_area, t.score, t.crowd) for t in tubes
    ]


def pictures(tube: Tube) -> tuple[Rle | None, ...]:
    """The masks as they were before each was put in its place on the strip; nothing is anywhere else."""
    cut: list[Rle | None] = []
    for t, rle in enumerate(tube.masks):
        strip = np.split(masks.decode(rle), SIDE_BY_SIDE, axis=1) if rle else []
        assert not any(picture.any() for place, picture in enumerate(strip) if place != t % SIDE_BY_SIDE)
        cut.append(masks.encode(strip[t % SIDE_BY_SIDE]) if rle else None)
    return tuple(cut)


ANNOTATED = [
    (5, 10, 7, (INSIDE_RLE, None), [6, 0], 6.0, 1.0, False),
    (4, 20, 3, (None, CORNER_RLE), [0, 1], 1.0, 1.0, True),
]


@pytest.mark.parametrize("name", ["truth.json", "truth.json.gz", "TRUTH.JSON.GZ", "truth"])
def test_annotations_are_read_plain_and_compressed(name: str, tmp_path: Path) -> None:
    text = json.dumps(document()).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.lower().endswith(".gz") else text)

    read = read_ground_truth(tmp_path / name, Notes())

    assert facts(read.tubes) == ANNOTATED
    assert [(video.id, video.size_hw, video.length) for video in read.videos.values()] == [
        (10, SIZE_HW, 2),
        (20, SIZE_HW, 2),
    ]
    assert list(read.category_names.items()) == [(3, "ring"), (7, "giant_panda")]


@pytest.mark.parametrize("spelling", [INSIDE, SPELT, OUTLINE], ids=["list", "string", "polygon"])
@pytest.mark.parametrize("nothing", [None, []], ids=["null", "empty list"])
def test_every_spelling_of_a_mask_is_the_same_mask(spelling: Any, nothing: Any, tmp_path: Path) -> None:
    changed = document()
    changed["annotations"][0]["segmentations"] = [spelling, nothing]

    read = read_ground_truth(save(tmp_path / "truth.json", changed), Notes())
    predicted = read_predictions([save(tmp_path / "p.json", [found(slots=(spelling, nothing))])], read, Notes())

    assert facts(read.tubes) == ANNOTATED
    assert pictures(predicted[0]) == pictures(read.tubes[0])


EMPTY_RUNS = {
    "background between": [5, 1, 0, 1, 2, 2, 2, 2, 5],
    "foreground between": [2, 0, 3, 2, 2, 2, 2, 2, 5],
    "at the end": [5, 2, 2, 2, 2, 2, 5, 0],
    "several in a row": [5, 2, 2, 0, 0, 2, 2, 2, 5, 0, 0],
    "at the beginning": [0, 0, 5, 2, 2, 2, 2, 2, 5],
}


@pytest.mark.parametrize("counts", EMPTY_RUNS.values(), ids=EMPTY_RUNS)
def test_runs_of_no_length_are_accepted_and_measured_right(
    counts: list[int], truth: GroundTruth, tmp_path: Path
) -> None:
    spelt = masks.runs.spell(masks.runs.from_lists([counts]))[0].decode()
    path = save(tmp_path / "p.json", [found(slots=({"size": [4, 5], "counts": c}, CORNER)) for c in (counts, spelt)])

    tubes = read_predictions([path], truth, Notes())

    assert [pictures(tube) for tube in tubes] == [(INSIDE_RLE, CORNER_RLE)] * 2
    assert [tube.areas.tolist() for tube in tubes] == [[6, 1]] * 2


@pytest.mark.parametrize("name", ["results.json", "results.json.gz", "results.txt"])
def test_a_result_list_is_numbered_in_its_order(name: str, truth: GroundTruth, tmp_path: Path) -> None:
    entries = [found(20, 3, 0.25, (None, CORNER)), found(10, 7, 1, (SPELT, CORNER), id=99, bboxes="not looked at")]

    tubes = read_predictions([save(tmp_path / name, entries)], truth, Notes())

    assert facts(tubes) == [
        (1, 20, 3, (None, CORNER_RLE), [0, 1], 1.0, 0.25, False),
        (2, 10, 7, (INSIDE_RLE, CORNER_RLE), [6, 1], 3.5, 1.0, False),
    ]


def test_several_files_are_numbered_through(truth: GroundTruth, tmp_path: Path) -> None:
    one = save(tmp_path / "one.json", [found(10), found(20)])
    other = save(tmp_path / "other.json", [found(10)])

    assert [tube.id for tube in read_predictions([one, other, one], truth, Notes())] == [1, 2, 3, 4, 5]


def test_an_empty_result_list_is_no_predictions(truth: GroundTruth, tmp_path: Path) -> None:
    assert read_predictions([save(tmp_path / "p.json", " []")], truth, Notes()) == []


def write_result(path: Path, video_name: str, categories: tuple[Category, ...] | None = None) -> Path:
    """What `vistool segment` writes: a track of the first category, INSIDE, and one of the second, CORNER."""
    categories = categories or (Category(3, "Ring"), Category(1, "Giant panda"))
    video = VideoInfo(video_name, SIZE_HW, Fraction(25), 2)
    tracks = (Track(8, 0, 0.75, {0: INSIDE_RLE}), Track(2, 1, 0.5, {1: CORNER_RLE}))
    result = VideoPrediction(video, categories, tracks, {0: 0.0, 1: 0.04}, {"method": "none"})
    path.parent.mkdir(exist_ok=True)
    writer = open_writer(path, categories=categories, video=video, facts=result.facts)
    try:
        writer.finish(result)
    finally:
        writer.close()
    return path


VIDEO_NAMES = {
    "the file": ("film.mp4", "any.json", 20),
    "the file, another container": ("film.mkv", "any.json", 20),
    "the file, in another folder": ("elsewhere/film.mp4", "any.json", 20),
    "the folder of its pictures": ("walk", "any.json", 10),
    "a film of its pictures": ("walk.mp4", "any.json", 10),
    "the result": ("IMG_0001.mov", "walk.json", 10),
}


@pytest.mark.parametrize(("video", "file", "expected"), VIDEO_NAMES.values(), ids=VIDEO_NAMES)
def test_a_result_is_of_the_annotated_video_with_its_name(
    video: str, file: str, expected: int, truth: GroundTruth, tmp_path: Path
) -> None:
    tubes = read_predictions([write_result(tmp_path / file, video)], truth, Notes())

    assert facts(tubes) == [
        (1, expected, 3, (INSIDE_RLE, None), [6, 0], 6.0, 0.75, False),
        (2, expected, 7, (None, CORNER_RLE), [0, 1], 1.0, 0.5, False),
    ]


def test_the_name_of_the_video_counts_more_than_that_of_the_result(truth: GroundTruth, tmp_path: Path) -> None:
    tubes = read_predictions([write_result(tmp_path / "walk.json", "film.mp4")], truth, Notes())

    assert {tube.video_id for tube in tubes} == {20}


def test_a_result_of_a_video_that_is_not_annotated_is_refused(truth: GroundTruth, tmp_path: Path) -> None:
    path = write_result(tmp_path / "any.json", "stranger.mp4")

    with pytest.raises(InputError, match=r"no annotated video has the name .*any\.json.*: `stranger\.mp4`"):
        read_predictions([path], truth, Notes())


SPELLINGS = ["giant_panda", "Giant panda", "giant-panda", "GIANT_PANDA"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_categories_are_matched_by_name_however_it_is_spelt(name: str, truth: GroundTruth, tmp_path: Path) -> None:
    notes = Notes()
    path = write_result(tmp_path / "walk.json", "walk", (Category(3, name), Category(7, "unheard of")))

    tubes = read_predictions([path], truth, notes)

    assert [tube.category_id for tube in tubes] == [7]
    assert [*notes.counts.values()] == [1]


def test_a_document_in_memory_is_read_as_its_file_is(truth: GroundTruth, tmp_path: Path) -> None:
    path = write_result(tmp_path / "walk.json", "walk")

    tubes = from_document(json.loads(path.read_text()), path, truth, Notes())

    assert facts(tubes) == facts(read_predictions([path], truth, Notes()))


def test_annotations_are_predictions_when_they_have_scores(truth: GroundTruth, tmp_path: Path) -> None:
    scored = document()
    scored["annotations"] = [entry | {"score": 0.5} for entry in scored["annotations"]]

    tubes = read_predictions([save(tmp_path / "scored.json", scored)], truth, Notes())

    assert [tube.masks for tube in tubes] == [tube.masks for tube in truth.tubes]
    assert [tube.video_id for tube in tubes] == [tube.video_id for tube in truth.tubes]


def test_a_folder_of_results_is_one_file_a_video_in_the_order_of_their_names(
    truth: GroundTruth, tmp_path: Path
) -> None:
    save(tmp_path / "folder" / "notes.txt", "not a result")
    write_result(tmp_path / "folder" / "walk.json", "one.mp4")
    write_result(tmp_path / "folder" / "film.json", "two.mp4")

    tubes = read_predictions([tmp_path / "folder"], truth, Notes())

    assert [(tube.id, tube.video_id) for tube in tubes] == [(1, 20), (2, 20), (3, 10), (4, 10)]


def test_a_folder_of_result_lists_is_matched_by_name(truth: GroundTruth, tmp_path: Path) -> None:
    """Each list numbers its video as it likes, among the numbers that there are."""
    save(tmp_path / "folder" / "walk.json", [found(20), found(20)])
    save(tmp_path / "folder" / "film.json.gz", [found(20)])

    tubes = read_predictions([tmp_path / "folder"], truth, Notes())

    assert [tube.video_id for tube in tubes] == [20, 10, 10]


def test_a_list_in_a_folder_under_another_name_is_of_the_videos_it_says(truth: GroundTruth, tmp_path: Path) -> None:
    save(tmp_path / "folder" / "part1.json", [found(10), found(20)])

    assert [tube.video_id for tube in read_predictions([tmp_path / "folder"], truth, Notes())] == [10, 20]


def test_a_video_that_a_folder_leaves_out_is_noted(truth: GroundTruth, tmp_path: Path) -> None:
    save(tmp_path / "folder" / "walk.json", [found(10)])
    notes = Notes()

    read_predictions([tmp_path / "folder"], truth, notes)

    assert [(what, times) for what, times in notes.counts.items() if "without a predicted track" in what] == [
        ("annotated videos without a predicted track", 1)
    ]


def test_what_is_wrong_in_a_folder_is_named_with_its_file(truth: GroundTruth, tmp_path: Path) -> None:
    save(tmp_path / "folder" / "film.json", [found(10)])
    save(tmp_path / "folder" / "walk.json", [found(10), found(10, score="high")])  # type: ignore[arg-type]

    with pytest.raises(InputError, match=r"^walk\.json: prediction 2 .*score"):
        read_predictions([tmp_path / "folder"], truth, Notes())


def test_a_folder_without_results_is_refused(truth: GroundTruth, tmp_path: Path) -> None:
    save(tmp_path / "folder" / "notes.txt", "not a result")

    with pytest.raises(InputError, match=r"no results in folder: `.*folder`"):
        read_predictions([tmp_path / "folder"], truth, Notes())


TEXT = json.dumps(document()).encode()
DAMAGED = {
    "missing": ("f.json", None, "cannot read: .*No such file"),
    "empty": ("f.json", b"", "empty file"),
    "empty, compressed": ("f.json.gz", b"", "f.json.gz"),
    "no JSON": ("f.json", b"video_id,score\n1,0.5\n", "not JSON"),
    "cut off": ("f.json", TEXT[:-40], "not JSON"),
    "cut off, compressed": ("f.json.gz", gzip.compress(TEXT)[:-40], "damaged gzip file"),
    "not compressed": ("f.json.gz", TEXT, "f.json.gz"),
    "damaged, compressed": ("f.json.gz", gzip.compress(TEXT)[:20] + b"?" * 60, "damaged gzip file"),
    "two documents": ("f.json", TEXT + TEXT, "not JSON"),
    "not UTF-8": ("f.json", TEXT.replace(b"ring", b"r\xffng"), "not JSON"),
    "a text": ("f.json", b'"truth"', "not a file of this kind"),
    "an object of nothing": ("f.json", b"{}", "it lacks `"),
    "null": ("f.json", b"null", "not a file of this kind"),
}


@pytest.mark.parametrize(("name", "content", "message"), DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("side", ["annotations", "predictions"])
def test_a_file_that_cannot_be_read_is_named(
    side: str, name: str, content: bytes | None, message: str, truth: GroundTruth, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InputError, match=message) as refused:
        read_ground_truth(path, Notes()) if side == "annotations" else read_predictions([path], truth, Notes())

    assert f"`{path}`" in str(refused.value)


def test_a_folder_is_no_ground_truth(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cannot read: `{tmp_path}`"):
        read_ground_truth(tmp_path, Notes())


def test_a_list_is_no_ground_truth(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file of this kind"):
        read_ground_truth(save(tmp_path / "list.json", [found()]), Notes())


def put(*path: Any, to: Any) -> Callable[[Any], None]:
    """Sets the value at that place."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = to

    return change


def drop(*path: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        del content[path[-1]]

    return change


BAD_HEADS: Mapping[str, tuple[Callable[[Any], None], str]] = {
    "videos missing": (drop("videos"), "`.*truth.json` .it lacks `videos`"),
    "videos an object": (put("videos", to={}), "expected `array`, got `object` at `videos"),
    "video a number": (put("videos", 1, to=4), r"got `int` at `videos\[1\]"),
    "video id a text": (put("videos", 1, "id", to="10"), r"got `str` at `videos\[1\].id"),
    "video id a fraction": (put("videos", 1, "id", to=1.5), r"at `videos\[1\].id"),
    "video id missing": (drop("videos", 0, "id"), r"lacks `id` at `?videos\[0\]"),
    "height missing": (drop("videos", 0, "height"), r"lacks `height` at `?videos\[0\]"),
    "width null": (put("videos", 0, "width", to=None), r"at `videos\[0\].width"),
    "length a text": (put("videos", 0, "length", to="two"), r"at `videos\[0\].length"),
    "file_name a list": (put("videos", 0, "file_name", to=["a"]), r"at `videos\[0\].file_name"),
    "file_names a text": (put("videos", 0, "file_names", to="a"), r"at `videos\[0\].file_names"),
    "categories missing": (drop("categories"), "it lacks `categories`"),
    "categories null": (put("categories", to=None), "at `categories"),
    "category id a text": (put("categories", 1, "id", to="3"), r"at `categories\[1\].id"),
    "category name a number": (put("categories", 1, "name", to=3), r"at `categories\[1\].name"),
    "annotations an object": (put("annotations", to={}), "at `annotations"),
    "annotations missing": (drop("annotations"), "no annotations in ground truth: `.*truth.json`"),
    "annotations null": (put("annotations", to=None), "no annotations in ground truth: `.*truth.json`"),
    "video ids twice": (put("videos", 0, "id", to=10), "video ids must be unique, used twice: `10`"),
    "category ids twice": (put("categories", 0, "id", to=3), "category ids must be unique, used twice: `3`"),
    "annotation ids twice": (put("annotations", 1, "id", to=5), "annotation ids must be unique, used twice: `5`"),
}

BAD_MASKS: Mapping[str, tuple[Any, str]] = {
    "a number": (7, r"at `segmentations\[1\]"),
    "a text": ("5220003", r"at `segmentations\[1\]"),
    "size missing": ({"counts": [20]}, r"lacks `size` at `?segmentations\[1\]"),
    "counts missing": ({"size": [4, 5]}, r"lacks `counts` at `?segmentations\[1\]"),
    "size of one": ({"size": [4], "counts": [20]}, r"at `segmentations\[1\].size"),
    "size of texts": ({"size": ["4", "5"], "counts": [20]}, r"at `segmentations\[1\].size"),
    "negative size": ({"size": [-4, -5], "counts": [20]}, r"frame 1: bad mask .*size.* negative"),
    "counts a number": ({"size": [4, 5], "counts": 20}, r"at `segmentations\[1\].counts"),
    "counts of texts": ({"size": [4, 5], "counts": ["20"]}, r"at `segmentations\[1\].counts\[0\]"),
    "counts of fractions": ({"size": [4, 5], "counts": [0.5, 19.5]}, r"at `segmentations\[1\].counts\[0\]"),
    "no counts": ({"size": [4, 5], "counts": []}, "frame 1: bad mask .it has no run lengths"),
    "an empty string": ({"size": [4, 5], "counts": ""}, "frame 1: bad mask .*compressed"),
    "a foreign letter": ({"size": [4, 5], "counts": "5é"}, "frame 1: bad mask .*compressed"),
    "a cut string": ({"size": [4, 5], "counts": "522000P"}, "frame 1: bad mask .*compressed"),
    "too few pixels": ({"size": [4, 5], "counts": [5, 2]}, r"frame 1: .*cover 7 pixels, size \[4, 5\] has 20"),
    "too many pixels": ({"size": [4, 5], "counts": [5, 2, 14]}, r"frame 1: .*cover 21 pixels, size \[4, 5\] has 20"),
    "a string of too few": ({"size": [4, 5], "counts": "52"}, r"frame 1: .*cover 7 pixels, size \[4, 5\] has 20"),
    "a string of too many": ({"size": [4, 5], "counts": "52>"}, r"frame 1: .*cover 21 pixels, size \[4, 5\] has 20"),
    "another shape": ({"size": [5, 5], "counts": "5220003"}, r"frame 1: .*cover 20 pixels, size \[5, 5\] has 25"),
    "a negative run": ({"size": [4, 5], "counts": [22, -4, 2]}, "frame 1: bad mask .a run length is negative"),
    "a string with a negative run": ({"size": [4, 5], "counts": "f0L2"}, "frame 1: bad mask .a run length is negative"),
    "an endless run": ({"size": [4, 5], "counts": [2**64, 1]}, "frame 1: bad mask .a run length is longer"),
    "a box for a polygon": ([[0, 0, 2, 2]], "frame 1: bad mask .polygon 0 has 4 numbers"),
    "a polygon of texts": ([["0"] * 6], r"at `segmentations\[1\]\[0\]\[0\]"),
}

BAD_FIELDS: Mapping[str, tuple[Callable[[Any], None], str]] = {
    "video_id missing": (drop("video_id"), "lacks `video_id`"),
    "video_id a text": (put("video_id", to="10"), "at `video_id`"),
    "video_id a fraction": (put("video_id", to=10.5), "at `video_id`"),
    "category_id missing": (drop("category_id"), "lacks `category_id`"),
    "category_id null": (put("category_id", to=None), "at `category_id`"),
    "segmentations missing": (drop("segmentations"), "lacks `segmentations`"),
    "segmentations null": (put("segmentations", to=None), "at `segmentations`"),
    "segmentations one mask": (put("segmentations", to=INSIDE), "at `segmentations`"),
    **{name: (put("segmentations", 1, to=mask), said) for name, (mask, said) in BAD_MASKS.items()},
}

BAD_ANNOTATIONS: Mapping[str, tuple[Callable[[Any], None], str]] = {
    **BAD_FIELDS,
    "id missing": (drop("id"), "lacks `id`"),
    "id a text": (put("id", to="4"), "at `id`"),
    "areas a number": (put("areas", to=6), "at `areas`"),
    "area a text": (put("areas", 1, to="6"), r"at `areas\[1\]`"),
    "iscrowd a text": (put("iscrowd", to="no"), "at `iscrowd`"),
    "occlusion a number": (put("occlusion", to=[0.5, 0.5]), r"at `occlusion\[0\]`"),
    "occlusion of another kind": (put("occlusion", to=["some", None]), "unknown occlusion level: `some`"),
    "occlusions a text": (put("occlusions", to=["0.5", None]), r"at `occlusions\[0\]`"),
    "a bad whole object": (put("full_segmentations", to=[None, {"size": [4, 5], "counts": [1]}]), "frame 1: bad mask"),
    "a video that is not there": (put("video_id", to=30), "of a video that is not listed: `30`"),
}

BAD_PREDICTIONS: Mapping[str, tuple[Callable[[Any], None], str]] = {
    **BAD_FIELDS,
    "score missing": (drop("score"), "lacks `score`"),
    "score a text": (put("score", to="0.5"), "at `score`"),
    "score null": (put("score", to=None), "at `score`"),
    "score a list": (put("score", to=[0.5]), "at `score`"),
    "a video that is not there": (put("video_id", to=30), "of a video that the ground truth does not have: `30`"),
}


@pytest.mark.parametrize(("change", "message"), BAD_HEADS.values(), ids=BAD_HEADS)
def test_a_mistake_in_the_ground_truth_is_named(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    changed = document()
    change(changed)

    with pytest.raises(InputError, match=message):
        read_ground_truth(save(tmp_path / "truth.json", changed), Notes())


@pytest.mark.parametrize(("change", "message"), BAD_ANNOTATIONS.values(), ids=BAD_ANNOTATIONS)
def test_a_mistake_in_an_annotation_is_named(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    changed = document()
    change(changed["annotations"][1])

    with pytest.raises(InputError, match=rf"^annotation (2|`4`).*{message}"):
        read_ground_truth(save(tmp_path / "truth.json", changed), Notes())


@pytest.mark.parametrize(("change", "message"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_a_mistake_in_a_prediction_is_named(
    change: Callable[[Any], None], message: str, truth: GroundTruth, tmp_path: Path
) -> None:
    entries = [deepcopy(found(slots=(INSIDE, SPELT))) for _ in range(3)]
    change(entries[2])

    with pytest.raises(InputError, match=rf"^prediction 3.*{message}"):
        read_predictions([save(tmp_path / "p.json", entries)], truth, Notes())


def test_a_mistake_after_many_masks_is_named(truth: GroundTruth, tmp_path: Path) -> None:
    """Masks are measured in bulk; two spellings are measured apart."""
    entries = [found(slots=([INSIDE, SPELT] * 5)[number % 2 :]) for number in range(200)]
    entries[150]["segmentations"][7] = {"size": [4, 5], "counts": [19]}

    with pytest.raises(InputError, match=r"^prediction 151, frame 7: .*cover 19 pixels"):
        read_predictions([save(tmp_path / "p.json", entries)], truth, Notes())


def test_a_mistake_in_a_written_result_is_named(truth: GroundTruth, tmp_path: Path) -> None:
    path = write_result(tmp_path / "walk.json", "walk")
    changed = json.loads(path.read_text())
    changed["annotations"][1]["segmentations"][1]["counts"] = "6"

    with pytest.raises(InputError, match=r"prediction 2, frame 1: .*cover 6 pixels"):
        read_predictions([save(path, changed)], truth, Notes())


def test_predictions_of_unknown_categories_are_left_out_and_counted(truth: GroundTruth, tmp_path: Path) -> None:
    notes = Notes()
    entries = [found(category=9), found(), found(category=8), found(category=3)]

    tubes = read_predictions([save(tmp_path / "p.json", entries)], truth, notes)

    assert [(tube.id, tube.category_id) for tube in tubes] == [(2, 7), (4, 3)]
    assert [(times, "categories" in what) for what, times in notes.counts.items()] == [(2, True)]


def test_ground_truth_may_have_no_object(tmp_path: Path) -> None:
    read = read_ground_truth(save(tmp_path / "truth.json", document() | {"annotations": []}), Notes())

    assert (read.tubes, list(read.videos)) == ((), [10, 20])


NOTED: Mapping[str, tuple[Callable[[Any], None], str]] = {
    "no areas": (drop("areas"), "areas"),
    "no iscrowd": (drop("iscrowd"), "iscrowd"),
    "id 0": (put("id", to=0), "id 0"),
}


@pytest.mark.parametrize(("change", "word"), NOTED.values(), ids=NOTED)
def test_what_the_benchmark_would_stumble_over_is_counted(
    change: Callable[[Any], None], word: str, tmp_path: Path
) -> None:
    changed, notes = document(), Notes()
    change(changed["annotations"][0])

    read = read_ground_truth(save(tmp_path / "truth.json", changed), notes)

    assert [(times, word in what) for what, times in notes.counts.items()] == [(1, True)]
    assert read.tubes[0].mean_area == 6.0
    assert not read.tubes[0].crowd


def test_areas_are_those_of_the_file_and_not_of_the_masks(tmp_path: Path) -> None:
    changed = document()
    changed["annotations"][0]["areas"] = [100.5, 0]

    assert read_ground_truth(save(tmp_path / "truth.json", changed), Notes()).tubes[0].mean_area == 100.5


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([None, None], 0.0),
        (["no_occlusion", None], 0.0),
        (["slight_occlusion", "severe_occlusion"], 0.75),
        (["no_occlusion", "slight_occlusion", "severe_occlusion"], 0.5),
    ],
    ids=["unlabelled", "one", "the higher of two", "the higher two of three"],
)
def test_the_occlusion_of_a_track_is_that_of_its_worse_half(
    levels: list[str | None], expected: float, tmp_path: Path
) -> None:
    changed = document()
    changed["annotations"][0]["occlusion"] = levels

    read = read_ground_truth(save(tmp_path / "truth.json", changed), Notes())

    assert [tube.occlusion for tube in read.tubes] == [expected, None]


@pytest.mark.parametrize(
    "more",
    [{"occlusions": [0.25, None]}, {"full_segmentations": [{"size": [4, 5], "counts": [4, 8, 8]}, None]}],
    ids=["shares", "whole objects"],
)
def test_what_is_hidden_is_read_or_measured(more: Json, tmp_path: Path) -> None:
    changed = document()
    changed["annotations"][0] |= more

    hidden = read_ground_truth(save(tmp_path / "truth.json", changed), Notes()).tubes[0].hidden

    np.testing.assert_array_equal(hidden, [0.25, np.nan])


LARGE_BYTES = 20e6
RUNS = {"truth": 201, "found": 201}  # a mask

PEAK = """
import sys
from pathlib import Path
from vistool.evaluation.files import read_ground_truth, read_predictions
from vistool.evaluation.tubes import Notes

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

kind, small, large = sys.argv[1], *map(Path, sys.argv[2:4])

def read(path):
    if kind == "truth":
        return read_ground_truth(path, Notes())
    return read_predictions([path], truth, Notes())

truth = read_ground_truth(Path(sys.argv[4]), Notes())
read(small)
before = peak()
kept = read(large)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
@pytest.mark.parametrize("kind", ["truth", "found"])
def test_reading_takes_less_than_three_times_the_size_of_the_file(kind: str, tmp_path: Path) -> None:
    """As usual, annotations hold lists of runs and results hold strings."""
    counts = np.random.default_rng(0).integers(100, 1000, (36, RUNS[kind]))
    counts[:, -1] += 360 * 640 - counts.sum(axis=1)
    texts = [text.decode() for text in masks.runs.spell(masks.runs.from_lists(counts.tolist()))]
    slots = [{"size": [360, 640], "counts": one} for one in (counts.tolist() if kind == "truth" else texts)]
    track = json.dumps(annotation(0, 10, 7, *slots, score=0.5, iscrowd=0, areas=[5] * len(slots)))
    copies = int(LARGE_BYTES / len(track))
    entries = [track.replace('"id": 0,', f'"id": {key},', 1) for key in range(1, copies + 1)]
    head = json.dumps(document() | {"annotations": []})
    small, large = (
        save(tmp_path / name, head.replace('"annotations": []', f'"annotations": {some}') if kind == "truth" else some)
        for name, some in (("small.json", f"[{entries[0]}]"), ("large.json", f"[{', '.join(entries)}]"))
    )
    truth = save(tmp_path / "truth.json", document())

    said = subprocess.run(
        [sys.executable, "-c", PEAK, kind, small, large, truth], check=True, capture_output=True, text=True
    )

    assert int(said.stdout) < 3 * large.stat().st_size
