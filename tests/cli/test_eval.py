"""`vistool eval` from outside: what it prints, writes and refuses, and with which code it leaves."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FRAMES, SIZE_HW, Vistool

from vistool import masks
from vistool.testing import CATEGORIES, moving_rectangles
from vistool.types import Category, Frame, FramePrediction, Track, VideoInfo, VideoPrediction
from vistool.writers import open_writer

Json = dict[str, Any]

AP_FIELDS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
IDENTITY_FIELDS = ["IDF1", "IDP", "IDR", "MOTA", "IDs", "FP", "FN", "GT"]
HOTA_FIELDS = ["HOTA", "DetA", "AssA", "LocA"]
ALWAYS = {"counts", "settings", "seconds"}
VIDEOS = {11: "north.mp4", 12: "south.mp4", 15: "east.mp4"}
TRACKS = {key: moving_rectangles(3, FRAMES, SIZE_HW, seed=key) for key in VIDEOS}


def slots(track: Track, frames: int = FRAMES) -> list[Json | None]:
    return [None if (rle := track.masks.get(t)) is None else masks.to_json(rle) for t in range(frames)]


def ground_truth() -> Json:
    """Three videos with three rectangles each, of three categories; in the first video something hides one."""
    annotations = []
    for video_id, tracks in TRACKS.items():
        for track in tracks:
            areas = [masks.area(track.masks[t]) for t in range(FRAMES)]
            annotations.append(
                entry(video_id, track) | {"id": len(annotations) + 1, "areas": areas, "iscrowd": 0, "score": 1.0}
            )
    annotations[0]["occlusions"] = [0.75, *[0.0] * (FRAMES - 1)]
    height, width = SIZE_HW
    return {
        "videos": [
            {"id": key, "file_name": f"videos/{name}", "height": height, "width": width, "length": FRAMES}
            for key, name in VIDEOS.items()
        ],
        "categories": [{"id": category.id, "name": category.name} for category in CATEGORIES],
        "annotations": annotations,
    }


def entry(video_id: int, track: Track, score: float = 0.9) -> Json:
    category = CATEGORIES[track.label].id
    return {"video_id": video_id, "category_id": category, "score": score, "segmentations": slots(track)}


def perfect() -> list[Json]:
    return [entry(video_id, track) for video_id, tracks in TRACKS.items() for track in tracks]


def flawed() -> list[Json]:
    """Half of the video missing for one track, one track of the wrong category, one false alarm of low score."""
    entries = perfect()
    entries[0]["segmentations"] = [*entries[0]["segmentations"][: FRAMES // 2], *[None] * (FRAMES - FRAMES // 2)]
    entries[4]["category_id"] = CATEGORIES[TRACKS[12][0].label].id
    height, width = SIZE_HW
    false_alarm = masks.to_json(masks.from_counts([height * width - 1, 1], SIZE_HW))
    entries.append(entries[0] | {"score": 0.1, "segmentations": [false_alarm] * FRAMES})
    return entries


def save(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def gt(tmp_path: Path) -> Path:
    return save(tmp_path / "gt.json", ground_truth())


@pytest.fixture
def right(tmp_path: Path) -> Path:
    return save(tmp_path / "right.json", perfect())


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    return save(tmp_path / "wrong.json", flawed())


Report = Callable[..., Json]


@pytest.fixture
def report(vistool: Vistool, gt: Path) -> Report:
    """What `vistool eval --json` says of predictions, when all is well."""

    def ask(*args: object) -> Json:
        predictions = [part for arg in args if isinstance(arg, Path) for part in ("--pred", arg)]
        said = vistool("eval", "--gt", gt, *predictions, *(a for a in args if not isinstance(a, Path)), "--json")
        assert (said.code, said.err) == (0, "")
        found: Json = json.loads(said.out, parse_constant=_refuse)
        return found

    return ask


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def test_a_perfect_prediction_has_full_marks(report: Report, right: Path) -> None:
    said = report(right, "--metrics", "ap,identity,hota,attributes,errors")

    assert [said["ap"][name] for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")] == [pytest.approx(1)] * 6
    assert said["ap_per_category"] == {category.name: pytest.approx(1) for category in CATEGORIES}
    assert [said["identity"][name] for name in IDENTITY_FIELDS] == [1, 1, 1, 1, 0, 0, 0, 9 * FRAMES]
    assert said["hota"] == {name: pytest.approx(1) for name in HOTA_FIELDS}
    assert {one["count"] for one in said["errors"]["errors"].values()} == {0}
    assert said["counts"] == {"videos": 3, "gt_tracks": 9, "pred_tracks": 9}


def test_a_flawed_prediction_has_not(report: Report, wrong: Path) -> None:
    said = report(wrong, "--metrics", "ap,identity,hota")

    assert 0 < said["ap"]["AP"] < 1
    assert 0 < said["identity"]["IDF1"] < 1
    assert 0 < said["hota"]["HOTA"] < 1
    assert said["counts"] == {"videos": 3, "gt_tracks": 9, "pred_tracks": 10}


FIELDS = {
    "ap": {"ap", "ap_per_category"},
    "identity": {"identity"},
    "hota": {"hota"},
    "attributes": {"attributes", "attribute_rules"},
    "errors": {"errors"},
    "ap,hota": {"ap", "ap_per_category", "hota"},
    " hota , ap ": {"ap", "ap_per_category", "hota"},
}


@pytest.mark.parametrize(("metrics", "expected"), FIELDS.items(), ids=FIELDS)
def test_only_the_metrics_asked_for_are_there(report: Report, right: Path, metrics: str, expected: set[str]) -> None:
    assert report(right, "--metrics", metrics).keys() == expected | ALWAYS


def test_without_a_choice_it_is_ap_and_identities(report: Report, right: Path) -> None:
    assert report(right).keys() == FIELDS["ap"] | FIELDS["identity"] | ALWAYS


def test_the_fields_of_each_metric_are_those_of_the_contract(report: Report, right: Path) -> None:
    said = report(right, "--metrics", "ap,identity,hota,attributes")

    assert list(said["ap"]) == AP_FIELDS
    assert list(said["identity"]) == IDENTITY_FIELDS
    assert list(said["hota"]) == HOTA_FIELDS
    assert {tuple(one) for one in said["attributes"].values()} == {("videos", "AP")}
    assert list(said["counts"]) == ["videos", "gt_tracks", "pred_tracks"]
    assert said["seconds"] > 0


def test_numbers_without_ground_truth_are_minus_one(vistool: Vistool, tmp_path: Path, right: Path) -> None:
    bare = save(tmp_path / "bare.json", ground_truth() | {"annotations": []})

    said = vistool("eval", "--gt", bare, "--pred", right, "--json", "--metrics", "ap,identity,hota,attributes")

    found = json.loads(said.out, parse_constant=_refuse)
    assert (said.code, set(found["ap"].values()), found["identity"]["MOTA"]) == (0, {-1}, -1)
    assert {(one["videos"], one["AP"]) for one in found["attributes"].values()} == {(0, -1)}


def test_no_predictions_score_nothing(report: Report, tmp_path: Path) -> None:
    said = report(save(tmp_path / "none.json", []), "--metrics", "ap,identity,hota")

    assert (said["ap"]["AP"], said["identity"]["IDF1"], said["hota"]["HOTA"]) == (0, 0, 0)
    assert said["identity"]["FN"] == said["identity"]["GT"] == 9 * FRAMES


def test_the_score_cut_is_for_identities_alone(report: Report, wrong: Path) -> None:
    everything, best = report(wrong), report(wrong, "--score-min", "0.5")

    assert best["ap"] == everything["ap"]
    assert everything["identity"]["FP"] - best["identity"]["FP"] == FRAMES
    assert (everything["settings"]["score_min"], best["settings"]["score_min"]) == (0, 0.5)


def test_without_categories_a_wrong_one_is_no_mistake(report: Report, tmp_path: Path) -> None:
    confused = [one | {"category_id": CATEGORIES[0].id} for one in perfect()]
    path = save(tmp_path / "confused.json", confused)

    apart, together = report(path), report(path, "--class-agnostic")

    assert apart["ap"]["AP"] < 1 and apart["identity"]["IDF1"] < 1
    assert (together["ap"]["AP"], together["identity"]["IDF1"]) == (pytest.approx(1), 1)
    assert len(together["ap_per_category"]) == 1
    assert together["settings"]["class_agnostic"] is True


def test_identities_can_be_compared_by_masks(report: Report, tmp_path: Path) -> None:
    """A frame around the object has its box, but not its pixels."""
    hollow = [one | {"segmentations": [outline(slot) for slot in one["segmentations"]]} for one in perfect()]
    path = save(tmp_path / "hollow.json", hollow)

    by_box, by_mask = report(path), report(path, "--identity-on", "mask")

    assert (by_box["identity"]["IDF1"], by_mask["identity"]["IDF1"]) == (1, 0)
    assert by_mask["settings"]["identity_on"] == "mask"


def outline(slot: Json) -> Json:
    mask = masks.decode(masks.from_json(slot))
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    mask[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]] = False
    return masks.to_json(masks.encode(mask))


GROUPS = {
    "category": {category.name for category in CATEGORIES},
    "video": {"north", "south", "east"},
    "length": {"1 to 16 frames"},
    "size": {"small (to 128² px)", "medium (to 256² px)", "large (above)"},
}


@pytest.mark.parametrize(("by", "expected"), GROUPS.items(), ids=GROUPS)
def test_parts_are_reported_beside_the_whole(report: Report, wrong: Path, by: str, expected: set[str]) -> None:
    plain, said = report(wrong), report(wrong, "--by", by)

    assert said["by"].keys() == {by}
    assert said["by"][by].keys() == expected
    assert (said["ap"], said["identity"]) == (plain["ap"], plain["identity"])


def test_by_attribute_the_numbers_are_those_of_the_attributes(report: Report, wrong: Path) -> None:
    said = report(wrong, "--by", "attribute")

    some = {name: one for name, one in said["attributes"].items() if one["videos"]}
    assert some.keys() == {"occlusion"}
    assert 0 < some["occlusion"]["AP"] != said["ap"]["AP"]
    assert {name: (one["counts"]["videos"], one["ap"]["AP"]) for name, one in said["by"]["attribute"].items()} == {
        name: (one["videos"], one["AP"]) for name, one in some.items()
    }


def test_by_category_the_ap_is_that_per_category(report: Report, wrong: Path) -> None:
    said = report(wrong, "--by", "category")

    assert {name: one["ap"]["AP"] for name, one in said["by"]["category"].items()} == said["ap_per_category"]
    assert sum(one["identity"]["GT"] for one in said["by"]["category"].values()) == said["identity"]["GT"]


def test_a_group_of_all_videos_has_the_numbers_of_all(report: Report, wrong: Path) -> None:
    said = report(wrong, "--by", "length", "--metrics", "ap,identity,hota")

    (group,) = said["by"]["length"].values()
    assert {name: group[name] for name in ("ap", "identity", "hota")} == {
        name: said[name] for name in ("ap", "identity", "hota")
    }


def test_predictions_may_come_in_parts(report: Report, right: Path, tmp_path: Path) -> None:
    entries = perfect()
    one, other = save(tmp_path / "one.json", entries[:4]), save(tmp_path / "other.json", entries[4:])

    whole, parts = report(right), report(one, other)

    assert {**parts, "seconds": 0} == {**whole, "seconds": 0}


def write_result(path: Path, video_id: int, *, name: str | None = None) -> Path:
    """What `vistool segment` writes of a perfect prediction, categories under ids of its own."""
    categories = tuple(Category(number, one.name.upper()) for number, one in enumerate(CATEGORIES, start=50))
    video = VideoInfo(name or VIDEOS[video_id], SIZE_HW, Fraction(25), FRAMES)
    tracks = TRACKS[video_id]
    result = VideoPrediction(video, categories, tracks, {t: t / 25 for t in range(FRAMES)}, {"method": "none"})
    path.parent.mkdir(exist_ok=True)
    writer = open_writer(path, categories=categories, video=video, facts=result.facts)
    try:
        for frame, time_s in result.times_s.items():
            writer.write_frame(_frame(frame, time_s), _of_frame(tracks, frame))
        writer.finish(result)
    finally:
        writer.close()
    return path


def _frame(index: int, time_s: float) -> Frame:
    return Frame(index, time_s, np.zeros((*SIZE_HW, 3), np.uint8))


def _of_frame(tracks: tuple[Track, ...], frame: int) -> FramePrediction:
    return FramePrediction(
        frame,
        np.array([track.id for track in tracks], np.int64),
        np.array([track.label for track in tracks], np.int64),
        np.array([track.score for track in tracks], np.float32),
        tuple(track.masks[frame] for track in tracks),
    )


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".jsonl.gz"])
def test_what_segment_writes_is_evaluated_by_the_names_of_videos_and_categories(
    suffix: str, report: Report, tmp_path: Path
) -> None:
    said = report(*(write_result(tmp_path / f"{key}{suffix}", key) for key in VIDEOS))

    assert (said["ap"]["AP"], said["identity"]["IDF1"]) == (pytest.approx(1), 1)
    assert said["counts"]["pred_tracks"] == 9


def test_formats_may_be_mixed(report: Report, tmp_path: Path) -> None:
    one, other = write_result(tmp_path / "one.jsonl", 11), write_result(tmp_path / "other.json", 12)
    rest = save(tmp_path / "rest.json", [entry(15, track) for track in TRACKS[15]])

    assert report(one, other, rest)["ap"]["AP"] == pytest.approx(1)


def test_a_folder_stands_for_its_results(report: Report, tmp_path: Path) -> None:
    for key, name in VIDEOS.items():
        write_result(tmp_path / "folder" / f"{Path(name).stem}.json", key, name="camera 1")

    assert report(tmp_path / "folder")["ap"]["AP"] == pytest.approx(1)


def test_compressed_annotations_are_read(vistool: Vistool, gt: Path, right: Path, tmp_path: Path) -> None:
    packed = tmp_path / "gt.json.gz"
    packed.write_bytes(gzip.compress(gt.read_bytes()))

    assert vistool("eval", "--gt", packed, "--pred", right, "--fail-under", "AP=1").code == 0


def test_an_interrupted_result_is_refused(vistool: Vistool, gt: Path, tmp_path: Path) -> None:
    path = write_result(tmp_path / "north.jsonl", 11)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    said = vistool("eval", "--gt", gt, "--pred", path)

    assert (said.code, said.out) == (4, "")
    assert "interrupted" in said.err


def test_tables_say_what_they_are_of(vistool: Vistool, gt: Path, wrong: Path) -> None:
    said = vistool("eval", "--gt", gt, "--pred", wrong, "--score-min", "0.25", "--metrics", "ap,identity,hota")

    lines = said.out.splitlines()
    assert said.code == 0
    assert [line for line in lines if line.startswith(("Identities", "HOTA on"))] == [
        "Identities (tracks from score 0.25 on, on boxes of the masks)",
        "HOTA on masks (tracks from score 0.25 on)",
    ]
    assert AP_FIELDS in [line.split() for line in lines]
    assert IDENTITY_FIELDS in [line.split() for line in lines]
    assert lines[-2].startswith("3 videos, 9 annotated and 10 predicted tracks, ")


def test_tables_are_in_percent_and_a_dash_where_nothing_is_annotated(vistool: Vistool, gt: Path, right: Path) -> None:
    lines = vistool("eval", "--gt", gt, "--pred", right, "--metrics", "ap").out.splitlines()

    header = next(number for number, line in enumerate(lines) if line.split() == AP_FIELDS)
    cells = dict(zip(AP_FIELDS, lines[header + 1].split(), strict=True))
    assert (cells["AP"], cells["AP75"], cells["APs"], cells["APl"]) == ("100.00", "100.00", "100.00", "-")


@pytest.mark.parametrize("by", ["category", "video", "length", "size", "attribute"])
def test_tables_have_a_line_a_part(by: str, vistool: Vistool, report: Report, gt: Path, wrong: Path) -> None:
    said = vistool("eval", "--gt", gt, "--pred", wrong, "--by", by)

    after = said.out.split(f"By {by}\n", 1)[1]
    assert [name for name in report(wrong, "--by", by)["by"][by] if f"\n{name} " not in f"\n{after}"] == []


BOUNDS = {
    "met": ("AP=0.3", 0),
    "met in percent": ("AP=30", 0),
    "met, several": ("AP=0.3,IDF1=0.5", 0),
    "met, with spaces": (" AP = 0.3 , IDF1 = 0.5 ", 0),
    "missed": ("AP=0.999", 3),
    "missed in percent": ("AP=99.9", 3),
    "one of several missed": ("AP=0.3,IDF1=0.999", 3),
    "not defined": ("APl=0.01", 3),
    "not a name": ("mAP=0.3", 2),
    "a count": ("IDs=0", 2),
    "not a number": ("AP=half", 2),
    "not a bound": ("AP", 2),
    "of a metric not asked for": ("HOTA=0.1", 2),
}


@pytest.mark.parametrize(("bounds", "code"), BOUNDS.values(), ids=BOUNDS)
def test_bounds_decide_the_code(bounds: str, code: int, vistool: Vistool, gt: Path, wrong: Path) -> None:
    assert vistool("eval", "--gt", gt, "--pred", wrong, "--fail-under", bounds).code == code


def test_a_missed_bound_is_told_after_the_report(vistool: Vistool, gt: Path, wrong: Path, desk: Path) -> None:
    said = vistool("eval", "--gt", gt, "--pred", wrong, "--fail-under", "IDF1=0.999", "--json", "-o", desk / "r.json")

    assert said.code == 3
    assert json.loads(said.out) == json.loads((desk / "r.json").read_text())
    assert said.err.startswith("under: IDF1 is 0.")
    assert "0.999" in said.err


def test_a_perfect_prediction_meets_every_bound(vistool: Vistool, gt: Path, right: Path) -> None:
    bounds = "AP=1,AP50=100,AR10=1,IDF1=100,MOTA=1"

    assert vistool("eval", "--gt", gt, "--pred", right, "--fail-under", bounds).code == 0


def compared(vistool: Vistool, gt: Path, *args: object) -> Json:
    said = vistool("eval", "--gt", gt, "--compare", *args, "--json")
    assert (said.code, said.err) == (0, "")
    found: Json = json.loads(said.out, parse_constant=_refuse)
    return found


def numbers(figures: Any) -> set[Any]:
    return {value for values in figures.values() for value in values.values()}


def test_a_prediction_does_not_differ_from_itself(vistool: Vistool, gt: Path, wrong: Path) -> None:
    said = compared(vistool, gt, wrong, wrong, "--metrics", "ap,identity,hota", "--bootstrap", 20)

    assert said["difference"].keys() == {"ap", "identity", "hota"}
    assert numbers(said["difference"]) == {0, None}
    assert said["difference"]["ap"]["APl"] is None
    assert {tuple(ends) for values in said["intervals"].values() for ends in values.values()} == {(0, 0), (-1, -1)}


def test_a_comparison_is_the_second_less_the_first(
    vistool: Vistool, report: Report, gt: Path, wrong: Path, right: Path
) -> None:
    said = compared(vistool, gt, wrong, right, "--bootstrap", 20)

    assert said["a"]["ap"] == report(wrong)["ap"]
    assert said["b"]["ap"] == report(right)["ap"]
    assert said["difference"]["ap"]["AP"] == said["b"]["ap"]["AP"] - said["a"]["ap"]["AP"] > 0
    low, high = said["intervals"]["ap"]["AP"]
    assert 0 <= low <= said["difference"]["ap"]["AP"] <= high


def test_a_comparison_is_a_table_of_both(vistool: Vistool, gt: Path, wrong: Path, right: Path) -> None:
    said = vistool("eval", "--gt", gt, "--compare", wrong, right, "--bootstrap", 20)

    lines = [line.split() for line in said.out.splitlines()]
    assert said.code == 0
    assert ["A", "B", "B", "-", "A", "95", "%", "of", "draws"] in lines
    assert [line[2] for line in lines if line[:1] == ["IDF1"]] == ["100.00"]
    assert f"A {wrong}, B {right}; 20 draws of the videos, seed 0" in said.out


def test_of_a_comparison_the_second_has_to_meet_the_bounds(
    vistool: Vistool, gt: Path, wrong: Path, right: Path
) -> None:
    better, worse = (
        vistool("eval", "--gt", gt, "--compare", *pair, "--bootstrap", 5, "--fail-under", "AP=1,IDF1=1")
        for pair in ((wrong, right), (right, wrong))
    )

    assert (better.code, worse.code) == (0, 3)


def test_intervals_are_drawn_on_request_and_again_with_their_seed(report: Report, wrong: Path) -> None:
    asked = ("--metrics", "ap,identity,hota", "--bootstrap", 30, "--seed")
    one, again, other = (report(wrong, *asked, seed)["intervals"] for seed in (3, 3, 4))

    assert one == again != other
    assert {metric: list(values) for metric, values in one.items()} == {
        "ap": AP_FIELDS,
        "identity": IDENTITY_FIELDS,
        "hota": HOTA_FIELDS,
    }
    assert one["ap"]["AP"][0] < one["ap"]["AP"][1]
    assert "intervals" not in report(wrong)


def test_the_same_input_gives_the_same_report(report: Report, wrong: Path) -> None:
    one, again = (report(wrong, "--metrics", "ap,identity,hota,attributes,errors", "--by", "video") for _ in range(2))

    assert {**one, "seconds": 0} == {**again, "seconds": 0}


def test_a_report_is_written_beside_the_table(
    vistool: Vistool, report: Report, gt: Path, wrong: Path, desk: Path
) -> None:
    said = vistool("eval", "--gt", gt, "--pred", wrong, "-o", desk / "report.json")

    assert (said.code, said.err) == (0, "")
    assert [path.name for path in desk.iterdir()] == ["report.json"]
    assert {**json.loads((desk / "report.json").read_text()), "seconds": 0} == {**report(wrong), "seconds": 0}


def test_an_existing_report_is_kept(vistool: Vistool, gt: Path, wrong: Path, desk: Path) -> None:
    (desk / "report.json").write_text("mine")

    said = vistool("eval", "--gt", gt, "--pred", wrong, "-o", desk / "report.json")

    assert (said.code, said.out) == (7, "")
    assert "--overwrite" in said.err
    assert (desk / "report.json").read_text() == "mine"


def test_an_existing_report_is_replaced_when_asked(vistool: Vistool, gt: Path, wrong: Path, desk: Path) -> None:
    (desk / "report.json").write_text("mine")

    said = vistool("eval", "--gt", gt, "--pred", wrong, "-o", desk / "report.json", "--overwrite")

    assert said.code == 0
    assert json.loads((desk / "report.json").read_text())["counts"]["videos"] == 3


def test_a_failed_evaluation_leaves_no_report(vistool: Vistool, gt: Path, desk: Path) -> None:
    said = vistool("eval", "--gt", gt, "--pred", desk.parent / "nowhere.json", "-o", desk / "report.json")

    assert (said.code, list(desk.iterdir())) == (4, [])


USAGE = {
    "unknown metric": ["--metrics", "ap,mota"],
    "no metric": ["--metrics", ","],
    "unknown part": ["--by", "colour"],
    "unknown overlap": ["--identity-on", "circle"],
    "negative draws": ["--bootstrap", "-1"],
    "unknown report": ["-o", "report.txt"],
    "two questions": ["--compare", "a.json", "b.json"],
}


@pytest.mark.parametrize("args", USAGE.values(), ids=USAGE)
def test_a_wrong_command_line_is_refused(args: list[str], vistool: Vistool, gt: Path, right: Path) -> None:
    said = vistool("eval", "--gt", gt, "--pred", right, *args)

    assert (said.code, said.out) == (2, "")
    assert "Traceback" not in said.err


def test_something_to_evaluate_is_needed(vistool: Vistool, gt: Path) -> None:
    said = vistool("eval", "--gt", gt)

    assert (said.code, said.out) == (2, "")
    assert "--pred" in said.err


def test_an_unknown_metric_is_answered_with_those_there_are(vistool: Vistool, gt: Path, right: Path) -> None:
    said = vistool("eval", "--gt", gt, "--pred", right, "--metrics", "mota")

    assert "`mota`" in said.err
    assert "ap, identity, hota, attributes" in said.err


@pytest.mark.parametrize("missing", ["gt", "pred"])
def test_a_missing_input_has_its_code(missing: str, vistool: Vistool, gt: Path, right: Path, tmp_path: Path) -> None:
    paths = {"gt": gt, "pred": right} | {missing: tmp_path / "nowhere.json"}

    said = vistool("eval", "--gt", paths["gt"], "--pred", paths["pred"])

    assert (said.code, said.out) == (4, "")
    assert f"`{tmp_path / 'nowhere.json'}`" in said.err
    assert "hint: " in said.err


def test_a_bad_record_is_named(vistool: Vistool, gt: Path, tmp_path: Path) -> None:
    entries = perfect()
    entries[2]["video_id"] = 99

    said = vistool("eval", "--gt", gt, "--pred", save(tmp_path / "p.json", entries))

    assert said.code == 4
    assert said.err.startswith("error: prediction 3 is of a video that the ground truth does not have: `99`\n")


def test_what_was_odd_is_told_in_one_line_a_kind_and_in_the_report(vistool: Vistool, gt: Path, tmp_path: Path) -> None:
    entries = [*perfect(), *(entry(11, track) | {"category_id": 99} for track in TRACKS[11])]

    said = vistool("eval", "--gt", gt, "--pred", save(tmp_path / "p.json", entries), "--json")

    notes = json.loads(said.out)["notes"]
    assert (said.code, len(notes)) == (0, 1)
    assert "3" in notes[0] and "categories" in notes[0]
    assert said.err == f"warning: {notes[0]}\n"


def test_everything_is_evaluated_without_torch(gt: Path, wrong: Path) -> None:
    args = ["vistool", "eval", "--gt", str(gt), "--pred", str(wrong), "--json", "--bootstrap", "2", "--by", "video"]
    code = (
        f"import sys; sys.argv = {[*args, '--metrics', 'ap,identity,hota,attributes,errors']}\n"
        "from vistool.cli import main\n"
        "try: main()\n"
        "except SystemExit as left: print(left.code or 0, *sorted({'torch', 'transformers', 'cv2', 'av'} & "
        "sys.modules.keys()), file=sys.stderr)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(said.stdout)["counts"]["videos"] == 3
    assert said.stderr.split() == ["0"]


def test_a_comparison_shows_what_was_asked_for_and_nothing_else(vistool: Vistool, gt: Path, wrong: Path) -> None:
    said = compared(vistool, gt, wrong, wrong, "--metrics", "attributes,errors", "--bootstrap", 2)

    assert said["difference"] == {}
    assert {"attributes", "errors"} <= said["b"].keys()
    done = vistool("eval", "--gt", gt, "--compare", wrong, wrong, "--metrics", "attributes,errors", "--bootstrap", 2)
    assert "dAP50 B" in done.out


def test_parts_do_not_go_with_a_comparison(vistool: Vistool, gt: Path, wrong: Path) -> None:
    done = vistool("eval", "--gt", gt, "--compare", wrong, wrong, "--by", "video")

    assert done.code == 2
    assert "--by" in done.err


@pytest.mark.parametrize("bound", ["AP=nan", "AP=inf", "AP", "IDs=3", "HOTA=0.5"])
def test_what_is_no_bound_is_refused_before_anything_is_read(vistool: Vistool, wrong: Path, bound: str) -> None:
    done = vistool("eval", "--gt", "absent.json", "--pred", wrong, "--fail-under", bound)

    assert done.code == 2
