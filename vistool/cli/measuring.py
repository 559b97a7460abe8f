"""How good a checkpoint is on annotated videos: AP by running it as a user would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..methods import Mode
    from ..protocols import VideoModel
    from ..types import Rle, VideoPrediction
    from ..weights.checkpoint import Checkpoint

NUMBERS = ("AP", "AP50", "AP75", "AR10")


@dataclass(frozen=True, slots=True)
class AnnotatedVideos:
    """A YTVIS document and the pictures of its videos."""

    truth: Mapping[str, Any]
    sources: Mapping[int, Path]  # by video id, what `open_video` takes


def annotated_videos(path: Path, videos: int) -> AnnotatedVideos:
    """The first `videos` videos of a YTVIS file, or all of them for 0; InputError when the file is no good."""
    from ..evaluation.documents import score_documents
    from ..training.annotations import picture_files, read_json

    document = read_json(path)
    score_documents(document, [])  # says now what is wrong with it
    rows = sorted(document["videos"], key=lambda video: video["id"])[: videos or None]
    ids = {video["id"] for video in rows}
    annotations = [entry for entry in document["annotations"] if entry["video_id"] in ids]
    sources = {}
    for video in rows:
        names = picture_files(video, path.parent)
        sources[video["id"]] = names[0] if len(names) == 1 else names[0].parent
    return AnnotatedVideos({**document, "videos": rows, "annotations": annotations}, sources)


def predictions(
    data: AnnotatedVideos,
    checkpoint: Checkpoint,
    *,
    method: str,
    device: str,
    mode: Mode | None = None,
    windows: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """The result list of a method, ranked for the benchmark; `mode` and `windows` (length, overlap) None: its own."""
    from ..methods import find_method
    from ..types import RunOptions

    row = find_method(method)
    model = row.load(checkpoint, RunOptions(device=device, score_floor=0.0))
    window, overlap = windows or (row.window, row.overlap)
    results = []
    for video in data.truth["videos"]:
        prediction = _predict(data.sources[video["id"]], model, window, overlap, mode or row.modes[0])
        results += result_entries(video, prediction)
    return results


def ap_measure(path: Path, videos: int, *, method: str, device: str) -> Callable[[Checkpoint], Mapping[str, float]]:
    """Checkpoint → the benchmark's numbers on annotated videos; InputError now, not later, when they are no good."""
    from ..evaluation.documents import score_documents

    data = annotated_videos(path, videos)

    def measure(checkpoint: Checkpoint) -> Mapping[str, float]:
        scores, _ = score_documents(data.truth, predictions(data, checkpoint, method=method, device=device))
        figures = scores.figures()["ap"]
        return {name: figures[name] for name in NUMBERS}

    return measure


def _predict(source: Path, model: VideoModel, window: int, overlap: int, mode: Mode) -> VideoPrediction:
    from ..ranking import Ranking
    from ..runner import run
    from ..video import open_video

    frames = open_video(source)
    try:
        ranking = Ranking(protocol="ytvis", conf=0.0)
        return run(frames, model, mode=mode, window=window, overlap=overlap, ranking=ranking)
    finally:
        frames.close()


def result_entries(video: Mapping[str, Any], prediction: VideoPrediction) -> list[dict[str, Any]]:
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


def result_document(prediction: VideoPrediction) -> dict[str, Any]:
    """The prediction in the layout of a `.json` result, as far as an evaluation asks for it."""
    video = {
        "id": 1,
        "file_name": prediction.video.name,
        "height": prediction.video.size_hw[0],
        "width": prediction.video.size_hw[1],
        "length": prediction.length,
    }
    return {
        "videos": [video],
        "categories": [{"id": category.id, "name": category.name} for category in prediction.categories],
        "annotations": result_entries(video, prediction),
    }


def _mask(rle: Rle | None) -> dict[str, Any] | None:
    return None if rle is None else {"size": list(rle.size_hw), "counts": rle.counts.decode("ascii")}
