"""What RefineVIS makes of missed objects: a share of its detections is taken away, and it is asked where they were.

The image model looks at every frame once; which detections are lost depends on the seed alone, so all rows of the table
see the same ones. An object whose detection was lost counts as recovered where a mask told on that frame overlaps it by
half. Intervals are over videos.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from block import print_block
from numpy.typing import NDArray

from vistool import masks
from vistool.cli.measuring import AnnotatedVideos, annotated_videos, result_entries
from vistool.evaluation.documents import score_documents
from vistool.evaluation.intervals import differences, intervals
from vistool.evaluation.scoring import Options, Scores
from vistool.methods import METHODS
from vistool.methods.frame_masks import frame_masks
from vistool.methods.refinevis.detections import Detections, FrameReader, ReadFrame
from vistool.methods.refinevis.inference import RefineVisModel, build
from vistool.methods.refinevis.network import RefineVis
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.types import Frame, Rle, RunOptions, VideoPrediction
from vistool.video import open_video
from vistool.weights import load

Missing = Literal["null", "hold", "refine"]
Mode = Literal["online", "offline"]
HIT = 0.5
OPTIONS = RunOptions(score_floor=0.0)
RANKING = Ranking(protocol="ytvis", conf=0.0)


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table."""

    mode: Mode
    window: int
    missing: Missing


@dataclass(eq=False, slots=True)
class Forgetful:
    """Detections of one video, without those that are lost."""

    network: RefineVis
    read: ReadFrame
    share: float
    seed: tuple[int, int]
    kept: dict[int, Detections] = field(default_factory=dict)
    lost: dict[int, list[Rle]] = field(default_factory=dict)

    def __call__(self, frame: Frame) -> Detections:
        if frame.index not in self.kept:
            seen = self.read(frame)
            gone = np.random.default_rng([*self.seed, frame.index]).random(len(seen.scores)) < self.share
            self.kept[frame.index] = _rows(seen, ~gone)
            self.lost[frame.index] = self._masks(seen, gone)
        return self.kept[frame.index]

    def _masks(self, seen: Detections, rows: NDArray[np.bool_]) -> list[Rle]:
        chosen = torch.from_numpy(rows)
        logits = self.network.image.masks(seen.embeddings[chosen], seen.pixels, seen.references[chosen])
        return [rle for rle in frame_masks(logits, seen.letterbox) if rle is not None]


def _rows(seen: Detections, rows: NDArray[np.bool_]) -> Detections:
    chosen = torch.from_numpy(rows)
    return replace(
        seen,
        embeddings=seen.embeddings[chosen],
        references=seen.references[chosen],
        centres=seen.centres[chosen],
        scores=seen.scores[rows],
        looks=seen.looks[rows],
        overlaps=seen.overlaps[rows][:, rows],
    )


@dataclass(slots=True)
class Found:
    """What one setting gave."""

    results: list[dict[str, Any]] = field(default_factory=list)
    hits: list[tuple[int, int]] = field(default_factory=list)  # a video each: recovered, lost


def main() -> None:
    """Print one row a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, help="YTVIS JSON beside its videos")
    parser.add_argument("--weights", default=METHODS["refinevis"].default_weights, help="key or path")
    parser.add_argument("--share", type=float, default=0.2, help="of the detections that are lost")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--windows", type=int, nargs="+", default=[2, 4, 10, 20])
    parser.add_argument("--modes", nargs="+", default=["online", "offline"])
    parser.add_argument("--draws", type=int, default=1000, help="of the videos, for 95 %% intervals")
    arguments = parser.parse_args()
    checkpoint = load(arguments.weights, "refinevis", METHODS["refinevis"])
    data = annotated_videos(arguments.annotations, 0)
    settings = [Setting(mode, 0, "null") for mode in arguments.modes[:1]]
    choices: tuple[Missing, ...] = ("null", "hold", "refine")
    settings += [Setting(mode, w, each) for mode in arguments.modes for w in arguments.windows for each in choices]
    network = build(checkpoint)
    found = {setting: Found() for setting in settings}
    for video in data.truth["videos"]:
        read = Forgetful(network, FrameReader(network, checkpoint.info, OPTIONS), arguments.share,
                         (arguments.seed, int(video["id"])))  # fmt: skip
        for setting, prediction in _predictions(data.sources[video["id"]], settings, checkpoint.info, network, read):
            found[setting].results += result_entries(video, prediction)
            found[setting].hits.append(_recovered(prediction, read.lost, _truth(data, video)))
    _table(arguments, data, found)


def _predictions(
    source: Path, settings: Iterable[Setting], info: Any, network: RefineVis, read: ReadFrame
) -> Iterator[tuple[Setting, VideoPrediction]]:
    """One video under every setting."""
    own = network.preset
    for setting in settings:
        network.preset = replace(own, window=setting.window, missing=setting.missing)
        frames = open_video(source)
        try:
            model = RefineVisModel(network, info, OPTIONS, read)
            window = max(1, setting.window)
            yield setting, run(frames, model, mode=setting.mode, window=window, overlap=0, ranking=RANKING)
        finally:
            frames.close()
            network.preset = own


def _truth(data: AnnotatedVideos, video: Mapping[str, Any]) -> dict[int, list[Rle]]:
    """Masks of the objects in sight, by frame."""
    size_hw = (int(video["height"]), int(video["width"]))
    planes: dict[int, list[Rle]] = {}
    for entry in data.truth["annotations"]:
        if entry["video_id"] == video["id"]:
            for t, segmentation in enumerate(entry["segmentations"]):
                if segmentation:
                    planes.setdefault(t, []).append(masks.from_json(segmentation, size_hw))
    return planes


def _recovered(
    prediction: VideoPrediction, lost: Mapping[int, list[Rle]], truth: Mapping[int, list[Rle]]
) -> tuple[int, int]:
    """Objects whose detection was lost, and how many of them are told all the same: (told, lost)."""
    told_count = lost_count = 0
    for t, gone in lost.items():
        objects = truth.get(t, [])
        missed = [one for one, hit in zip(objects, _hit(objects, gone), strict=True) if hit]
        told = [track.masks[t] for track in prediction.tracks if t in track.masks]
        told_count += int(_hit(missed, told).sum())
        lost_count += len(missed)
    return told_count, lost_count


def _hit(objects: list[Rle], by: list[Rle]) -> NDArray[np.bool_]:
    if not objects or not by:
        return np.zeros(len(objects), np.bool_)
    return np.asarray(masks.iou_matrix(objects, by).max(1) >= HIT)


def _table(arguments: argparse.Namespace, data: AnnotatedVideos, found: Mapping[Setting, Found]) -> None:
    options = Options(("ap",))
    scores = {setting: score_documents(data.truth, each.results, options)[0] for setting, each in found.items()}
    plain = next(each for setting, each in scores.items() if setting.window == 0)
    rows = []
    for setting, each in found.items():
        name = ("either", "0", "") if setting.window == 0 else (setting.mode, str(setting.window), setting.missing)
        rows.append([*name, *_ap(scores[setting], plain, arguments.draws), _recall(each.hits, arguments.draws)])
    lost = sum(count for _, count in next(iter(found.values())).hits)
    title = f"{data_name(arguments.annotations)}, {arguments.share:.0%} of detections lost, {lost} objects with them"
    print_block(title, ["mode", "W", "missing", "AP", "AP - AP(W = 0)", "recall of the lost"], rows)


def data_name(annotations: Path) -> str:
    return annotations.resolve().parent.name


def _ap(scores: Scores, plain: Scores, draws: int) -> tuple[str, str]:
    value, spread = scores.figures()["ap"]["AP"], intervals(scores, draws, seed=0)["ap"]["AP"]
    more, ends = differences(plain, scores, draws, seed=0)
    return _cell(value, spread), _cell(more["ap"]["AP"], ends["ap"]["AP"], "+.3f")


def _recall(hits: list[tuple[int, int]], draws: int) -> str:
    counts = np.array(hits, np.float64)
    if not counts[:, 1].any():
        return "none lost"
    drawn = np.random.default_rng(0).integers(0, len(hits), (draws, len(hits)))
    sums = counts[drawn].sum(1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return _cell(float(counts[:, 0].sum() / counts[:, 1].sum()), (float(low), float(high)))


def _cell(value: float, ends: tuple[float, float], form: str = ".3f") -> str:
    return f"{value:{form}} ({ends[0]:{form}} to {ends[1]:{form}})"


if __name__ == "__main__":
    with torch.inference_mode():
        main()
