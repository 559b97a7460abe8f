"""The classes of the public data sets, and which class of one list stands for which of another."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from vistool.types import Category
from vistool.weights import categories
from vistool.weights.categories import CATEGORY_LISTS, category_list, plain_name, transfer

BY_NAME = [
    "person", "airplane", "train", "truck", "boat", "cat", "dog", "horse", "cow", "elephant", "bear", "zebra",
    "giraffe", "skateboard", "surfboard", "snowboard",
]  # fmt: skip
RIDDEN = {"bicycle": "motorbike", "motorcycle": "motorbike", "skis": "snowboard", "tennis racket": "tennis_racket"}
FROM_COCO = {  # by hand, from the tables that others train with; OVIS's Bird besides
    "ytvis2019": {**{name: name for name in BY_NAME}, **RIDDEN, "car": "sedan"},
    "ytvis2021": {
        **{name: name for name in BY_NAME}, **RIDDEN, "car": "car", "bird": "bird", "frisbee": "flying_disc",
    },
    "ovis": {
        "person": "Person", "bird": "Bird", "cat": "Cat", "dog": "Dog", "horse": "Horse", "sheep": "Sheep",
        "cow": "Cow", "elephant": "Elephant", "bear": "Bear", "zebra": "Zebra", "giraffe": "Giraffe",
        "bicycle": "Bicycle", "motorcycle": "Motorcycle", "airplane": "Airplane", "boat": "Boat",
        "car": "Vehicle", "bus": "Vehicle", "truck": "Vehicle",
    },
}  # fmt: skip

each_list = pytest.mark.parametrize("name", CATEGORY_LISTS)


def named(source: tuple[Category, ...], target: str) -> dict[str, str]:
    """`transfer` in names."""
    rows = category_list(target)
    return {source[row].name: rows[other].name for row, other in transfer(source, target).items()}


def own(*names: str) -> tuple[Category, ...]:
    return tuple(Category(number, name) for number, name in enumerate(names, start=1))


class TestLists:
    def test_the_names_are_those_of_the_file_in_its_order(self) -> None:
        document = tomllib.loads(Path(categories.__file__).with_name("categories.toml").read_text())

        assert tuple(document["lists"]) == CATEGORY_LISTS
        assert document["transfer"].keys() | set(document["homonyms"].values()) <= set(CATEGORY_LISTS)

    @pytest.mark.parametrize(
        ("name", "count"), [("coco", 80), ("ytvis2019", 40), ("ytvis2021", 40), ("ovis", 25)], ids=str
    )
    def test_a_list_has_the_classes_of_its_data_set(self, name: str, count: int) -> None:
        listed = category_list(name)

        assert len(listed) == count
        assert len({plain_name(category.name) for category in listed}) == count

    @each_list
    def test_the_order_is_that_of_the_ids(self, name: str) -> None:
        ids = [category.id for category in category_list(name)]

        assert ids == sorted(set(ids))
        assert ids[0] == 1

    def test_the_ids_of_coco_have_its_gaps_and_the_others_have_none(self) -> None:
        missing = set(range(1, 91)) - {category.id for category in category_list("coco")}

        assert missing == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
        assert [category_list(name)[-1].id for name in CATEGORY_LISTS] == [90, 40, 40, 25]

    @pytest.mark.parametrize(
        ("name", "number", "word"),
        [
            ("coco", 13, "stop sign"),
            ("coco", 44, "bottle"),
            ("coco", 67, "dining table"),
            ("coco", 90, "toothbrush"),
            ("ytvis2019", 6, "sedan"),
            ("ytvis2019", 40, "tennis_racket"),
            ("ytvis2021", 14, "flying_disc"),
            ("ytvis2021", 26, "person"),
            ("ovis", 13, "Giant_panda"),
            ("ovis", 25, "Vehicle"),
        ],
    )
    def test_an_id_means_what_it_means_in_the_annotations(self, name: str, number: int, word: str) -> None:
        assert Category(number, word) in category_list(name)

    def test_an_unknown_list_is_a_key_error(self) -> None:
        with pytest.raises(KeyError):
            category_list("lvis")
        with pytest.raises(KeyError):
            transfer(own("person"), "lvis")


class TestTransfer:
    @pytest.mark.parametrize("target", FROM_COCO)
    def test_coco_leads_where_the_published_table_sends_it(self, target: str) -> None:
        assert named(category_list("coco"), target) == FROM_COCO[target]

    @each_list
    def test_a_list_leads_to_itself_row_by_row(self, name: str) -> None:
        assert transfer(category_list(name), name) == {row: row for row in range(len(category_list(name)))}

    @each_list
    @pytest.mark.parametrize("target", CATEGORY_LISTS)
    def test_rows_of_the_source_lead_to_rows_of_the_target(self, name: str, target: str) -> None:
        rows = transfer(category_list(name), target)

        assert rows.keys() <= set(range(len(category_list(name))))
        assert set(rows.values()) <= set(range(len(category_list(target))))

    @each_list
    @pytest.mark.parametrize("target", CATEGORY_LISTS)
    def test_going_on_to_the_same_list_changes_nothing(self, name: str, target: str) -> None:
        rows = transfer(category_list(name), target)
        again = transfer(category_list(target), target)

        assert {row: again[other] for row, other in rows.items()} == rows

    def test_the_document_has_every_row_of_the_table(self) -> None:
        folder = Path(categories.__file__).parent
        table = tomllib.loads((folder / "categories.toml").read_text())["transfer"]
        rows = [line for line in (folder.parents[1] / "docs" / "weights.md").read_text().splitlines() if "|" in line]

        moves = [(other, word) for targets in table.values() for word, others in targets.items() for other in others]

        assert [move for move in moves if not any(move[0] in row and move[1] in row for row in rows)] == [
            ("Vehical", "Vehicle")
        ]

    @each_list
    def test_the_table_moves_no_class_that_has_its_own_name_there(self, name: str) -> None:
        ours = {plain_name(category.name): row for row, category in enumerate(category_list(name))}

        assert transfer(own(*ours), name) == dict(enumerate(ours.values()))

    @pytest.mark.parametrize("written", ["Tennis_Racket", "tennis racket", "TENNIS-RACKET", "tennisracket"])
    def test_names_are_compared_without_case_and_without_what_stands_between_words(self, written: str) -> None:
        assert named(own("toaster", written), "ytvis2021") == {written: "tennis_racket"}
        assert named(own("toaster", written), "coco") == {"toaster": "toaster", written: "tennis racket"}

    def test_own_classes_lead_where_their_names_do_in_any_order(self) -> None:
        assert named(own("truck", "unicorn", "Vehical", "fish"), "ovis") == {
            "truck": "Vehicle", "Vehical": "Vehicle", "fish": "Fish",
        }  # fmt: skip

    def test_the_mouse_of_a_desk_is_no_animal(self) -> None:
        animals, desk = category_list("ytvis2021"), category_list("coco")

        assert "mouse" not in named(desk, "ytvis2019") | named(desk, "ytvis2021") | named(animals, "coco")
        assert named(animals, "ytvis2019")["mouse"] == "mouse"
        assert named(own("mouse"), "ytvis2019") == {"mouse": "mouse"}

    def test_an_order_of_rows_permutes_the_transfer(self) -> None:
        listed = category_list("coco")

        turned = transfer(listed[::-1], "ovis")

        assert {len(listed) - 1 - row: other for row, other in turned.items()} == transfer(listed, "ovis")
