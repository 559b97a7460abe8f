"""Columns of text, the same whether a person or a pipe reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

GAP = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns as wide as their widest entry; the last one is not padded."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def listing(facts: Mapping[str, object]) -> str:
    """`name  value`, one a line; a list is written with commas, what is empty as a dash."""
    return "\n".join(
        GAP.join((name.ljust(max(map(len, facts))), as_text(value) or "-")).rstrip() for name, value in facts.items()
    )


def as_text(value: object) -> str:
    """A JSON value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {as_text(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(as_text, value))
    return "" if value is None else str(value)
