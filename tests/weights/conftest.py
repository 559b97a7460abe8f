"""A hub on this machine and a method that reads what it has, for whoever loads weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, in_its_place
from plain_reader import PlainReader, plain_folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """With one repository of a free licence, `some/one`."""
    with in_its_place(monkeypatch, tmp_path) as hub:
        hub.add("some/one", plain_folder(tmp_path / "some", config="{}"), card={"license": "mit"})
        yield hub


@pytest.fixture
def reader() -> PlainReader:
    return PlainReader()
