"""`vistool methods`: what there is to choose from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .options import AsJson
from .tables import listing, table


def methods(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The methods: how each runs, its default weights and its paper."""
    if ctx.invoked_subcommand is not None:
        return
    from ..methods import METHODS

    facts = [_facts(name) for name in METHODS]
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    columns = ("name", "modes", "parameters", "licence", "default_weights", "paper")
    rows = [[_cell(row[column]) for column in columns] for row in facts]
    typer.echo(table([column.replace("_", " ") for column in columns], rows))


def show_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A row of `vistool methods`.")], as_json: AsJson = False
) -> None:
    """Everything about one method."""
    facts = _facts(name)
    typer.echo(json.dumps(facts, indent=2) if as_json else listing(facts))


def _facts(name: str) -> dict[str, object]:
    """A row of METHODS as JSON values; `licence` and, where at hand, `parameters` are those of its default weights."""
    from ..methods import find_method
    from ..weights import at_hand, checkpoint, registry

    row = find_method(name)
    entry = registry.entries().get(row.default_weights or "")
    path = entry and (entry.bundled_path if entry.source == "bundled" else at_hand(entry, name))
    return {
        "name": name,
        "summary": row.summary,
        "paper": row.paper,
        "modes": list(row.modes),
        "window": row.window,
        "overlap": row.overlap,
        "tta": row.tta,
        "default_weights": row.default_weights,
        "licence": entry.licence if entry else None,
        "parameters": checkpoint.read_header(path).parameters if path and path.is_file() else None,
        "layouts": list(row.layouts),
    }


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(value) if isinstance(value, list) else str(value or "-")
