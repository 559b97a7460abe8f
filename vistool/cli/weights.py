"""`vistool weights`: the known checkpoints, and tools for others."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, WeightsError
from ..writers.publishing import check_target
from .options import AsJson, MethodName, Overwrite, WeightsArgument
from .tables import listing, table

if TYPE_CHECKING:
    from ..methods import Method
    from ..weights.checkpoint import Checkpoint
    from ..weights.foreign import Foreign
    from ..weights.registry import Entry


def list_weights(as_json: AsJson = False) -> None:
    """Every checkpoint that has a name."""
    from ..weights import registry

    entries = registry.entries().values()
    if as_json:
        typer.echo(json.dumps([_entry_facts(entry) for entry in entries], indent=2))
        return
    header = ("key", "method", "preset", "size", "licence", "source", "classes")
    rows = [
        (
            each.key,
            each.method,
            each.preset,
            _megabytes(each.size),
            each.licence,
            each.source,
            str(len(each.categories)),
        )
        for each in entries
    ]
    typer.echo(table(header, rows))


def show(spec: WeightsArgument, as_json: AsJson = False) -> None:
    """What is known of a checkpoint, and what its file says of itself."""
    from ..weights import checkpoint, locate, registry

    path = locate(spec)
    header = checkpoint.read_header(path)
    entry = registry.entries().get(spec)
    facts: dict[str, object] = {
        **asdict(header.info),
        "parameters": header.parameters,
        "stored_as": list(header.dtypes),
        "file": str(path),
        "size": path.stat().st_size,
        "sha256": checkpoint.sha256_of(path),
    }
    if entry is not None:
        facts["entry"] = _entry_facts(entry)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    named = ", ".join(category.name for category in header.info.categories)
    typer.echo(listing({**facts, "categories": named} | ({"entry": spec} if entry else {})))


def path(key: Annotated[str, typer.Argument(metavar="KEY", help="A key of `vistool weights list`.")]) -> None:
    """Where the file of a key lies."""
    from ..weights import registry

    typer.echo(registry.find(key).path)


def verify(
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Default: all.")] = None,
) -> None:
    """Hash the files again and compare them with weights.toml."""
    from ..weights import registry

    entries = [registry.find(key) for key in keys] if keys else list(registry.entries().values())
    faults = {entry.key: _fault(entry) for entry in entries}
    for key, fault in faults.items():
        typer.echo(f"{key}  {fault or 'ok'}")
    if wrong := [key for key, fault in faults.items() if fault]:
        raise WeightsError(f"weights are not what weights.toml says: {', '.join(wrong)}", hint="reinstall vistool")


def convert(
    foreign: Annotated[
        Path, typer.Argument(help="Checkpoint of another project: .safetensors, .pth, .pt, .bin, .pkl.")
    ],
    method: MethodName,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.")],
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", help="Naming of its tensors; default: the one that fits.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store fp16, in half the space.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Translate the checkpoint of another project. Every tensor must be accounted for."""
    from ..methods import find_method
    from ..weights import checkpoint

    row = find_method(method)
    if layout is not None and layout not in row.layouts:
        raise UsageError(f"unknown layout for {method}: `{layout}`", hint=f"one of: {', '.join(row.layouts) or 'none'}")
    if out.suffix != checkpoint.SUFFIX:
        raise UsageError(f"weights are written as {checkpoint.SUFFIX}: `{out}`", hint="give the output that suffix")
    check_target(out, folder=False, overwrite=overwrite)

    from ..weights.foreign import read_foreign

    content = read_foreign(foreign)
    converted = row.convert(content, layout) if layout else _converted(row, content, foreign)
    checkpoint.write(out, converted.info, converted.tensors, half=half, overwrite=overwrite)
    typer.echo(
        f"wrote {out} ({method}, preset {converted.info.preset}, {len(converted.info.categories)} classes)", err=True
    )


def probe(
    weights: WeightsArgument,
    input: Annotated[Path, typer.Option("--input", help="npz: frames float32 (T, 3, H, W), padding bool (T, H, W).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The npz to write: raw outputs of the network.")],
    overwrite: Overwrite = False,
) -> None:
    """What a network says about given numbers. Raw: before any threshold, sigmoid or softmax."""
    check_target(out, folder=False, overwrite=overwrite)

    from ..methods import find_method
    from ..weights import checkpoint, locate
    from .arrays import read_arrays, write_arrays

    arrays = read_arrays(input)
    loaded = checkpoint.read(locate(weights))
    write_arrays(out, find_method(loaded.info.method).probe(loaded, arrays))


def _converted(row: Method, content: Foreign, path: Path) -> Checkpoint:
    """By the first layout that accounts for every tensor; WeightsError with all complaints when none does."""
    complaints = []
    for layout in row.layouts:
        try:
            return row.convert(content, layout)
        except WeightsError as error:
            complaints.append(f"{layout}: {error.message}")
    raise WeightsError(
        f"no layout fits the weights: `{path}` ({'; '.join(complaints) or 'this method reads none'})",
        hint="check --method, or give --layout",
    )


def _entry_facts(entry: Entry) -> dict[str, object]:
    return {**asdict(entry), "at_hand": entry.path.is_file()}


def _fault(entry: Entry) -> str | None:
    """What is wrong with the file of an entry."""
    from ..weights.checkpoint import sha256_of

    if not entry.path.is_file():
        return "missing"
    found = sha256_of(entry.path)
    return None if found == entry.sha256 else f"sha256 is {found}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
