"""From what a user types to tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from checkpoint_samples import INFO, tensors
from test_registry import TABLE

from vistool.errors import WeightsError
from vistool.weights import checkpoint, load, registry


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


def test_a_path_is_loaded(file: Path) -> None:
    loaded = load(str(file), "ifr")

    assert (loaded.info, loaded.name) == (INFO, str(file))


def test_a_key_is_loaded_under_its_name(key: str) -> None:
    assert load(key, "ifr").name == key


def test_a_file_is_known_by_its_digest_wherever_it_lies(key: str, file: Path) -> None:
    moved = file.rename(file.with_name("renamed.safetensors"))

    entry = registry.by_digest(load(str(moved), "ifr").sha256)

    assert entry is not None
    assert entry.key == key


def test_a_file_that_is_not_the_published_one_is_refused(key: str, file: Path) -> None:
    checkpoint.write(file, INFO, tensors(seed=1), half=False, overwrite=True)

    with pytest.raises(WeightsError, match=f"not the published file: `{key}`"):
        load(key, "ifr")


def test_weights_of_another_method_are_refused_with_both_names(file: Path) -> None:
    with pytest.raises(WeightsError, match="made for `ifr`, asked for `mask2former-vis`") as caught:
        load(str(file), "mask2former-vis")

    assert "--method ifr" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "spec", ["hf:owner/name", "https://example.org/a.safetensors", "gs://bucket/a"], ids=["hub", "https", "bucket"]
)
def test_an_address_is_refused_with_what_is_supported(spec: str) -> None:
    with pytest.raises(WeightsError, match="only keys and files"):
        load(spec, "ifr")


@pytest.mark.parametrize("spec", ["absent.safetensors", "some/where"])
def test_what_looks_like_a_path_is_reported_as_a_file(spec: str) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load(spec, "ifr")


def test_an_unknown_key_is_answered_with_the_nearest(key: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load(f"{key}s", "ifr")

    assert caught.value.hint == f"did you mean `{key}`?"
