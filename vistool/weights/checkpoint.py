"""The vistool checkpoint: one safetensors file whose metadata says everything needed to run it.

The metadata is a single entry, `vistool`, that holds a JSON object: the format version and the fields of
`CheckpointInfo`. (One entry, because safetensors writes several in an order that changes from run to run.)
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import OutputExistsError, VistoolError, WeightsError
from ..types import Category

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
SUFFIX = ".safetensors"
_ENTRY = "vistool"  # of the metadata
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # stored, but not learned


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    method: str  # a row of METHODS
    preset: str  # the name the sizes go by
    sizes: Mapping[str, Any]  # every field of the preset, so that the file runs when the presets have moved on
    categories: tuple[Category, ...]
    pixel_mean: tuple[float, float, float]  # RGB, of 0..255
    pixel_std: tuple[float, float, float]
    short_side: int  # pixels, of the network's input
    conf: float  # default score threshold for people
    training_data: str
    licence: str
    ap: Mapping[str, float] = field(default_factory=dict)  # data set → measured AP, a fraction
    parent: str | None = None  # key, or name and sha256, of the checkpoint this one started from
    notes: str = ""
    trained_on: Literal["images", "videos"] = "videos"
    untrained: str = ""  # modules that the parent lacks, and what they do until they are trained; empty: none


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and what they say of themselves."""

    info: CheckpointInfo
    tensors: Mapping[str, Tensor]  # float32; counters keep their integers
    name: str = ""  # the key or path it was asked for by
    sha256: str = ""  # of the file; empty for one that was never written


@dataclass(frozen=True, slots=True)
class Header:
    """What can be known of a checkpoint file without reading its tensors."""

    info: CheckpointInfo
    parameters: int  # learned numbers
    dtypes: tuple[str, ...]  # of the file, as safetensors names them, sorted


def read(path: Path) -> Checkpoint:
    """The whole file; WeightsError when it is absent, damaged, or not a vistool checkpoint."""
    from safetensors import safe_open

    with _read_errors(path), safe_open(path, framework="pt") as file:
        info = _parse(path, file.metadata())
        tensors = {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return Checkpoint(info, tensors, name=str(path), sha256=sha256_of(path))


def read_header(path: Path) -> Header:
    """What the file says of itself. Loads no torch. Raises as `read` does."""
    from safetensors import safe_open

    with _read_errors(path), safe_open(path, framework="np") as file:
        info = _parse(path, file.metadata())
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        learned = [piece for name, piece in slices.items() if not name.endswith(_STATISTICS)]
        parameters = sum(math.prod(piece.get_shape()) for piece in learned)
        return Header(info, parameters, tuple(sorted({piece.get_dtype() for piece in slices.values()})))


def write(
    path: Path, info: CheckpointInfo, tensors: Mapping[str, Tensor], *, half: bool, overwrite: bool = False
) -> None:
    """Publish a checkpoint as a whole; `half` stores floating-point tensors as fp16. Same arguments, same bytes.

    OutputExistsError when `path` is there and `overwrite` is not set; WeightsError for a value that fp16 cannot hold.
    """
    from safetensors.torch import save

    if path.exists() and not overwrite:
        raise OutputExistsError(f"output exists: `{path}`", hint="add --overwrite, or choose another name")
    stored = {name: _stored(name, tensor, half) for name, tensor in tensors.items()}
    metadata = {_ENTRY: json.dumps({"format_version": FORMAT_VERSION, **asdict(info)}, sort_keys=True)}
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:  # safetensors' own save_file makes files that nobody else may read
            file.write(save(stored, metadata))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise VistoolError(
            f"cannot write weights: `{path}` ({error.strerror or error})",
            hint="check the space and the permissions there",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    """The tensor as it goes to disk: on the CPU, contiguous, sharing memory with no other."""
    if not tensor.is_floating_point():
        return tensor.detach().cpu().contiguous().clone()
    stored = tensor.detach().cpu().to(_float_type(half), copy=True).contiguous()
    if half and stored.isinf().any() and not tensor.isinf().any():
        raise WeightsError(f"value is too large for fp16: `{name}`", hint="write the weights without --half")
    return stored


def _float_type(half: bool) -> Any:
    import torch

    return torch.float16 if half else torch.float32


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Turn what the system and the library say of an unreadable file into one clear line."""
    from safetensors import SafetensorError

    if path.is_dir():
        raise WeightsError(f"weights are a folder: `{path}`", hint=f"give the {SUFFIX} file in it")
    if path.is_file() and path.stat().st_size == 0:
        raise WeightsError(f"weights are empty: `{path}` (0 bytes)", hint="fetch the file again")
    try:
        yield
    except FileNotFoundError as error:
        raise WeightsError(
            f"weights not found: `{path}` (no such file)", hint="check the path, or see `vistool weights list`"
        ) from error
    except SafetensorError as error:
        if path.suffix != SUFFIX:
            raise WeightsError(
                f"weights are not a {SUFFIX} file: `{path}` ({error})", hint="`vistool weights convert` reads others"
            ) from error
        raise WeightsError(f"weights are damaged: `{path}` ({error})", hint="fetch the file again") from error
    except OSError as error:
        raise WeightsError(
            f"cannot read weights: `{path}` ({error.strerror or error})", hint="check the path and its permissions"
        ) from error


def _parse(path: Path, metadata: Mapping[str, str] | None) -> CheckpointInfo:
    """What the metadata says; WeightsError when this is another kind of file, or made by a later version."""
    text = (metadata or {}).get(_ENTRY)
    if text is None:
        raise WeightsError(
            f"not a vistool checkpoint: `{path}` (it does not say what it is)",
            hint="if it is a checkpoint of another project, see `vistool weights convert --help`",
        )
    try:
        record = json.loads(text)
        version = record.pop("format_version")
        if version != FORMAT_VERSION:
            raise WeightsError(
                f"weights have an unknown format: `{path}` (version {version}, this vistool reads {FORMAT_VERSION})",
                hint="use a newer vistool" if version > FORMAT_VERSION else "convert the file again from its origin",
            )
        return _info(record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"weights are damaged: `{path}` (its description is wrong: {error})", hint="fetch the file again"
        ) from error


def _info(record: dict[str, Any]) -> CheckpointInfo:
    """The fields as they were given to `write`; fields of a later vistool are left out."""
    known = {each.name for each in fields(CheckpointInfo)}
    given = {name: value for name, value in record.items() if name in known}
    given["categories"] = tuple(Category(int(row["id"]), str(row["name"])) for row in given["categories"])
    for name in ("pixel_mean", "pixel_std"):
        red, green, blue = given[name]
        given[name] = (float(red), float(green), float(blue))
    return CheckpointInfo(**given)
