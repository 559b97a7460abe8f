"""One JSON line a frame, as it happens: a header, the frames, and an end line that names the tracks that count."""

from __future__ import annotations

from .. import masks
from ..protocols import Writer
from ..types import Category, Frame, FramePrediction, VideoPrediction
from . import Output
from .publishing import PartialFile, Sink, StandardOutput
from .ytvis_json import category_records, dump, video_record

_SCORE_DIGITS = 6  # scores of frames are float32


class JsonLinesWriter(Writer):
    """Each line is handed to the system as soon as it is complete, so that a crash costs one line at most.

    Frame lines say what was known at that moment; the end line has the final class and score of each kept track.
    """

    def __init__(self, output: Output) -> None:
        self._categories = output.categories
        self._frames = 0
        self._sink: Sink = StandardOutput() if output.path is None else PartialFile(output.path)
        header = {
            **output.facts,
            "type": "header",
            "video": video_record(output.video, output.video.frame_count),
            "categories": category_records(output.categories),
        }
        self._write_line({"type": header.pop("type"), **header})

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        instances = _instances(prediction, self._categories)
        self._write_line({"type": "frame", "index": frame.index, "time": frame.time_s, "instances": instances})
        self._frames += 1

    def finish(self, result: VideoPrediction) -> None:
        tracks = [
            {"track_id": track.id, "category_id": result.categories[track.label].id, "score": track.score}
            for track in result.tracks
        ]
        self._write_line({"type": "end", "frames": self._frames, "tracks": tracks})
        self._sink.publish()

    def close(self) -> None:
        self._sink.discard()

    def _write_line(self, record: dict[str, object]) -> None:
        self._sink.write(dump(record) + "\n")


def _instances(prediction: FramePrediction, categories: tuple[Category, ...]) -> list[dict[str, object]]:
    """One record an instance; a mask without a pixel is a gap."""
    rows = zip(
        prediction.track_ids.tolist(),
        prediction.labels.tolist(),
        prediction.scores.tolist(),
        prediction.masks,
        strict=True,
    )
    return [
        {
            "track_id": track_id,
            "category_id": categories[label].id,
            "score": round(score, _SCORE_DIGITS),
            "bbox": masks.box_xywh(rle),
            "segmentation": masks.to_json(rle),
        }
        for track_id, label, score, rle in rows
        if masks.area(rle)
    ]
