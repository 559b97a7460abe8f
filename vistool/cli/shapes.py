"""`vistool shapes make`: the procedural data set, written to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def make(
    split: Annotated[str, typer.Argument(metavar="SPLIT", help="shapes-train, shapes-val or shapes-occluded.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for videos/*.mp4 and annotations.json.")],
    videos: Annotated[
        int | None, typer.Option("--videos", min=1, help="How many; default: 200, 60 and 30, in the order above.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed is another data set.")] = 0,
    difficulty: Annotated[
        float, typer.Option("--difficulty", min=0.0, max=1.0, metavar="0..1", help="Motion, clutter, occlusion, noise.")
    ] = 0.5,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Make videos of moving shapes with exact masks. The same arguments give the same data set."""
    from ..shapes.dataset import Recipe, make_split
    from ..training.progress import progress

    total = Recipe.of(split, videos=videos, seed=seed, difficulty=difficulty).videos
    with progress(total, shown=not quiet) as report:
        path = make_split(
            split,
            out,
            videos=videos,
            seed=seed,
            difficulty=difficulty,
            overwrite=overwrite,
            on_video=lambda done, _: report(done, "videos written"),
        )
    typer.echo(path)
