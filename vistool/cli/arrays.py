"""npz files in and out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ..errors import InputError
from ..writers.publishing import write_errors


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by name; InputError when it is none."""
    hint = "write it with numpy.savez(path, frames=…)"
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, NpzFile):
            raise InputError(f"not an npz file: `{path}` (a single array without a name)", hint=hint)
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise InputError(f"cannot open arrays: `{path}` (no such file)", hint="check the path") from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"not an npz file of plain arrays: `{path}` ({error})", hint=hint) from error


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Publish an npz file as a whole."""
    partial = path.with_name(f".{path.name}.partial.npz")  # savez insists on the suffix
    try:
        with write_errors(path):
            np.savez(partial, **arrays)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
