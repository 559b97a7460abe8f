"""A video with the masks drawn on it, frame by frame, in the time of its source."""

from __future__ import annotations

from ..protocols import Writer
from ..types import Frame, FramePrediction, VideoPrediction
from ..video.writing import VideoWriter
from . import Output
from .drawing import Painter


class OverlayWriter(Writer):
    """Holds one frame at a time; classes and scores are those of the moment."""

    def __init__(self, output: Output) -> None:
        assert output.path is not None
        self._painter = Painter(output.categories, output.video.size_hw, output.style)
        self._video = VideoWriter(
            output.path,
            output.video.size_hw,
            frame_rate=output.video.frame_rate,
            audio_from=output.audio_from,
            crf=output.style.crf,
            overwrite=output.overwrite,
        )

    def write_frame(self, frame: Frame, prediction: FramePrediction) -> None:
        self._video.write(self._painter.draw(frame.image, prediction), frame.time_s)

    def finish(self, result: VideoPrediction) -> None:
        self._video.finish()

    def close(self) -> None:
        self._video.close()
