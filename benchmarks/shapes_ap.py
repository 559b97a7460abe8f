"""How good a method is on annotated videos: run as a user would, with the benchmark ranking; intervals over videos."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from block import print_block

from vistool.cli.measuring import annotated_videos, predictions
from vistool.evaluation.documents import score_documents
from vistool.evaluation.intervals import intervals
from vistool.evaluation.scoring import Options
from vistool.methods import METHODS, weights_of
from vistool.weights import load

COLUMNS = {"ap": ("AP", "AP50", "AP75", "AR10"), "identity": ("IDF1", "IDs"), "hota": ("HOTA",)}


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, help="YTVIS JSON beside its videos")
    trained = [name for name, row in METHODS.items() if row.recipe is not None and row.default_weights]
    parser.add_argument("--methods", nargs="+", default=trained, choices=list(METHODS))
    parser.add_argument("--mode", choices=["online", "offline"], help="default: the method's own")
    parser.add_argument("--windows", type=int, nargs=2, metavar=("LENGTH", "OVERLAP"), help="default: the method's own")
    parser.add_argument("--weights", help="key or path; default: those of the method")
    parser.add_argument("--score-min", type=float, default=0.3, help="of tracks that identities and HOTA look at")
    parser.add_argument("--draws", type=int, default=1000, help="of the videos, for 95 %% intervals")
    parser.add_argument("--results", type=Path, help="folder for METHOD.json, which `vistool eval` reads")
    arguments = parser.parse_args()
    data = annotated_videos(arguments.annotations, 0)
    options = Options(tuple(COLUMNS), arguments.score_min)
    rows = []
    for method in arguments.methods:
        checkpoint = load(weights_of(method, arguments.weights), method, METHODS[method])
        windows = tuple(arguments.windows) if arguments.windows else None
        found = predictions(data, checkpoint, method=method, device="cpu", mode=arguments.mode, windows=windows)
        if arguments.results:
            arguments.results.mkdir(parents=True, exist_ok=True)
            (arguments.results / f"{method}.json").write_text(json.dumps(found))
        scores, _ = score_documents(data.truth, found, options)
        values, spread = scores.figures(), intervals(scores, arguments.draws, seed=0)
        cells = [
            _cell(name, values[metric][name], spread[metric][name])
            for metric, names in COLUMNS.items()
            for name in names
        ]
        rows.append([method, *cells])
    header = ["method", *(name for names in COLUMNS.values() for name in names)]
    print_block(str(arguments.annotations.parent.name), header, rows)


def _cell(name: str, value: float, ends: tuple[float, float]) -> str:
    form = "{:.0f}" if name == "IDs" else "{:.3f}"
    low, high = (form.format(end) for end in ends)
    return f"{form.format(value)} ({low} to {high})"


if __name__ == "__main__":
    main()
