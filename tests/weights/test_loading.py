"""From what a user types to tensors, for what lies on this machine."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoint_samples import INFO, tensors
from plain_reader import PlainReader, entry, plain_folder
from test_registry import TABLE

from vistool.errors import WeightsError
from vistool.weights import cache, checkpoint, load, load_any, locate, registry


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISTOOL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def reader() -> PlainReader:
    return PlainReader()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    checkpoint.write(path, INFO, tensors(), half=False)
    return path


@pytest.fixture
def key(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of `file` in a table of its own."""
    entry = replace(
        registry.parse(TABLE)["ring-finder"],
        file=str(file),
        sha256=checkpoint.sha256_of(file),
        size=file.stat().st_size,
    )
    monkeypatch.setattr(registry, "entries", lambda: {entry.key: entry})
    return entry.key


def test_a_path_is_loaded(file: Path, reader: PlainReader) -> None:
    loaded = load(str(file), "ifr", reader)

    assert (loaded.info, loaded.name) == (INFO, str(file))


def test_a_key_is_loaded_under_its_name(key: str, reader: PlainReader) -> None:
    assert load(key, "ifr", reader).name == key


def test_a_file_is_known_by_its_digest_wherever_it_lies(key: str, file: Path, reader: PlainReader) -> None:
    moved = file.rename(file.with_name("renamed.safetensors"))

    entry = registry.by_digest(load(str(moved), "ifr", reader).sha256)

    assert entry is not None
    assert entry.key == key


def test_a_file_that_is_not_the_published_one_is_refused(key: str, file: Path, reader: PlainReader) -> None:
    checkpoint.write(file, INFO, tensors(seed=1), half=False, overwrite=True)

    with pytest.raises(WeightsError, match=f"not the published file: `{key}`"):
        load(key, "ifr", reader)


def test_weights_of_another_method_are_refused_with_both_names(file: Path, reader: PlainReader) -> None:
    with pytest.raises(WeightsError, match="made for `ifr`, asked for `mask2former-vis`") as caught:
        load(str(file), "mask2former-vis", reader)

    assert "--method ifr" in (caught.value.hint or "")
    assert load_any(str(file), "mask2former-vis", reader).info.method == "ifr"


@pytest.mark.parametrize("spec", ["https://example.org/a.safetensors", "gs://bucket/a"], ids=["https", "bucket"])
def test_an_address_is_refused_with_what_is_supported(spec: str, reader: PlainReader) -> None:
    with pytest.raises(WeightsError, match="only keys, files and hf:OWNER/NAME"):
        load(spec, "ifr", reader)


@pytest.mark.parametrize("spec", ["absent.safetensors", "some/where"])
def test_what_looks_like_a_path_is_reported_as_a_file(spec: str, reader: PlainReader) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load(spec, "ifr", reader)


def test_an_unknown_key_is_answered_with_the_nearest(key: str, reader: PlainReader) -> None:
    with pytest.raises(WeightsError) as caught:
        load(f"{key}s", "ifr", reader)

    assert caught.value.hint == f"did you mean `{key}`?"


@pytest.mark.parametrize("content", [b"", b"nonsense"], ids=["empty", "nonsense"])
def test_what_is_no_checkpoint_of_any_kind_is_one_clear_line(
    tmp_path: Path, reader: PlainReader, content: bytes
) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"empty|damaged") as caught:
        load(str(path), "ifr", reader)

    assert "\n" not in caught.value.message


class TestForeignFiles:
    """Of other projects, somewhere on this machine."""

    @pytest.mark.parametrize("part", ["", "model.safetensors"], ids=["folder", "file"])
    def test_they_are_converted_once(self, tmp_path: Path, reader: PlainReader, part: str) -> None:
        path = plain_folder(tmp_path / "theirs") / part

        first = load(str(path), "ifr", reader)
        second = load(str(path), "ifr", reader)

        assert reader.converted == ["plain"]
        assert (first.info, first.sha256) == (second.info, second.sha256)
        digest = checkpoint.sha256_of(tmp_path / "theirs" / "model.safetensors")
        assert first.info.parent == f"{path.name} sha256:{digest}"
        assert cache.converted_paths() == [cache.folder() / "converted" / f"{digest[:16]}-ifr.safetensors"]

    def test_two_at_once_convert_them_once(self, tmp_path: Path, reader: PlainReader) -> None:
        path = str(plain_folder(tmp_path / "theirs"))

        with ThreadPoolExecutor(2) as pool:
            loaded = list(pool.map(lambda _: load(path, "ifr", reader).sha256, range(2)))

        assert loaded[0] == loaded[1]
        assert reader.converted == ["plain"]

    def test_another_config_is_another_conversion(self, tmp_path: Path, reader: PlainReader) -> None:
        path = plain_folder(tmp_path / "theirs")
        load(str(path), "ifr", reader)

        (path / "config.json").write_text(json.dumps({"id2label": {"0": "fox", "1": "owl"}}))

        loaded = load(str(path), "ifr", reader)
        assert [category.name for category in loaded.info.categories] == ["fox", "owl"]

    def test_a_file_of_an_entry_has_its_facts(
        self, tmp_path: Path, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = plain_folder(tmp_path / "theirs") / "model.safetensors"
        one = entry("url", url="https://a.b/c", file="c", sha256=checkpoint.sha256_of(path), licence="CC-BY-NC-4.0")
        monkeypatch.setattr(registry, "entries", lambda: {"one": one})

        loaded = load(str(path), "ifr", reader)

        assert loaded.info.licence == "CC-BY-NC-4.0"
        assert [category.name for category in loaded.info.categories] == ["ring", "star"]

    def test_a_layout_that_does_not_fit_is_refused_with_all_complaints(self, tmp_path: Path) -> None:
        path = plain_folder(tmp_path / "theirs")

        with pytest.raises(WeightsError, match=r"no layout fits.*starred does not fit; dotted: dotted does not fit"):
            load(str(path), "ifr", PlainReader(layouts=("starred", "dotted")))

        assert cache.converted_paths() == []

    def test_a_folder_without_weights_is_said_to_have_none(self, tmp_path: Path, reader: PlainReader) -> None:
        with pytest.raises(WeightsError, match="no weights in folder"):
            load(str(tmp_path), "ifr", reader)

    def test_a_cache_that_cannot_be_written_is_one_clear_line(
        self, tmp_path: Path, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("VISTOOL_CACHE", str(tmp_path / "file"))

        with pytest.raises(WeightsError, match="cannot write weights") as caught:
            load(str(plain_folder(tmp_path / "theirs")), "ifr", reader)

        assert "VISTOOL_CACHE" in (caught.value.hint or "")

    def test_the_cache_may_move_to_another_machine(
        self, tmp_path: Path, reader: PlainReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = entry("manual", url="https://a.b/c", file="a.safetensors")
        monkeypatch.setattr(registry, "entries", lambda: {"one": one})
        cache.manual_path("a.safetensors").parent.mkdir(parents=True)
        shutil.copy(plain_folder(tmp_path / "theirs") / "model.safetensors", cache.manual_path("a.safetensors"))
        first = load("one", "ifr", reader)

        shutil.rmtree(cache.folder() / "manual")
        cache.folder().rename(tmp_path / "elsewhere")
        monkeypatch.setenv("VISTOOL_CACHE", str(tmp_path / "elsewhere"))

        assert load("one", "ifr", reader).sha256 == first.sha256
        assert locate("one").parent == tmp_path / "elsewhere" / "converted"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"VISTOOL_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"VISTOOL_CACHE": "", "XDG_CACHE_HOME": "/c"}, "/c/vistool"),
        ({"VISTOOL_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/d"}, "/d/.cache/vistool"),
    ],
    ids=["ours", "the desktop's", "home"],
)
def test_the_cache_is_where_the_variables_say(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert cache.folder() == Path(expected)
