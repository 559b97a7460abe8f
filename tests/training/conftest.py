"""The toy data set and its method, for every test of training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_training import install, write_squares

from vistool.methods import METHODS


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations of the toy data set."""
    return write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def toy_method() -> Iterator[None]:
    """The method `toy`, for one test."""
    install()
    yield
    del METHODS["toy"]
