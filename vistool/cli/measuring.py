"""How good a checkpoint is on annotated videos: AP by running it as a user would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocols import VideoModel
    from ..types import Rle, VideoPrediction
    from ..weights.checkpoint import Checkpoint

NUMBERS = ("AP", "AP50", "AP75", "AR10")


def ap_measure(path: Path, videos: int, *, method: str, device: str) -> Callable[[Checkpoint], Mapping[str, float]]:
    """Checkpoint → the benchmark's numbers on the first `videos` videos of a YTVIS file, or on all of them for 0.

    The method's own window and the benchmark's ranking are used; InputError now, not later, when the file is no good.
    """
    from ..evaluation.ytvis_ap import evaluate
    from ..methods import find_method
    from ..training.annotations import picture_files, read_json
    from ..types import RunOptions

    row = find_method(method)
    document = read_json(path)
    evaluate(document, [])  # says now what is wrong with it
    rows = sorted(document["videos"], key=lambda video: video["id"])[: videos or None]
    ids = {video["id"] for video in rows}
    truth = {
        **document,
        "videos": rows,
        "annotations": [entry for entry in document["annotations"] if entry["video_id"] in ids],
    }
    files = {video["id"]: picture_files(video, path.parent) for video in rows}

    def measure(checkpoint: Checkpoint) -> Mapping[str, float]:
        model = row.load(checkpoint, RunOptions(device=device))
        results = []
        for video in rows:
            names = files[video["id"]]
            source = names[0] if len(names) == 1 else names[0].parent
            results += _results(video, _predict(source, model, row.window, row.overlap, row.modes[0]))
        summary = evaluate(truth, results)
        return {name: float(getattr(summary, name)) for name in NUMBERS}

    return measure


def _predict(source: Path, model: VideoModel, window: int, overlap: int, mode: Any) -> VideoPrediction:
    from ..ranking import Ranking
    from ..runner import run
    from ..video import open_video

    frames = open_video(source)
    try:
        ranking = Ranking(protocol="ytvis", conf=0.0)
        return run(frames, model, mode=mode, window=window, overlap=overlap, ranking=ranking)
    finally:
        frames.close()


def _results(video: Mapping[str, Any], prediction: VideoPrediction) -> list[dict[str, Any]]:
    """The tracks as entries of a benchmark result list."""
    return [
        {
            "video_id": video["id"],
            "category_id": prediction.categories[track.label].id,
            "score": track.score,
            "segmentations": [_mask(track.masks.get(t)) for t in range(int(video["length"]))],
        }
        for track in prediction.tracks
    ]


def _mask(rle: Rle | None) -> dict[str, Any] | None:
    return None if rle is None else {"size": list(rle.size_hw), "counts": rle.counts.decode("ascii")}
