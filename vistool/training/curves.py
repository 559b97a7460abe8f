"""The learning curve of a run, drawn from its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def can_draw() -> bool:
    """Whether matplotlib, which the `train` extra installs, is there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def draw_curves(records: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Loss and its terms by step, and AP beside them where it was measured; a PNG, replaced as a whole."""
    from matplotlib.figure import Figure

    losses = [record for record in records if "loss" in record]
    measured = [record for record in records if "val" in record]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="step", ylabel="loss")
    steps = [record["step"] for record in losses]
    for name in losses[-1]["terms"] if losses else ():
        axes.plot(steps, [record["terms"].get(name) for record in losses], linewidth=0.8, alpha=0.7, label=name)
    axes.plot(steps, [record["loss"] for record in losses], color="black", label="loss")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    if measured:
        beside = axes.twinx()
        beside.set(ylabel="AP of the averaged weights", ylim=(0, 1))
        at = [record["step"] for record in measured]
        for name, style in (("AP", "o-"), ("AP50", "o--")):
            beside.plot(at, [record["val"].get(name) for record in measured], style, color="tab:red", label=name)
        beside.legend(loc="upper right", fontsize="small")
    partial = path.with_name(f".{path.stem}.partial.png")
    figure.savefig(partial, dpi=120)
    partial.replace(path)
