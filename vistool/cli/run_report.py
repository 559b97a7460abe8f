"""What `segment` says of a run: before it, after it, and in the records of its results."""

from __future__ import annotations

import json
import resource
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import typer

from .. import __version__
from ..methods import Mode
from ..ranking import Ranking
from ..types import RunOptions, VideoInfo
from ..weights import registry
from ..weights.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that decides a run, but for the video."""

    checkpoint: Checkpoint
    options: RunOptions
    ranking: Ranking
    mode: Mode
    window: int  # frames; 0: the whole video
    overlap: int
    classes: str | None = None  # the list that `--map-classes` asks for

    @property
    def facts(self) -> Mapping[str, object]:
        """The `info` of a result."""
        return {
            "tool": "vistool",
            "version": __version__,
            "method": self.checkpoint.info.method,
            "weights": self.checkpoint.name,
            "weights_sha256": self.checkpoint.sha256,
            "mode": self.mode,
            "window": self.window if self.mode == "offline" else None,
            "conf": self._conf,
            "precision": self.options.precision,
            "device": self.options.device,
            **self._origin,
            "command": shlex.join(["vistool", *sys.argv[1:]]),
        }

    def announce(self, video: VideoInfo, *, verbose: bool) -> None:
        """The choices that a user may not have made, on stderr."""
        info = self.checkpoint.info
        kept = "the benchmark's ranking" if self._conf is None else f"scores from {self._conf:g}"
        typer.echo(
            f"{info.method} with `{self.checkpoint.name}` on {self.options.device}, {self._way}; keeping {kept}",
            err=True,
        )
        if info.untrained:
            say(f"note: not all of the network is trained ({info.untrained})")
        if verbose:
            height, width = video.size_hw
            short_side = self.options.short_side or info.short_side
            typer.echo(f"video: {width}x{height}, {float(video.frame_rate):g} frames a second", err=True)
            typer.echo(f"network: preset {info.preset}, short side {short_side}, {self.options.precision}", err=True)
            typer.echo(f"weights: sha256 {self.checkpoint.sha256}, {info.licence}, on {info.training_data}", err=True)
            typer.echo(f"classes: {', '.join(category.name for category in info.categories)}", err=True)

    @property
    def _origin(self) -> dict[str, object]:
        """Where the weights come from and what may be done with them, as far as there is something to say."""
        info = self.checkpoint.info
        known = {"licence": info.licence, "parent": info.parent, "untrained": info.untrained, "classes": self.classes}
        return {name: value for name, value in known.items() if value}

    @property
    def _conf(self) -> float | None:
        """The threshold; None where the protocol has none."""
        return self.ranking.conf if self.ranking.protocol == "people" else None

    @property
    def _way(self) -> str:
        if self.mode == "online":
            return "frame by frame"
        if self.window == 0:
            return "the whole video at once"
        return f"windows of {self.window} frames, {self.overlap} shared"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    job: Job
    frames: int
    tracks: int
    seconds: float  # decoding, network, post-processing and writing; loading left out
    outputs: Sequence[str]

    @property
    def fps(self) -> float:
        return self.frames / self.seconds

    def as_json(self) -> str:
        """The one line that `--json` prints."""
        checkpoint = self.job.checkpoint
        return json.dumps(
            {
                "frames": self.frames,
                "seconds": round(self.seconds, 3),
                "fps": round(self.fps, 2),
                "tracks": self.tracks,
                "peak_rss_mb": round(peak_rss_mb(), 1),
                "outputs": list(self.outputs),
                "method": checkpoint.info.method,
                "weights": checkpoint.name,
                "sha256": checkpoint.sha256,
            }
        )

    def as_line(self) -> str:
        """The same for people."""
        frames, tracks = counted(self.frames, "frame"), counted(self.tracks, "track")
        told = f"{frames} in {self.seconds:.1f} s ({self.fps:.1f} a second, {peak_rss_mb():.0f} MB at most), {tracks}"
        return f"{told}: {', '.join(self.outputs)}"


def say(line: str) -> None:
    """A line for people, on stderr."""
    typer.echo(line, err=True)


def warn_of_shapes(checkpoint: Checkpoint) -> None:
    """Bundled weights have seen nothing but procedural shapes; nobody should judge a method by them unawares."""
    entry = registry.by_digest(checkpoint.sha256)
    if entry is not None and entry.source == "bundled":
        typer.echo(
            f"warning: `{entry.key}` knows procedural shapes only; for natural video give a public checkpoint by "
            "--weights (`vistool weights list`), or train your own (`vistool train`)",
            err=True,
        )


def peak_rss_mb() -> float:
    """Most memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else kibibytes
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def counted(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
