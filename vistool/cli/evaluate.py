"""`vistool eval`: how good predictions are."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UsageError
from .options import AsJson, Overwrite

if TYPE_CHECKING:
    from ..evaluation.scoring import Options, Scores
    from ..evaluation.tubes import GroundTruth, Notes

DRAWS = 1000  # of --compare, when --bootstrap does not say
UNDER = 3  # the exit code when a number is under what --fail-under asks for


def evaluate(
    gt: Annotated[Path, typer.Option("--gt", metavar="PATH", help="Annotations: YTVIS or OVIS JSON, or .json.gz.")],
    pred: Annotated[
        list[Path] | None,
        typer.Option(
            "--pred",
            metavar="PATH",
            help="Predictions: what `segment` wrote, a result list, or a folder of one file a video, named after it. "
            "May be given several times.",
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="A B", help="Two predictions: the numbers of both, and B less A."),
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="A,B", help="Of ap, identity, hota, attributes, errors.")
    ] = "ap,identity",
    by: Annotated[
        Literal["category", "video", "length", "size", "attribute"] | None,
        typer.Option("--by", help="The numbers of every part, too."),
    ] = None,
    score_min: Annotated[
        float,
        typer.Option("--score-min", metavar="FLOAT", help="Identities and HOTA look at tracks from this score on."),
    ] = 0.0,
    identity_on: Annotated[
        Literal["box", "mask"], typer.Option("--identity-on", help="What pairs of identities are compared by.")
    ] = "box",
    class_agnostic: Annotated[bool, typer.Option("--class-agnostic", help="All categories are one.")] = False,
    bootstrap: Annotated[
        int,
        typer.Option("--bootstrap", min=0, metavar="N", help="Draw videos N times for 95 % intervals; try 1000."),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    fail_under: Annotated[
        str | None,
        typer.Option("--fail-under", metavar="AP=0.4,IDF1=0.5", help="Exit with 3 when a number is under its bound."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Write the report, too: .json.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score predictions: the AP of the benchmarks, identities, HOTA."""
    _suit_the_process_to_counting()
    from ..evaluation.scoring import Options
    from .evaluation_tables import show, show_comparison

    begun = time.perf_counter()
    if by is not None and compare is not None:
        raise UsageError("--by does not go with --compare", hint="evaluate each with --pred and --by")
    options = Options(_metrics(metrics, by), score_min, class_agnostic, identity_on)
    bounds = _bounds(fail_under, options.metrics)
    if (pred is None) == (compare is None):
        raise UsageError("what to evaluate: give --pred, or --compare with two predictions", hint="vistool eval --help")
    if out is not None:
        _check_out(out, overwrite)

    if compare is None:
        said = _one(gt, pred or [], options, by, bootstrap, seed)
    else:
        said = _two(gt, compare, options, bootstrap, seed)
    said["seconds"] = round(time.perf_counter() - begun, 3)
    failed = _under(said if compare is None else said["b"], bounds)
    for note in said.get("notes", []):
        typer.echo(f"warning: {note}", err=True)
    if out is not None:
        _write(out, said)
    if as_json:
        typer.echo(json.dumps(said))
    else:
        (show if compare is None else show_comparison)(said)
    for name, value, bound in failed:
        typer.echo(f"under: {name} is {value:.4f} (at least {bound:g} was asked for)", err=True)
    if failed:
        raise typer.Exit(UNDER)


def _one(gt: Path, pred: list[Path], options: Options, by: Any, draws: int, seed: int) -> dict[str, Any]:
    """The report on one set of predictions."""
    from ..evaluation.groups import grouped
    from ..evaluation.intervals import intervals
    from ..evaluation.report import report, shown, shown_intervals
    from ..evaluation.tubes import Notes

    notes = Notes()
    truth = _truth(gt, notes)
    scores = _scores(truth, pred, options, notes)
    said = report(scores, options)
    if by is not None:
        said["by"] = {by: {name: shown(figures) for name, figures in grouped(scores, by).items()}}
    if draws:
        said["intervals"] = shown_intervals(intervals(scores, draws, seed))
        said["settings"] |= {"bootstrap": draws, "seed": seed}
    return said | ({"notes": list(notes.lines())} if notes.counts else {})


def _two(gt: Path, compare: tuple[Path, Path], options: Options, draws: int, seed: int) -> dict[str, Any]:
    """Both reports, and the second less the first."""
    from ..evaluation.intervals import differences
    from ..evaluation.report import report, shown_differences, shown_intervals
    from ..evaluation.tubes import Notes

    notes = Notes()
    truth = _truth(gt, notes)
    a, b = (_scores(truth, [path], options, notes) for path in compare)
    difference, spread = differences(a, b, draws or DRAWS, seed)
    said = {
        "a": {"file": str(compare[0]), **report(a, options)},
        "b": {"file": str(compare[1]), **report(b, options)},
        "difference": shown_differences(difference),
        "intervals": shown_intervals(spread),
        "bootstrap": draws or DRAWS,
        "seed": seed,
    }
    return said | ({"notes": list(notes.lines())} if notes.counts else {})


def _suit_the_process_to_counting() -> None:
    """A fifth of the command's CPU seconds goes without this, for threads and page faults."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported; threads gain nothing here
    import numpy as np

    np.empty(2**21)  # freed at once: from now on glibc keeps what is freed, up to such a size, for what comes next


def _truth(path: Path, notes: Notes) -> GroundTruth:
    from ..evaluation.files import read_ground_truth

    return read_ground_truth(path, notes)


def _scores(truth: GroundTruth, paths: list[Path], options: Options, notes: Notes) -> Scores:
    from ..evaluation.files import read_predictions
    from ..evaluation.scoring import score
    from ..writers.reading import read_result
    from .measuring import result_document

    tubes = read_predictions(paths, truth, notes, read_lines=lambda path: result_document(read_result(path)))
    return score(truth, tubes, options, notes)


def _metrics(text: str, by: str | None) -> tuple[str, ...]:
    from ..evaluation import METRICS

    asked = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in asked if name not in METRICS]
    if unknown or not asked:
        raise UsageError(f"unknown metric: `{unknown[0] if unknown else text}`", hint=f"one of {', '.join(METRICS)}")
    if by == "attribute":
        asked.append("attributes")
    if by in ("size", "attribute") and "ap" not in asked:
        asked.append("ap")
    return tuple(dict.fromkeys(asked))


def _bounds(text: str | None, metrics: Sequence[str]) -> dict[str, float]:
    """Name → fraction; what is above 1 is percent."""
    from ..evaluation.report import shares

    bounds = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            bound = float(value)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound):
            raise UsageError(f"not a bound: `{part}`", hint="write --fail-under AP=0.4 or AP=40")
        if name not in shares(metrics):
            raise UsageError(
                f"the report will have no share of this name: `{name}`",
                hint="add its metric to --metrics; counts have no bound",
            )
        bounds[name] = bound / 100 if bound > 1 else bound
    return bounds


def _under(said: dict[str, Any], bounds: dict[str, float]) -> list[tuple[str, float, float]]:
    """Names, values and bounds of the numbers that are under theirs; what is undefined is under every bound."""
    from ..evaluation.report import share_named

    values = {name: share_named(said, name) for name in bounds}
    return [(name, values[name], bound) for name, bound in bounds.items() if values[name] < bound or values[name] == -1]


def _check_out(path: Path, overwrite: bool) -> None:
    from ..writers.publishing import check_target

    if path.suffix.lower() != ".json":
        raise UsageError(f"unknown format of a report: `{path}`", hint="name it .json")
    check_target(path, folder=False, overwrite=overwrite)


def _write(path: Path, said: dict[str, Any]) -> None:
    from ..writers.publishing import PartialFile

    sink = PartialFile(path)
    try:
        sink.write(json.dumps(said, indent=1) + "\n")
        sink.publish()
    finally:
        sink.discard()
