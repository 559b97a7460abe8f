"""weights.toml: every entry is whole and true, and a wrong one is named."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from vistool.errors import WeightsError
from vistool.methods import METHODS
from vistool.types import Category
from vistool.weights import checkpoint, registry
from vistool.weights.categories import CATEGORY_LISTS, category_list
from vistool.weights.registry import Entry

TABLE = """
[ring-finder]
method = "ifr"
preset = "tiny"
source = "bundled"
file = "ring-finder.safetensors"
sha256 = "00"
size = 12
layout = "vistool"
licence = "Apache-2.0"
categories = ["ring"]
measured_ap = { shapes-val = 0.5 }
"""
SOURCES = {
    "bundled": ("file", "sha256", "size"),
    "hf": ("repo",),
    "url": ("url", "file"),
    "gdrive": ("url", "file"),
    "manual": ("url", "file"),
}
EVERYTHING = {"file": '"a.pth"', "repo": '"a/b"', "url": '"https://a.b/a.pth"', "sha256": '"00"', "size": "12"}
LICENCES = {"Apache-2.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "non-commercial", "unknown"}

ENTRIES = registry.entries()


def of_source(*sources: str) -> list[Entry]:
    return [entry for entry in ENTRIES.values() if entry.source in sources]


def keys_where(wrong: Callable[[Entry], bool]) -> list[str]:
    return [entry.key for entry in ENTRIES.values() if wrong(entry)]


def data_of(entry: Entry) -> str:
    """The list that an entry's key names. YouTube-VIS 2022 has the classes of 2021."""
    data = entry.key.removesuffix("-hf").rsplit("-", 1)[1]
    return {"ytvis2022": "ytvis2021"}.get(data, data)


def numbers_of(entry: Entry) -> Mapping[str, float]:
    return {**entry.published_ap, **entry.measured_ap}


def table_of(source: str, fields: Mapping[str, str]) -> str:
    lines = [f"{name} = {value}" for name, value in fields.items()]
    kept = [line for line in TABLE.splitlines() if line.split(" = ")[0] not in {"source", *EVERYTHING}]
    return "\n".join([*kept, f'source = "{source}"', *lines])


class TestBundled:
    def test_every_file_is_the_one_that_is_described(self) -> None:
        bundled = of_source("bundled")
        described = [(entry.sha256, entry.size) for entry in bundled]

        found = [(checkpoint.sha256_of(each.bundled_path), each.bundled_path.stat().st_size) for each in bundled]

        assert found == described

    def test_every_file_says_the_same_of_itself_as_its_entry(self) -> None:
        bundled = of_source("bundled")
        entries = [(each.method, each.preset, each.licence, each.category_rows, each.trained_on) for each in bundled]
        headers = [checkpoint.read_header(each.bundled_path).info for each in bundled]

        assert entries == [
            (info.method, info.preset, info.licence, info.categories, info.trained_on) for info in headers
        ]

    def test_no_file_lacks_an_entry(self) -> None:
        folder = Path(registry.__file__).parent / "bundled"

        assert {path.name for path in folder.glob("*.safetensors")} == {entry.file for entry in of_source("bundled")}

    def test_files_are_small_and_free_for_every_use(self) -> None:
        assert [entry.key for entry in of_source("bundled") if entry.size > 8_000_000 or not entry.free] == []


class TestEntries:
    """Each law lists the keys that break it."""

    def test_weights_toml_at_the_top_level_is_the_one_that_is_read(self) -> None:
        top = Path(__file__).resolve().parents[2] / "weights.toml"

        assert ENTRIES.keys() == tomllib.loads(top.read_text(encoding="utf-8")).keys()

    def test_every_method_is_there(self) -> None:
        assert keys_where(lambda entry: entry.method not in METHODS) == []

    def test_every_method_has_the_preset(self) -> None:
        packages = {name: f"vistool.methods.{name.replace('-', '_')}.presets" for name in METHODS}
        presets = {name: import_module(package).PRESETS for name, package in packages.items()}

        assert keys_where(lambda entry: entry.preset not in presets.get(entry.method, entry.preset)) == []

    def test_every_method_reads_the_layout(self) -> None:
        layouts = {name: {"vistool", *row.layouts} for name, row in METHODS.items()}

        assert keys_where(lambda entry: entry.layout not in layouts.get(entry.method, entry.layout)) == []
        assert keys_where(lambda entry: (entry.layout == "vistool") != (entry.source == "bundled")) == []

    def test_every_key_ends_with_what_its_classes_are_from(self) -> None:
        key = r"[a-z0-9]+(-[a-z0-9]+)+-(shapes|(coco|ovis|ytvis20(19|21|22))(-hf)?)"

        assert keys_where(lambda entry: not re.fullmatch(key, entry.key)) == []
        assert keys_where(lambda entry: isinstance(entry.categories, str) and data_of(entry) != entry.categories) == []

    def test_no_two_entries_share_a_source(self) -> None:
        places = Counter((each.source, each.repo, each.revision, each.url, each.file) for each in ENTRIES.values())

        assert [place for place, count in places.items() if count > 1] == []

    def test_no_two_downloads_share_a_file_name(self) -> None:
        names = Counter(entry.file for entry in of_source("url", "gdrive", "manual"))

        assert [name for name, count in names.items() if count > 1] == []

    def test_every_address_is_safe_and_ends_with_the_name_of_the_file(self) -> None:
        addresses = {entry.url: rf"https://\S+/{re.escape(entry.file)}" for entry in of_source("url")}

        assert addresses
        assert [url for url, pattern in addresses.items() if not re.fullmatch(pattern, url)] == []

    def test_every_drive_id_and_every_repository_looks_like_one(self) -> None:
        ids = [entry.url for entry in of_source("gdrive")]
        repositories = [entry.repo for entry in of_source("hf")]

        assert [each for each in ids if not re.fullmatch(r"[A-Za-z0-9_-]{33}", each)] == []
        assert [each for each in repositories if not re.fullmatch(r"[\w.-]+/[\w.-]+", each)] == []

    def test_a_licence_that_forbids_something_or_is_unknown_is_not_free(self) -> None:
        assert {entry.licence for entry in ENTRIES.values()} == LICENCES
        assert keys_where(lambda entry: entry.free != (entry.licence == "Apache-2.0")) == []

    def test_ap_is_a_fraction_under_the_name_of_the_data(self) -> None:
        data = {f"{name}-val" for name in CATEGORY_LISTS} | {"shapes-val", "shapes-occluded"}

        assert keys_where(lambda entry: not numbers_of(entry).keys() <= data) == []
        assert keys_where(lambda entry: not all(0 < value < 0.7 for value in numbers_of(entry).values())) == []

    def test_what_nobody_here_has_opened_has_no_number_of_ours(self) -> None:
        assert keys_where(lambda entry: bool(entry.measured_ap) and not entry.verified) == []
        assert keys_where(lambda entry: entry.source == "bundled" and not entry.verified) == []

    @pytest.mark.parametrize(
        ("key", "preset", "ap"),
        [
            ("mask2former-swin-l-coco", "swin-l-200", 0.501),
            ("mask2former-vis-swin-t-ytvis2019", "swin-t", 0.515),
            ("mask2former-vis-r101-ytvis2021", "r101", 0.424),
            ("videomt-dinov2-l-ovis", "large", 0.525),
            ("minvis-swin-l-ytvis2021", "swin-l-200", 0.554),
        ],
    )
    def test_an_entry_has_its_published_number(self, key: str, preset: str, ap: float) -> None:
        assert ENTRIES[key].preset == preset
        assert list(ENTRIES[key].published_ap.values()) == [ap]

    def test_the_document_names_keys_that_exist(self) -> None:
        text = (Path(__file__).resolve().parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
        named = set(re.findall(r"--weights ([\w-]+)|key of `vistool weights list` \| `([\w-]+)`", text))

        assert len(named) >= 2
        assert {key for pair in named for key in pair if key} <= ENTRIES.keys()


class TestCategories:
    def test_a_list_stands_for_its_classes(self) -> None:
        entry = registry.parse(TABLE.replace('["ring"]', '"coco"'))["ring-finder"]

        assert entry.category_rows == category_list("coco")

    def test_own_names_are_numbered_from_one(self) -> None:
        entry = registry.parse(TABLE.replace('["ring"]', '["ring", "star"]'))["ring-finder"]

        assert entry.category_rows == (Category(1, "ring"), Category(2, "star"))


class TestParsing:
    def test_a_table_becomes_an_entry_and_what_is_left_out_is_empty(self) -> None:
        entry = registry.parse(TABLE)["ring-finder"]

        assert (entry.key, entry.method, entry.size, entry.categories) == ("ring-finder", "ifr", 12, ("ring",))
        assert (entry.repo, entry.revision, entry.url, entry.notes, entry.verified) == ("", "", "", "", "")
        assert (entry.free, entry.trained_on, entry.published_ap) == (False, "videos", {})
        assert entry.bundled_path.name == "ring-finder.safetensors"

    @pytest.mark.parametrize("field", ["method", "preset", "source", "layout", "licence", "categories"])
    def test_an_entry_that_lacks_a_field_is_refused_by_name(self, field: str) -> None:
        without = "\n".join(line for line in TABLE.splitlines() if not line.startswith(f"{field} ="))

        with pytest.raises(ValueError, match=rf"`ring-finder`.*`{field}`"):
            registry.parse(without)

    @pytest.mark.parametrize("source", SOURCES)
    def test_a_source_needs_its_own_fields_and_no_others(self, source: str) -> None:
        needed = {name: EVERYTHING[name] for name in SOURCES[source]}

        assert registry.parse(table_of(source, needed))["ring-finder"].source == source

    @pytest.mark.parametrize(
        ("source", "field"), [(source, field) for source, needed in SOURCES.items() for field in needed], ids=str
    )
    def test_a_source_without_a_field_that_it_needs_is_refused_by_name(self, source: str, field: str) -> None:
        others = {name: value for name, value in EVERYTHING.items() if name != field}

        with pytest.raises(ValueError, match=f"`ring-finder` lacks `{field}`, which its source `{source}` needs"):
            registry.parse(table_of(source, others))

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (("licence =", "license ="), "an unknown `license`"),
            (('method = "ifr"', 'method = "ifr"\nkey = "other"'), "an unknown `key`"),
            (('"bundled"', '"attic"'), "attic.*source"),
            (("size = 12", 'size = 12\ntrained_on = "film"'), "film.*trained_on"),
            (("size = 12", 'size = "12"'), "size"),
            (("size = 12", 'size = 12\nfree = "no"'), "free"),
            (("0.5", '"0.5"'), "measured_ap"),
            (('["ring"]', '"rings"'), "`categories`: `rings`"),
            (('["ring"]', "[1]"), "categories"),
        ],
        ids=lambda change: change[1] if isinstance(change, tuple) else "",
    )
    def test_a_wrong_entry_is_refused_by_name(self, change: tuple[str, str], complaint: str) -> None:
        with pytest.raises(ValueError, match=f"`ring-finder`.*{complaint}"):
            registry.parse(TABLE.replace(*change))


class TestFinding:
    def test_an_unknown_key_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(WeightsError, match="`mask2former-swint-coco`") as caught:
            registry.find("mask2former-swint-coco")

        assert caught.value.hint == "did you mean `mask2former-swin-t-coco`?"

    def test_a_key_like_no_other_is_answered_with_the_way_to_the_list(self) -> None:
        with pytest.raises(WeightsError) as caught:
            registry.find("zzz")

        assert caught.value.hint is not None
        assert "`vistool weights list`" in caught.value.hint

    def test_a_digest_finds_its_entry(self) -> None:
        entry = ENTRIES["ifr-tiny-shapes"]

        assert registry.by_digest(entry.sha256) is entry
        assert registry.by_digest("00") is None

    def test_no_digest_is_nobodys(self) -> None:
        assert any(entry.sha256 == "" for entry in ENTRIES.values())
        assert registry.by_digest("") is None
