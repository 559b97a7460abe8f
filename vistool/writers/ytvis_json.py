"""Tracks in YTVIS layout: the full file, and the bare list that benchmark servers take. Written when all is known."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .. import masks
from ..protocols import Writer
from ..types import Category, Frame, FramePrediction, Rle, Track, VideoInfo, VideoPrediction
from . import Output
from .publishing import PartialFile

VIDEO_ID = 1


class YtvisWriter(Writer):
    """`{"info", "videos", "categories", "annotations"}`, one annotation a line."""

    def __init__(self, output: Output) -> None:
        assert output.path is not None
        self._output = output
        self._file = PartialFile(output.path)

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        """Nothing: which tracks remain is known at the end."""

    def finish(self, result: VideoPrediction) -> None:
        times = [result.times_s.get(index) for index in range(result.length)]
        video = {**video_record(result.video, result.length), "times": times}
        self._file.write(f'{{"info": {dump({**self._output.facts, **result.facts})},\n"videos": [{dump(video)}],\n')
        self._file.write(f'"categories": {dump(category_records(result.categories))},\n"annotations": [')
        for number, track in enumerate(result.tracks):
            self._file.write((",\n" if number else "\n") + dump(_annotation(track, result)))
        self._file.write("\n]}\n")
        self._file.publish()

    def close(self) -> None:
        self._file.discard()


class YtvisResultsWriter(Writer):
    """`[{"video_id", "category_id", "score", "segmentations"}]`, one entry a ranked track and line."""

    def __init__(self, output: Output) -> None:
        assert output.path is not None
        self._file = PartialFile(output.path)

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        """Nothing: which tracks remain is known at the end."""

    def finish(self, result: VideoPrediction) -> None:
        self._file.write("[")
        for number, track in enumerate(result.tracks):
            entry = {
                "video_id": VIDEO_ID,
                "category_id": result.categories[track.label].id,
                "score": track.score,
                "segmentations": [None if rle is None else masks.to_json(rle) for rle in _mask_list(track, result)],
            }
            self._file.write((",\n" if number else "\n") + dump(entry))
        self._file.write("\n]\n")
        self._file.publish()

    def close(self) -> None:
        self._file.discard()


def dump(value: object) -> str:
    """Compact JSON; ValueError for NaN, which JSON does not have."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def video_record(video: VideoInfo, length: int | None) -> dict[str, object]:
    """What our formats say of a video, but for its times."""
    height, width = video.size_hw
    return {
        "id": VIDEO_ID,
        "file_name": video.name,
        "width": width,
        "height": height,
        "length": length,
        "fps": float(video.frame_rate),
        "rotation": video.rotation,
    }


def category_records(categories: tuple[Category, ...]) -> list[dict[str, object]]:
    return [{"id": category.id, "name": category.name} for category in categories]


def _annotation(track: Track, result: VideoPrediction) -> dict[str, object]:
    height, width = result.video.size_hw
    rles = list(_mask_list(track, result))
    return {
        "id": track.id,
        "video_id": VIDEO_ID,
        "category_id": result.categories[track.label].id,
        "score": track.score,
        "segmentations": [None if rle is None else masks.to_json(rle) for rle in rles],
        "bboxes": [None if rle is None else masks.box_xywh(rle) for rle in rles],
        "areas": [None if rle is None else masks.area(rle) for rle in rles],
        "iscrowd": 0,
        "width": width,
        "height": height,
        "length": result.length,
    }


def _mask_list(track: Track, result: VideoPrediction) -> Iterator[Rle | None]:
    """The track's mask on every frame of the source; a mask without a pixel is a gap."""
    for index in range(result.length):
        rle = track.masks.get(index)
        yield rle if rle is not None and masks.area(rle) else None
