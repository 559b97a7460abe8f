"""The report of `vistool eval` for people: percent where it is a share, a dash where nothing is annotated."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.report import COUNTED
from ..evaluation.scoring import is_defined
from .tables import table

COUNTS = (*COUNTED, "videos")
TITLES = {"ap": "AP and AR of tubes", "identity": "Identities", "hota": "HOTA on masks"}


def show(said: Mapping[str, Any]) -> None:
    """Print the tables of one report."""
    spread = said.get("intervals", {})
    for metric, title in TITLES.items():
        if metric in said:
            _print(f"{title}{_conditions(metric, said)}", *_numbers(said[metric], spread.get(metric)))
    if "attributes" in said:
        rows = [[name, str(one["videos"]), _ap(one["AP"])] for name, one in said["attributes"].items()]
        _print("AP by attribute of the videos", ["attribute", "videos", "AP"], rows)
        _print_lines(said["attribute_rules"])
    if "errors" in said:
        _print(*_errors(said["errors"]))
    for by, groups in said.get("by", {}).items():
        _print(f"By {by}", *_groups(groups))
    counts = said["counts"]
    _print_lines(
        [
            f"{counts['videos']} videos, {counts['gt_tracks']} annotated and {counts['pred_tracks']} predicted tracks, "
            f"{said['seconds']:.2f} s"
        ]
    )


def show_comparison(said: Mapping[str, Any]) -> None:
    """Print A, B and what lies between them."""
    a, b = said["a"], said["b"]
    for metric, title in TITLES.items():
        if metric in b:
            rows = [_compared(metric, name, said) for name in b[metric]]
            _print(f"{title}{_conditions(metric, b)}", ["", "A", "B", "B - A", "95 % of draws"], rows)
    if "attributes" in b:
        rows = [
            [name, str(one["videos"]), _ap(a["attributes"][name]["AP"]), _ap(one["AP"])]
            for name, one in b["attributes"].items()
        ]
        _print("AP by attribute of the videos", ["attribute", "videos", "A", "B"], rows)
        _print_lines(b["attribute_rules"])
    if "errors" in b:
        (_, _, left), (_, _, right) = _errors(a["errors"]), _errors(b["errors"])
        rows = [[*one, *other[1:]] for one, other in zip(left, right, strict=True)]
        _print("What repairing errors would add to AP50", ["kind", "errors A", "dAP50 A", "errors B", "dAP50 B"], rows)
    files = f"A {a['file']}, B {b['file']}"
    _print_lines([f"{files}; {said['bootstrap']} draws of the videos, seed {said['seed']}, {said['seconds']:.2f} s"])


def _compared(metric: str, name: str, said: Mapping[str, Any]) -> list[str]:
    ends = said["intervals"][metric].get(name, (-1.0, -1.0))
    return [
        name,
        _cell(name, said["a"][metric]),
        _cell(name, said["b"][metric]),
        "-" if (difference := said["difference"][metric].get(name)) is None else _figure(name, difference, signed=True),
        _interval(name, ends, signed=True),
    ]


def _conditions(metric: str, said: Mapping[str, Any]) -> str:
    settings = said["settings"]
    words = ["categories as one"] if settings["class_agnostic"] else []
    if metric != "ap":
        words.append(f"tracks from score {settings['score_min']:g} on")
    if metric == "identity":
        words.append("on boxes of the masks" if settings["identity_on"] == "box" else "on masks")
    return f" ({', '.join(words)})" if words else ""


def _numbers(
    values: Mapping[str, float], spread: Mapping[str, Sequence[float]] | None
) -> tuple[list[str], list[list[str]]]:
    if spread is None:
        return [*values], [[_cell(name, values) for name in values]]
    rows = [[name, _cell(name, values), _interval(name, spread[name])] for name in values]
    return ["", "value", "95 % of draws"], rows


def _errors(errors: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    kinds = {**errors["errors"], "all false positives": errors["false_positives"]}
    kinds["all not found"] = errors["false_negatives"]
    rows = [[kind, str(one["count"]), _figure("AP", one["dAP"], signed=True)] for kind, one in kinds.items()]
    return (
        f"What repairing errors would add to AP50 ({_ap(errors['AP50'])})",
        ["kind", "errors", "dAP50"],
        rows,
    )


def _groups(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> tuple[list[str], list[list[str]]]:
    """One row a group; the columns are those that any group has."""
    columns = list(dict.fromkeys(name for group in groups.values() for values in group.values() for name in values))
    rows = []
    for title, group in groups.items():
        cells = {name: _cell(name, values) for values in group.values() for name in values}
        rows.append([title, *(cells.get(name, "") for name in columns)])
    return ["", *columns], rows


def _cell(name: str, values: Mapping[str, float]) -> str:
    """A number of one metric, or a dash where it is not defined."""
    return _figure(name, values[name]) if is_defined(name, values) else "-"


def _ap(value: float) -> str:
    return _cell("AP", {"AP": value})


def _figure(name: str, value: float, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{value:{sign}g}" if name in COUNTS else f"{100 * value:{sign}.2f}"


def _interval(name: str, ends: Sequence[float], *, signed: bool = False) -> str:
    if tuple(ends) == (-1.0, -1.0):
        return "-"
    return " to ".join(_figure(name, end, signed=signed) for end in ends)


def _print(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A drawn table on a terminal, columns of text elsewhere."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(header):
            drawn.add_column(name, justify="left" if number == 0 and len(rows) > 1 else "right")
        for row in rows:
            drawn.add_row(*row)
        Console().print(drawn)
    else:
        print(f"{title}\n{table(header, rows)}\n")


def _print_lines(lines: Sequence[str]) -> None:
    print(*lines, sep="\n")
    print()
