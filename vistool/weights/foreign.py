"""Checkpoint files of other projects as plain tensors. Nothing in a file is ever run.

safetensors files hold no code. PyTorch files are read with `weights_only=True`; beside their tensors they may hold an
`argparse.Namespace`, a bag of values, which is dropped. detectron2's pickles are read by an unpickler that knows NumPy
arrays and containers, and refuses every other name.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Foreign:
    """A checkpoint of another project."""

    tensors: Mapping[str, Tensor]  # by their published names, in the file's precision
    config: Mapping[str, Any] = field(
        default_factory=dict
    )  # the `config.json` of transformers; empty where there is none


def read_foreign(path: Path) -> Foreign:
    """A file, or a folder in the layout of the hub: `config.json` beside one file of tensors or several shards.

    WeightsError when something is absent, damaged, of an unknown kind, or holds anything but plain numbers.
    """
    if path.is_dir():
        files = _files_of(path)
        tensors = {name: tensor for file in files for name, tensor in _read_file(file).items()}
        return Foreign(tensors, _config(path / "config.json"))
    return Foreign(_read_file(path), _config(path.parent / "config.json"))


def _files_of(folder: Path) -> list[Path]:
    """The file, or the shards that an index names, of the first kind that is there; safetensors first."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted({str(shard) for shard in _json(index).get("weight_map", {}).values()})
            if wrong := [shard for shard in shards if Path(shard).name != shard]:
                raise WeightsError(
                    f"weights are damaged: `{index}` (it names `{wrong[0]}`, which is no file beside it)"
                )
            return [folder / shard for shard in shards]
    raise WeightsError(
        f"no weights in folder: `{folder}` (neither model.safetensors nor pytorch_model.bin, whole or in shards)",
        hint="give the folder that `save_pretrained` wrote, or a file",
    )


def _config(path: Path) -> Mapping[str, Any]:
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read: `{path}` ({error})", hint="fetch the file again") from error
    if not isinstance(found, dict):
        raise WeightsError(f"not an object of JSON: `{path}`", hint="fetch the file again")
    return found


def _read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of one file."""
    if path.suffix not in _READERS:
        raise WeightsError(
            f"unknown kind of weights: `{path}` (its suffix says nothing)", hint=f"one of: {', '.join(_READERS)}"
        )
    with _clear_errors(path):
        content = _READERS[path.suffix](path)
    return dict(_tensors(path, _unwrapped(path, content)))


def _read_torch(path: Path) -> object:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options that a file was trained with
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # in torch's words it is advice to read the file unsafely
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        told = f"it asks for `{asked[1]}`, which is not plain data" if asked else "it is no file of PyTorch"
        raise pickle.UnpicklingError(told) from error


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
