"""How good a method is on single frames: each of some frames of annotated videos as a video of its own.

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
    parser.add_argument("--every", type=int, default=8, help="frames from one that is looked at to the next")
    arguments = parser.parse_args()
    data = annotated_videos(arguments.annotations, arguments.videos)
    rows = []
    for method in arguments.methods:
        model, row = load_model(method, arguments.weights, RunOptions(score_floor=0.0)), METHODS[method]
        videos, objects, results = [], [], []
        for video in data.truth["videos"]:
            source = open_video(data.sources[video["id"]])
            frames = list(source)
            source.close()
            for frame in frames[:: arguments.every]:
                alone = {**video, "id": len(videos) + 1, "length": 1}
                videos.append(alone)
                objects += _on_frame(data.truth["annotations"], video["id"], frame.index, alone["id"], len(objects))
                picture = FakeSource([replace(frame, index=0, time_s=0.0)], source.info.size_hw)
                found = run(picture, model, mode=row.modes[0], window=row.window, overlap=row.overlap, ranking=RANKING)
                results += result_entries(alone, found)
        truth = {**data.truth, "videos": videos, "annotations": objects}
        figures = score_documents(truth, results, Options(("ap",)))[0].figures()["ap"]
        rows.append([method, str(len(videos)), *(f"{figures[name]:.3f}" for name in NAMES)])
    print_block(f"single frames of {arguments.annotations.resolve().parent.name}", ["method", "frames", *NAMES], rows)


def _on_frame(
    annotations: list[dict[str, Any]], video_id: int, t: int, new_id: int, before: int
) -> Iterator[Mapping[str, Any]]:
    """The objects in sight on frame t, as those of a video of one frame."""
    kept = ("category_id", "iscrowd")
    seen = (each for each in annotations if each["video_id"] == video_id and each["segmentations"][t])
    for number, each in enumerate(seen, start=before + 1):
        own = {name: each[name] for name in kept if name in each}
        yield {**own, "id": number, "video_id": new_id, "segmentations": [each["segmentations"][t]]}


if __name__ == "__main__":
    main()
