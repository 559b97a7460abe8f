"""`vistool weights pull|convert|probe`: what makes a checkpoint of ours, and what looks into one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError, UsageError, WeightsError
from ..writers.publishing import check_target
from .options import AcceptLicense, AsJson, MethodName, ModeName, Offline, Overwrite, WeightsArgument, WhatFor

if TYPE_CHECKING:
    from ..types import Category
    from ..weights.registry import Entry


def pull(
    spec: Annotated[
        str,
        typer.Argument(metavar="KEY|hf:OWNER/NAME", help="From `vistool weights list`, or a repository of the hub."),
    ],
    method: WhatFor = None,
    offline: Offline = False,
    accept_license: AcceptLicense = None,
    as_json: AsJson = False,
) -> None:
    """Fetch and convert a checkpoint, so that it is at hand. Prints its file."""
    from ..methods import find_method
    from ..weights import Permissions, find, load, locate
    from .run_report import say

    entry = find(spec)
    if isinstance(entry, Path):
        raise UsageError(f"nothing to fetch: `{spec}` (it is a file)", hint="use it as it is, or `weights convert` it")
    method = method or _method_of(entry)
    permissions = Permissions(offline, frozenset(accept_license or ()))
    loaded = load(spec, method, find_method(method), permissions, say)
    path = locate(spec, method)
    facts = {
        "key": spec,
        "method": method,
        "file": str(path),
        "size": path.stat().st_size,
        "sha256": loaded.sha256,
        "licence": loaded.info.licence,
        "parent": loaded.info.parent,
        "classes": len(loaded.info.categories),
    }
    typer.echo(json.dumps(facts, indent=2) if as_json else path)


def convert(
    foreign: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint of another project: .safetensors, .pth, .pt, .bin, .pkl, or a folder as the hub has it."
        ),
    ],
    method: MethodName,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.")],
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", help="Naming of its tensors; default: the one that fits.")
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option("--categories", metavar="NAME|FILE.json", help="Its classes, where the file does not say."),
    ] = None,
    trained_on: Annotated[Literal["images", "videos"] | None, typer.Option("--trained-on", help="Likewise.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Store fp16, in half the space.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
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
    named = _categories(categories) if categories else ()

    from ..weights import registry, sources
    from ..weights.adoption import adopt, name_classes
    from ..weights.conversion import translate
    from ..weights.foreign import read_foreign

    content = read_foreign(foreign)
    source = sources.local(foreign)
    made = adopt(
        translate(content, row, foreign, layout or ""), content, registry.by_digest(source.sha256), source.origin
    )
    if categories:
        made = name_classes(made, named, said_by=categories)
    info = replace(made.info, trained_on=trained_on or made.info.trained_on)
    checkpoint.write(out, info, made.tensors, half=half, overwrite=overwrite)
    count = len(info.categories)
    if as_json:
        told = {"method": method, "preset": info.preset, "classes": count, "trained_on": info.trained_on}
        typer.echo(json.dumps({"file": str(out), **told, "parent": info.parent, "licence": info.licence}, indent=2))
    else:
        facts = f"{method}, preset {info.preset}, {count} classes, trained on {info.trained_on}"
        typer.echo(f"wrote {out} ({facts})", err=True)


def probe(
    weights: WeightsArgument,
    input: Annotated[Path, typer.Option("--input", help="npz: frames float32 (T, 3, H, W), padding bool (T, H, W).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The npz to write: raw outputs of the network.")],
    mode: ModeName = "auto",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """What a network says about given numbers. Raw: before any threshold, sigmoid or softmax."""
    check_target(out, folder=False, overwrite=overwrite)

    from ..methods import chosen_mode, find_method
    from ..weights import checkpoint, locate
    from .arrays import read_arrays, write_arrays

    arrays = read_arrays(input)
    loaded = checkpoint.read(locate(weights))
    method = loaded.info.method
    row = find_method(method)
    if mode not in ("auto", *row.modes):
        raise UsageError(f"method cannot run {mode}: `{method}`", hint=f"it runs {' and '.join(row.modes)}")
    chosen = chosen_mode(row, loaded.info) if mode == "auto" else mode
    given = row.probe(loaded, arrays, chosen)
    write_arrays(out, given)
    if as_json:
        shapes = {name: list(array.shape) for name, array in given.items()}
        typer.echo(json.dumps({"method": method, "mode": chosen, "file": str(out), "arrays": shapes}, indent=2))


def _method_of(entry: Entry) -> str:
    """What an entry is for; WeightsError where this vistool has nothing that reads it."""
    from ..methods import METHODS
    from ..weights import OURS

    if not entry.method:
        raise UsageError(f"no method to fetch it for: `{entry.key}`", hint=f"add --method: {', '.join(METHODS)}")
    if entry.method in METHODS and entry.layout in (OURS, *METHODS[entry.method].layouts):
        return entry.method
    able = [name for name, row in METHODS.items() if entry.layout in row.layouts]
    raise WeightsError(
        f"weights cannot be read yet: `{entry.key}` (made for `{entry.method}`, in the layout `{entry.layout}`)",
        hint=f"add --method, one of: {', '.join(able)}"
        if able
        else "no method here reads that layout; a later one may",
    )


def _categories(spec: str) -> tuple[Category, ...]:
    """A list of categories.toml, or that of a JSON file: names, or objects with `id` and `name`, bare or in
    `categories` of an annotation file. UsageError for neither, InputError for a file that has none.
    """
    from ..types import Category
    from ..weights.categories import CATEGORY_LISTS, category_list

    if spec in CATEGORY_LISTS:
        return category_list(spec)
    path = Path(spec)
    if not path.is_file():
        raise UsageError(
            f"unknown list of classes: `{spec}`", hint=f"one of: {', '.join(CATEGORY_LISTS)}; or a JSON file"
        )
    try:
        content: Any = json.loads(path.read_bytes())
        rows = content["categories"] if isinstance(content, dict) else content
        return tuple(
            Category(number, row) if isinstance(row, str) else Category(int(row["id"]), str(row["name"]))
            for number, row in enumerate(rows, start=1)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"no classes in the file: `{path}` ({error})", hint='write ["cat", "dog"], or give an annotation file'
        ) from error
