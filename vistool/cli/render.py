"""`vistool render`: an overlay of a finished result, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..writers.style import StyleKind
from .options import Overwrite
from .progress import frame_progress

if TYPE_CHECKING:
    from ..protocols import FrameSource, Writer
    from ..types import FramePrediction, Rle, Track, VideoPrediction
    from .progress import OnFrame


def render(
    video: Annotated[str, typer.Argument(help="The video that the result was made from.")],
    result: Annotated[Path, typer.Argument(help="Its tracks: .json, .jsonl or .jsonl.gz.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The overlay to write: .mp4 or .mkv.")],
    style: Annotated[
        StyleKind, typer.Option("--style", help="fill: tint, outline and label. id: outline and number.")
    ] = "fill",
    alpha: Annotated[float, typer.Option("--alpha", min=0.0, max=1.0, help="Opacity of the tint.")] = 0.45,
    ids: Annotated[str | None, typer.Option("--ids", metavar="A,B", help="Draw these tracks only.")] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="T", help="Seconds, HH:MM:SS.mmm, or a frame as 123f.")
    ] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="T", help="Like --start; not included.")] = None,
    audio: Annotated[Literal["copy", "none"], typer.Option("--audio", help="Take the sound along, or not.")] = "copy",
    crf: Annotated[int, typer.Option("--crf", min=0, max=51, help="H.264 quality; lower is better and larger.")] = 20,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")] = False,
) -> None:
    """Draw the tracks of a result on its video. Frames that the result did not look at are left out."""
    from contextlib import closing

    from ..errors import UsageError
    from ..video import open_video
    from ..writers import check_outputs, open_writer, resolve_format
    from ..writers.reading import read_result
    from ..writers.style import OverlayStyle

    if resolve_format(out)[0] != "overlay":
        raise UsageError(f"an overlay is a video: `{out}` (its suffix says otherwise)", hint="use .mp4 or .mkv")
    check_outputs([out], overwrite=overwrite, inputs=[video, result])
    prediction = read_result(result)
    overlay_style = OverlayStyle(style, alpha, _chosen(ids, prediction), crf)
    with closing(open_video(video, start=start, end=end)) as source:
        _check_sizes(source, prediction, video, result)
        writer = open_writer(
            out,
            categories=prediction.categories,
            video=source.info,
            facts=prediction.facts,
            overwrite=overwrite,
            audio_from=Path(video) if audio == "copy" and Path(video).is_file() else None,
            style=overlay_style,
        )
        with closing(writer), frame_progress(len(prediction.times_s), shown=not quiet) as on_frame:
            seen = _draw(source, prediction, writer, on_frame)
            _check_extent(seen, prediction, video, whole=end is None)
            writer.finish(prediction)
    if not quiet:
        drawn = sum(index in prediction.times_s for index in seen)
        left_out = len(seen) - drawn
        note = f"; {left_out} that the result did not look at left out" if left_out else ""
        typer.echo(f"wrote {out} ({drawn} frames{note})", err=True)


def _chosen(ids: str | None, prediction: VideoPrediction) -> frozenset[int] | None:
    """The tracks that `--ids` names; UsageError for one that the result does not have."""
    from ..errors import UsageError

    if ids is None:
        return None
    try:
        chosen = frozenset(int(part) for part in ids.split(","))
    except ValueError as error:
        raise UsageError(f"--ids is not a list of track ids: `{ids}`", hint="for example --ids 3,7") from error
    known = {track.id for track in prediction.tracks}
    if missing := sorted(chosen - known):
        raise UsageError(
            f"no such track in the result: {', '.join(map(str, missing))}",
            hint=f"it has {', '.join(map(str, sorted(known))) or 'none'}",
        )
    return chosen


def _check_sizes(source: FrameSource, prediction: VideoPrediction, video: str, result: Path) -> None:
    from ..errors import InputError

    (height, width), (result_height, result_width) = source.info.size_hw, prediction.video.size_hw
    if (height, width) != (result_height, result_width):
        raise InputError(
            f"result is of another video: `{result}` (it is {result_width}x{result_height}, "
            f"`{video}` is {width}x{height})",
            hint="give the video that the result was made from",
        )


def _draw(source: FrameSource, prediction: VideoPrediction, writer: Writer, on_frame: OnFrame | None) -> list[int]:
    """Write the frames that the result looked at; the indices of all frames that came by."""
    visible: dict[int, list[tuple[Track, Rle]]] = {}
    for track in prediction.tracks:
        for index, rle in track.masks.items():
            visible.setdefault(index, []).append((track, rle))
    seen = []
    for frame in source:
        seen.append(frame.index)
        if frame.index in prediction.times_s:
            writer.write_frame(frame, _frame_prediction(frame.index, visible.get(frame.index, [])))
            if on_frame is not None:
                on_frame(frame)
    return seen


def _frame_prediction(index: int, visible: list[tuple[Track, Rle]]) -> FramePrediction:
    import numpy as np

    from ..types import FramePrediction

    return FramePrediction(
        frame_index=index,
        track_ids=np.array([track.id for track, _ in visible], np.int64),
        labels=np.array([track.label for track, _ in visible], np.int64),
        scores=np.array([track.score for track, _ in visible], np.float32),
        masks=tuple(rle for _, rle in visible),
    )


def _check_extent(seen: list[int], prediction: VideoPrediction, video: str, *, whole: bool) -> None:
    """Refuse what cannot be the video of the result, or the part of it that was asked for."""
    from ..errors import InputError

    if not any(index in prediction.times_s for index in seen):
        raise InputError(
            f"the result looked at no frame of this part: `{video}`", hint="check --start and --end, and the video"
        )
    if whole and seen[-1] < prediction.length - 1:
        raise InputError(
            f"video is shorter than its result: `{video}` "
            f"(it ends at frame {seen[-1]}, the result at {prediction.length - 1})",
            hint="give the video that the result was made from",
        )
