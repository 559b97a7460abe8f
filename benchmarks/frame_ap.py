"""How good a method is on single frames, or on short clips: some of annotated videos, each as a video of its own.

What is lost between this and the AP of videos is lost by following objects, not by finding them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from block import print_block

from vistool.cli.measuring import annotated_videos, result_entries
from vistool.evaluation.documents import score_documents
from vistool.evaluation.scoring import Options
from vistool.methods import METHODS
from vistool.methods.loading import load_model
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import FakeSource
from vistool.types import RunOptions
from vistool.video import open_video

NAMES = ("AP", "AP50", "AP75", "AR10")
RANKING = Ranking(protocol="ytvis", conf=0.0)


def main() -> None:
    """Print one row a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, help="YTVIS JSON beside its videos")
    parser.add_argument("--methods", nargs="+", default=["ifr", "refinevis"], choices=list(METHODS))
    parser.add_argument("--weights", help="key or path; default: those of the method")
    parser.add_argument("--videos", type=int, default=20, help="the first so many; 0: all")
    parser.add_argument(
        "--every", type=int, default=8, help="frames from the first of one clip to the first of the next"
    )
    parser.add_argument("--length", type=int, default=1, help="frames of a clip")
    arguments = parser.parse_args()
    data, length = annotated_videos(arguments.annotations, arguments.videos), arguments.length
    rows = []
    for method in arguments.methods:
        model, row = load_model(method, arguments.weights, RunOptions(score_floor=0.0)), METHODS[method]
        videos, objects, results = [], [], []
        for video in data.truth["videos"]:
            source = open_video(data.sources[video["id"]])
            frames = list(source)
            source.close()
            for first in range(0, len(frames) - length + 1, arguments.every):
                alone = {**video, "id": len(videos) + 1, "length": length}
                videos.append(alone)
                objects += _in_clip(data.truth["annotations"], video["id"], (first, length), alone["id"], len(objects))
                clip = [replace(frame, index=t, time_s=float(t)) for t, frame in enumerate(frames[first:][:length])]
                found = run(
                    FakeSource(clip, source.info.size_hw),
                    model,
                    mode=row.modes[0],
                    window=0,
                    overlap=0,
                    ranking=RANKING,
                )
                results += result_entries(alone, found)
        truth = {**data.truth, "videos": videos, "annotations": objects}
        figures = score_documents(truth, results, Options(("ap",)))[0].figures()["ap"]
        rows.append([method, str(len(videos)), *(f"{figures[name]:.3f}" for name in NAMES)])
    title = f"clips of {length} frames of" if length > 1 else "single frames of"
    print_block(f"{title} {arguments.annotations.resolve().parent.name}", ["method", "clips", *NAMES], rows)


def _in_clip(
    annotations: list[dict[str, Any]], video_id: int, place: tuple[int, int], new_id: int, before: int
) -> Iterator[Mapping[str, Any]]:
    """The objects in sight somewhere in a clip, first frame and length, as those of a video of its own."""
    kept, (first, length) = ("category_id", "iscrowd"), place
    clips = (
        (each, each["segmentations"][first : first + length]) for each in annotations if each["video_id"] == video_id
    )
    for number, (each, seen) in enumerate((pair for pair in clips if any(pair[1])), start=before + 1):
        own = {name: each[name] for name in kept if name in each}
        yield {**own, "id": number, "video_id": new_id, "segmentations": seen}


if __name__ == "__main__":
    main()
