"""What a converted checkpoint says of itself comes from whoever knows best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from checkpoint_samples import INFO
from plain_reader import entry

from vistool.errors import WeightsError
from vistool.types import Category
from vistool.weights.adoption import adopt, name_classes
from vistool.weights.categories import category_list
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.foreign import Foreign


def converted(count: int) -> Checkpoint:
    """As a method leaves it, with this many classes without names."""
    categories = tuple(Category(number, f"class_{number}") for number in range(count))
    return Checkpoint(replace(INFO, categories=categories, ap={}, parent=None), {"a": torch.zeros(1)})


def adopted(count: int, **config: Any) -> Checkpoint:
    return adopt(converted(count), Foreign({}, config), None, "from there")


def labels(*names: str) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def names(checkpoint: Checkpoint) -> list[str]:
    return [category.name for category in checkpoint.info.categories]


def test_an_entry_is_believed_whatever_the_config_says() -> None:
    one = entry("url", url="x", file="a.pth", licence="CC-BY-4.0", trained_on="images", notes="Small.")
    one = replace(one, published_ap={"ovis": 0.4}, measured_ap={"shapes-val": 0.2})
    foreign = Foreign({}, {"id2label": labels("cat", "dog"), "architectures": ["VideoThing"]})

    info = adopt(converted(2), foreign, one, "from there").info

    assert info.categories == (Category(1, "ring"), Category(2, "star"))
    assert (info.licence, info.trained_on, info.parent) == ("CC-BY-4.0", "images", "from there")
    assert info.ap == {"shapes-val": 0.2}
    assert info.notes == "Small. AP by its authors: ovis 0.400"


def test_a_list_by_its_name_is_the_training_data_too() -> None:
    info = adopt(
        converted(40), Foreign({}), replace(entry("manual", url="x", file="a"), categories="ytvis2019"), ""
    ).info

    assert info.categories == category_list("ytvis2019")
    assert info.training_data == "ytvis2019 (videos)"


def test_an_entry_that_does_not_fit_its_file_is_refused_with_both_numbers() -> None:
    with pytest.raises(WeightsError, match=r"3 in the file, 2 in weights\.toml"):
        adopt(converted(3), Foreign({}), entry("manual", url="x", file="a"), "")


def test_the_config_names_the_classes() -> None:
    assert adopted(2, id2label=labels("cat", "dog")).info.categories == (Category(1, "cat"), Category(2, "dog"))


def test_a_config_with_the_names_of_a_data_set_gives_its_ids() -> None:
    spelt = [category.name.upper().replace(" ", "_") for category in category_list("coco")]

    assert adopted(80, id2label=labels(*spelt)).info.categories == category_list("coco")


@pytest.mark.parametrize(
    "id2label", [labels("LABEL_0", "LABEL_1"), labels("cat"), labels("a", "b", "c"), ["cat", "dog"], None], ids=str
)
def test_a_config_that_does_not_name_every_class_names_none(id2label: object) -> None:
    assert names(adopted(2, id2label=id2label)) == ["class_0", "class_1"]


@pytest.mark.parametrize(("count", "name"), [(80, "coco"), (25, "ovis")])
def test_a_number_of_classes_that_one_data_set_has_stands_for_it(count: int, name: str) -> None:
    assert adopted(count).info.categories == category_list(name)


def test_forty_classes_may_be_of_two_data_sets_and_stay_without_names() -> None:
    assert names(adopted(40))[:2] == ["class_0", "class_1"]


@pytest.mark.parametrize(
    ("count", "architectures", "expected"),
    [
        (80, [], "images"),
        (133, None, "images"),
        (40, [], "videos"),
        (25, [], "videos"),
        (80, ["VideoMask2FormerForVideoSegmentation"], "videos"),
        (80, ["VideomtForUniversalSegmentation"], "videos"),
        (80, ["Mask2FormerForUniversalSegmentation"], "images"),
    ],
)
def test_what_it_was_trained_on_is_told_by_architecture_and_classes(
    count: int, architectures: list[str] | None, expected: str
) -> None:
    assert adopted(count, architectures=architectures).info.trained_on == expected


def test_what_nobody_tells_stays() -> None:
    info = adopted(2).info

    assert (info.licence, info.training_data, info.notes) == (INFO.licence, INFO.training_data, INFO.notes)
    assert info.parent == "from there"


def test_other_classes_must_be_as_many() -> None:
    assert names(name_classes(converted(2), (Category(1, "x"), Category(2, "y")), said_by="me")) == ["x", "y"]
    with pytest.raises(WeightsError, match="2 in the file, 1 in me"):
        name_classes(converted(2), (Category(1, "x"),), said_by="me")
