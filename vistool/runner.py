"""Drives a model over a video. Knows frames, predictions and writers; knows no file format, no method and no device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, repeat
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import masks, windows
from .errors import InputError, UsageError
from .protocols import ClipTracker, FrameSource, OnlineTracker, VideoModel, Withdrawing, Writer
from .ranking import Ranking, Standings, class_vector, rank, rank_frame
from .types import Frame, FramePrediction, Rle, VideoPrediction
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

    `window` and `overlap` are for offline models: `windows.settle` joins what they see; one that follows objects from
    clip to clip itself has no overlap. `on_frame` hears of each frame after the writers. A track that its tracker
    withdraws at the end was streamed, but is no part of the result.

    Whatever happens, the writers are closed and drop what they have not published, and nothing is published before the
    last frame. A writer that cannot publish does not keep the others from it; its error is raised afterwards. The
    source stays the caller's to close. InputError when it has no frames.
    """
    with ExitStack() as closing:
        for writer in writers:
            closing.callback(writer.close)

        standings = Standings(len(model.categories))
        times_s: dict[int, float] = {}
        passage = _passage(source, model, mode, window, overlap)
        for step in passage.steps:
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

        gone = frozenset(passage.withdrawn())
        tracks = rank([replace(t, masks={}) if t.id in gone else t for t in standings.tracks()], ranking)
        result = VideoPrediction(source.info, model.categories, tracks, times_s, facts)
        with ExitStack() as publishing:
            for writer in reversed(writers):
                publishing.callback(writer.finish, result)
    return result


@dataclass(frozen=True, slots=True)
class _Passage:
    """One way through the frames of a video."""

    steps: Iterator[Step]  # the frames, settled
    withdrawn: Callable[[], Collection[int]]  # ids, known after the last step


def _passage(
    source: FrameSource, model: VideoModel, mode: Literal["online", "offline"], window: int, overlap: int
) -> _Passage:
    """The loop that `mode` names, in the way that the model knows; UsageError when it knows none."""
    video, classes = source.info, len(model.categories)
    if mode == "online":
        if not hasattr(model, "begin"):
            raise UsageError("this model cannot run online: it sees several frames at once", hint="use --mode offline")
        tracker = model.begin(video)
        return _Passage(_online_steps(source, tracker, classes), _second_thoughts(tracker))
    if hasattr(model, "segment"):
        segment = partial(model.segment, video)
        return _Passage(windows.settle(source, segment, window=window, overlap=overlap, classes=classes), tuple)
    if hasattr(model, "begin_clips"):
        _check_clips(window, overlap)
        clips = model.begin_clips(video, window)
        return _Passage(_clip_steps(source, clips, window, classes), _second_thoughts(clips))
    raise UsageError("this model cannot run offline: it follows objects frame by frame", hint="use --mode online")


def _second_thoughts(tracker: object) -> Callable[[], Collection[int]]:
    return tracker.withdrawn if isinstance(tracker, Withdrawing) else tuple


def _check_clips(window: int, overlap: int) -> None:
    windows.check(window, overlap)
    if overlap:
        raise UsageError(f"clips of this model share no frames: `{overlap}`", hint="use --overlap 0, or leave it out")


def _online_steps(source: FrameSource, tracker: OnlineTracker, classes: int) -> Iterator[Step]:
    for frame in source:
        found = tracker.step(frame)
        yield Step(frame, _visible(found), _opinions(found, classes))


def _clip_steps(source: FrameSource, tracker: ClipTracker, window: int, classes: int) -> Iterator[Step]:
    """What a clip says of its tracks is known from its first frame on."""
    frames = iter(source)
    while clip := deque(islice(frames, window or None)):
        predictions = tracker.segment(tuple(clip))
        opinions = [opinion for found in predictions for opinion in _opinions(found, classes)]
        for found in predictions:
            yield Step(clip.popleft(), _visible(found), opinions)
            opinions = []


def _visible(found: FramePrediction) -> dict[int, Rle]:
    """Masks by track id, those without a pixel left out."""
    rows = zip(found.track_ids.tolist(), found.masks, strict=True)
    return {track_id: mask for track_id, mask in rows if masks.area(mask)}


def _opinions(found: FramePrediction, classes: int) -> list[tuple[int, NDArray[np.float64]]]:
    """What the rows that count say of the class of their tracks."""
    known = repeat(None) if found.class_scores is None else found.class_scores
    counts = repeat(True) if found.judged is None else found.judged
    rows = zip(counts, found.track_ids.tolist(), found.labels.tolist(), found.scores.tolist(), known, strict=False)
    return [(track_id, class_vector(classes, *row)) for counted, track_id, *row in rows if counted]


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
