"""What `segment` makes of what weights say of themselves: how it runs, what it warns of, what classes are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAMES, FakeMethods, Vistool, write_weights

from vistool.types import Category

COCO = (Category(1, "person"), Category(3, "car"), Category(8, "truck"))


@pytest.fixture
def info(vistool: Vistool, fake_methods: FakeMethods, video: Path, desk: Path) -> Any:
    """Runs `segment` with these facts in the weights and these options → the `info` of the result."""

    def run(method: str, facts: dict[str, object], *options: object) -> dict[str, Any]:
        weights = write_weights(desk.parent / "weights" / "fake.safetensors", method, **facts)
        args = ("segment", video, "--method", method, "--weights", weights, "-o", desk / "tracks.json", "--overwrite")
        said = vistool(*args, *options)
        assert said.code == 0, said.err
        document = json.loads((desk / "tracks.json").read_text())
        return {**document["info"], "said": said.err, "document": document}

    return run


@pytest.mark.parametrize(
    ("trained_on", "options", "mode", "window"),
    [
        ("videos", (), "offline", 6),
        ("videos", ("--mode", "online"), "online", None),
        ("images", (), "online", None),
        ("images", ("--mode", "offline"), "offline", 6),
        ("images", ("--window", "4"), "offline", 4),
        ("images", ("--overlap", "1"), "offline", 6),
    ],
)
def test_weights_of_images_run_online_unless_told_otherwise(
    info: Any, trained_on: str, options: tuple[str, ...], mode: str, window: int | None
) -> None:
    found = info("fake-both", {"trained_on": trained_on}, *options)

    assert (found["mode"], found["window"]) == (mode, window)


def test_weights_of_images_run_offline_where_the_method_knows_no_other_way(info: Any) -> None:
    assert info("fake", {"trained_on": "images"})["mode"] == "offline"


def test_a_window_and_frame_by_frame_do_not_go_together(vistool: Vistool, weights: Path, video: Path) -> None:
    args = ("--method", "fake-both", "--weights", weights, "--mode", "online", "--window", "4", "--json")

    said = vistool("segment", video, *args)

    assert said.code == 2
    assert "--window and --overlap are for offline methods" in said.err


def test_what_is_not_trained_is_said_and_written_down(info: Any) -> None:
    found = info("fake", {"untrained": "the memory starts as the identity", "parent": "hf:some/one@abc"})

    assert "the memory starts as the identity" in found["said"]
    assert (found["untrained"], found["parent"]) == ("the memory starts as the identity", "hf:some/one@abc")


@pytest.mark.parametrize("method", ["fake", "fake-online"])
def test_classes_go_by_the_names_of_another_data_set(info: Any, method: str) -> None:
    found = info(method, {"categories": COCO}, "--map-classes", "ovis")

    names = {row["id"]: row["name"] for row in found["document"]["categories"]}
    assert len(names) == 25
    assert sorted(names[row["category_id"]] for row in found["document"]["annotations"]) == [
        "Person",
        "Vehicle",
        "Vehicle",
    ]
    assert found["classes"] == "ovis"
    assert all(len(row["segmentations"]) == FRAMES for row in found["document"]["annotations"])


def test_the_classes_to_keep_are_those_of_the_result(info: Any) -> None:
    found = info("fake", {"categories": COCO}, "--map-classes", "ovis", "--classes", "Vehicle")

    assert {row["category_id"] for row in found["document"]["annotations"]} == {25}


@pytest.mark.parametrize(("name", "told"), [("voc", "one of: coco"), ("ovis", "no class of these weights")])
def test_classes_that_cannot_be_mapped_are_an_error(
    vistool: Vistool, weights: Path, video: Path, name: str, told: str
) -> None:
    said = vistool("segment", video, "--method", "fake", "--weights", weights, "--map-classes", name, "--json")

    assert said.code == 2
    assert told in said.err
