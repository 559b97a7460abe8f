"""`vistool inspect`: what is in a video, or in a result."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson
from .tables import listing

if TYPE_CHECKING:
    from ..types import VideoPrediction
    from ..video.facts import VideoFacts

RESULT_SUFFIXES = (".json", ".jsonl", ".jsonl.gz")
LISTED_PLACES = 10  # of damage, for people; JSON has the first hundred


def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Video, folder of images, quoted glob, -, or a result.")],
    as_json: AsJson = False,
) -> None:
    """Tell the facts of a video or of a result. A video is read to its end."""
    if path.lower().endswith(RESULT_SUFFIXES) and not Path(path).is_dir():
        from ..writers.reading import read_result

        result = _result_facts(read_result(path))
        typer.echo(json.dumps(result) if as_json else listing(result))
    else:
        from ..video.facts import inspect_video

        facts = inspect_video(path)
        typer.echo(json.dumps(facts.to_json()) if as_json else listing(_in_words(facts)))


def _in_words(facts: VideoFacts) -> dict[str, object]:
    """A few lines that people read; what is as usual is left out."""
    claimed = "" if facts.frames_claimed in (None, facts.frames) else f" (the header says {facts.frames_claimed})"
    turned = f"turned by {facts.rotation} degrees counter-clockwise" if facts.rotation else ""
    oddities = [
        turned,
        "mirrored" if facts.mirrored else "",
        "interlaced" if facts.interlaced else "",
        f"pixels are {facts.pixel_aspect:.3g} times as wide as high" if facts.pixel_aspect not in (0, 1) else "",
        f"{facts.sizes} sizes of frame" if facts.sizes > 1 else "",
        f"{facts.video_streams} video streams, the first is read" if facts.video_streams > 1 else "",
        f"begins at {facts.start_s:.3f} s" if facts.start_s else "",
    ]
    return {
        "name": facts.name,
        "format": f"{facts.container}: {facts.codec}, {facts.pixel_format}",
        "size": f"{facts.width}x{facts.height}",
        "frames": f"{facts.frames} counted{claimed}",
        "rate": _rate(facts),
        "duration": f"{facts.duration_s:.3f} s",
        "audio": facts.audio,
        "to know": [oddity for oddity in oddities if oddity],
        "damage": _damage(facts),
    }


def _rate(facts: VideoFacts) -> str:
    nominal = f"{facts.frame_rate:.3f} frames/s"
    if not facts.variable_rate or facts.shortest_frame_s is None or facts.longest_frame_s is None:
        return nominal
    return f"{nominal}, variable: {facts.shortest_frame_s * 1000:.0f} to {facts.longest_frame_s * 1000:.0f} ms a frame"


def _damage(facts: VideoFacts) -> str:
    damage = facts.damage
    if not damage.count:
        return "none"
    told = zip(damage.positions, damage.messages, strict=True)
    places = list(dict.fromkeys(f"frame {position} {message}" for position, message in told))
    more = ["…"] if len(places) > LISTED_PLACES else []
    return f"{damage.count} places: {'; '.join([*places[:LISTED_PLACES], *more])}"


def _result_facts(result: VideoPrediction) -> dict[str, object]:
    video = result.video
    names = Counter(result.categories[track.label].name for track in result.tracks)
    return {
        "video": video.name,
        "width": video.size_hw[1],
        "height": video.size_hw[0],
        "frame_rate": float(video.frame_rate),
        "frames": len(result.times_s),
        "last_frame_s": max(result.times_s.values(), default=0.0),
        "tracks": len(result.tracks),
        "masks": sum(len(track.masks) for track in result.tracks),
        "tracks_by_category": dict(sorted(names.items())),
        **{name: value for name, value in result.facts.items() if value is not None},
    }
