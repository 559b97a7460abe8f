"""Checkpoint files of other projects as plain tensors. Nothing in a file is ever run.

safetensors files hold no code. PyTorch files are read with `weights_only=True`. detectron2's pickles are read by an
unpickler that knows NumPy arrays and containers, and refuses every other name.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import WeightsError

_WRAPPERS = ("model", "state_dict", "model_state_dict", "params")  # under which projects keep the tensors
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),  # how Python 3 writes bytes so that Python 2 can read them
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}


def read_foreign(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their published names, in the file's precision.

    Raises WeightsError when the file is absent, damaged, of an unknown kind, or holds anything but plain numbers.
    """
    if path.suffix not in _READERS:
        raise WeightsError(
            f"unknown kind of weights: `{path}` (its suffix says nothing)", hint=f"one of: {', '.join(_READERS)}"
        )
    with _clear_errors(path):
        content = _READERS[path.suffix](path)
    return dict(_tensors(path, _unwrapped(path, content)))


def _read_torch(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_pickle(path: Path) -> object:
    with path.open("rb") as file:
        return _PlainUnpickler(file, encoding="latin1").load()


class _PlainUnpickler(pickle.Unpickler):
    """Knows the names in `_ALLOWED` and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for `{module}.{name}`, which is not plain data")
        return super().find_class(module, name)


_READERS: dict[str, Callable[[Path], object]] = {
    ".safetensors": load_file,
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".bin": _read_torch,
    ".pkl": _read_pickle,
}


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Turn what the readers say of a bad file into one clear line."""
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(f"weights not found: `{path}` (no such file)", hint="check the path") from error
    except OSError as error:
        raise WeightsError(f"cannot read weights: `{path}` ({error.strerror or error})") from error
    except (
        SafetensorError,
        pickle.UnpicklingError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ImportError,
    ) as error:  # a damaged pickle can fail in any of these ways
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"weights are damaged or not plain numbers: `{path}` ({reason})",
            hint="fetch the file again, or save its tensors alone",
        ) from error


def _unwrapped(path: Path, content: object) -> Mapping[str, object]:
    """The mapping from names to tensors, which may lie inside another."""
    if isinstance(content, Mapping):
        for name in _WRAPPERS:
            if isinstance(content.get(name), Mapping):
                return _unwrapped(path, content[name])
        return content
    raise WeightsError(f"no tensors in the weights: `{path}` (it holds a {type(content).__name__})")


def _tensors(path: Path, content: Mapping[str, object]) -> Iterator[tuple[str, Tensor]]:
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            yield str(name), torch.from_numpy(np.array(value))
        elif isinstance(value, Tensor):
            yield str(name), value
        else:
            raise WeightsError(f"not a tensor: `{name}` (`{path}` holds a {type(value).__name__} there)")
