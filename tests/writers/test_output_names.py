"""Which name gives which format, and which names are refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vistool.errors import InputError, OutputExistsError, UsageError
from vistool.writers import check_outputs, resolve_format

needs_permissions = pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")


@pytest.mark.parametrize(
    ("out", "format", "expected"),
    [
        ("a.json", None, "ytvis"),
        ("a.JSON", None, "ytvis"),
        ("a.b.json", "ytvis-results", "ytvis-results"),
        ("a.jsonl", None, "jsonl"),
        ("a.jsonl.gz", None, "jsonl"),
        ("a.mp4", None, "overlay"),
        ("a.mkv", None, "overlay"),
        ("a.mp4", "ytvis-results", "overlay"),
        ("masks", None, "davis"),
        ("masks/", None, "davis"),
        ("v1.2/", None, "davis"),
        ("masks", "jsonl", "jsonl"),
        ("masks/", "jsonl", "davis"),
        ("a.txt", "jsonl", "jsonl"),
        ("-", None, "jsonl"),
        ("-", "jsonl", "jsonl"),
    ],
)
def test_a_suffix_decides_and_a_named_format_where_the_suffix_leaves_it_open(
    out: str, format: str | None, expected: str
) -> None:
    assert resolve_format(out, format)[0] == expected


def test_an_existing_folder_means_indexed_pngs_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()

    assert resolve_format(tmp_path / "v1.2")[0] == "davis"


def test_an_unknown_suffix_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no format has this suffix: `a\.avi`") as caught:
        resolve_format("a.avi")

    assert str(caught.value.hint).startswith("use one of .json, .jsonl, .jsonl.gz, .mp4, .mkv, a folder")


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown format: `ytvis-result`") as caught:
        resolve_format("a.json", "ytvis-result")

    assert caught.value.hint == "did you mean `ytvis-results`?"


def test_only_json_lines_go_to_standard_output() -> None:
    with pytest.raises(UsageError, match="cannot go to standard output: `overlay`"):
        resolve_format("-", "overlay")


def test_a_format_that_no_output_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format does not fit the output: `ytvis-results`"):
        check_outputs([tmp_path / "a.mp4"], format="ytvis-results")


def test_a_format_and_an_output_of_another_suffix_go_together(tmp_path: Path) -> None:
    check_outputs([tmp_path / "a.json", tmp_path / "a.mp4"], format="ytvis-results")


def test_standard_output_can_be_asked_for_once() -> None:
    with pytest.raises(UsageError, match="two outputs have the same path: `-`"):
        check_outputs(["-", "-"])


def test_two_names_of_one_file_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(UsageError, match="two outputs have the same path"):
        check_outputs([tmp_path / "a.json", tmp_path / "link" / "a.json"])


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()

    with pytest.raises(UsageError, match="output is an input"):
        check_outputs([tmp_path / "clip.mp4"], overwrite=True, inputs=[tmp_path / "." / "clip.mp4"])


@needs_permissions
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(InputError, match="permission denied"):
        check_outputs([tmp_path / "a.json"])


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match="it is a file"):
        check_outputs([tmp_path / "file" / "a.json"])


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_is_never_replaced_by_a_file_nor_a_file_by_a_folder(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "a.json").mkdir()
    (tmp_path / "masks").touch()

    with pytest.raises(OutputExistsError, match="it is a folder"):
        check_outputs([tmp_path / "a.json"], overwrite=overwrite)
    with pytest.raises(OutputExistsError, match="it is a file"):
        check_outputs([tmp_path / "masks"], overwrite=overwrite)


@pytest.mark.parametrize("name", ["thesis.txt", "holiday.png", "00000.png"])
def test_overwrite_never_replaces_a_folder_that_holds_anything_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(OutputExistsError, match=f"not ours to replace: .*it holds `{name}`"):
        check_outputs([tmp_path], overwrite=True)


def test_an_empty_folder_can_be_filled(tmp_path: Path) -> None:
    check_outputs([tmp_path])
