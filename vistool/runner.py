"""Drives a model over a video. Knows frames, predictions and writers; knows no file format, no method and no device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import repeat
from types import MappingProxyType
from typing import Literal

import numpy as np

from . import masks, windows
from .errors import InputError, UsageError
from .protocols import FrameSource, OnlineTracker, VideoModel, Writer
from .ranking import Ranking, Standings, class_vector, rank, rank_frame
from .types import Frame, FramePrediction, VideoPrediction
from .windows import Step

_NO_FACTS: Mapping[str, object] = MappingProxyType({})


def run(
    source: FrameSource,
    model: VideoModel,
    writers: Sequence[Writer] = (),
    *,
    mode: Literal["online", "offline"],
    window: int,
    overlap: int,
    ranking: Ranking,
    facts: Mapping[str, object] = _NO_FACTS,
    on_frame: Callable[[Frame], None] | None = None,
) -> VideoPrediction:
    """Segment a video, hand every frame to the writers as soon as it is settled, and publish their outputs.

    `window` and `overlap` are for offline models (`windows.settle`); `on_frame` hears of each frame after the writers.
    Whatever happens, the writers are closed and drop what they have not published, and nothing is published before the
    last frame. A writer that cannot publish does not keep the others from it; its error is raised afterwards. The
    source stays the caller's to close. InputError when it has no frames.
    """
    with ExitStack() as closing:
        for writer in writers:
            closing.callback(writer.close)

        standings = Standings(len(model.categories))
        times_s: dict[int, float] = {}
        for step in _steps(source, model, mode, window, overlap):
            for track_id, class_scores in step.opinions:
                standings.judge(track_id, class_scores)
            for track_id, mask in step.masks.items():
                standings.see(track_id, step.frame.index, mask)
            times_s[step.frame.index] = step.frame.time_s
            prediction = _frame_prediction(step, standings, ranking)
            for writer in writers:
                writer.write_frame(step.frame, prediction)
            if on_frame is not None:
                on_frame(step.frame)
            del step  # so that its pixels are gone while the next ones are made
        if not times_s:
            raise InputError(
                f"no frames in video: `{source.info.name}` (nothing could be decoded in the part asked for)",
                hint="check the file with `vistool inspect`, and --start and --end",
            )

        tracks = rank(standings.tracks(), ranking)
        result = VideoPrediction(source.info, model.categories, tracks, times_s, facts)
        with ExitStack() as publishing:
            for writer in reversed(writers):
                publishing.callback(writer.finish, result)
    return result


def _steps(
    source: FrameSource, model: VideoModel, mode: Literal["online", "offline"], window: int, overlap: int
) -> Iterator[Step]:
    """The frames of the source, settled, by the loop that `mode` names."""
    if mode == "online":
        if not hasattr(model, "begin"):
            raise UsageError("this model cannot run online: it sees several frames at once", hint="use --mode offline")
        return _online_steps(source, model.begin(source.info), len(model.categories))
    if not hasattr(model, "segment"):
        raise UsageError("this model cannot run offline: it follows objects frame by frame", hint="use --mode online")
    video = source.info
    return windows.settle(
        source,
        lambda frames: model.segment(video, frames),
        window=window,
        overlap=overlap,
        classes=len(model.categories),
    )


def _online_steps(source: FrameSource, tracker: OnlineTracker, classes: int) -> Iterator[Step]:
    for frame in source:
        found = tracker.step(frame)
        ids: list[int] = found.track_ids.tolist()
        visible = {track_id: mask for track_id, mask in zip(ids, found.masks, strict=True) if masks.area(mask)}
        known = repeat(None) if found.class_scores is None else found.class_scores
        rows = zip(ids, found.labels.tolist(), found.scores.tolist(), known, strict=False)
        yield Step(frame, visible, [(track_id, class_vector(classes, *row)) for track_id, *row in rows])


def _frame_prediction(step: Step, standings: Standings, ranking: Ranking) -> FramePrediction:
    """What the tracks on one frame look like now, as far as the ranking keeps them."""
    shown = rank_frame([standings.track(track_id) for track_id in step.masks], ranking)
    classes = [track.class_scores for track in shown]
    return FramePrediction(
        frame_index=step.frame.index,
        track_ids=np.array([track.id for track in shown], np.int64),
        labels=np.array([track.label for track in shown], np.int64),
        scores=np.array([track.score for track in shown], np.float32),
        masks=tuple(step.masks[track.id] for track in shown),
        class_scores=np.array(classes, np.float32) if classes else None,
    )
