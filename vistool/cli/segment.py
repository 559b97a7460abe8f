"""`vistool segment`: from a video to its tracks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UsageError
from . import options

if TYPE_CHECKING:
    from ..methods import Method, Mode
    from ..protocols import VideoModel
    from ..types import Category, RunOptions, VideoInfo
    from ..video import Damage
    from ..weights.checkpoint import Checkpoint, CheckpointInfo

NAMED_PLACES = 3  # frames at which there is damage, in its one line


def segment(
    source: options.Source,
    out: options.Outs = None,
    method: options.MethodName = "ifr",
    weights: options.Weights = None,
    format: options.Format = None,
    mode: options.ModeName = "auto",
    window: options.Window = None,
    overlap: options.Overlap = None,
    conf: options.Conf = None,
    classes: options.Classes = None,
    map_classes: options.MapClasses = None,
    max_instances: options.MaxInstances = None,
    memory_frames: options.MemoryFrames = None,
    start: options.Start = None,
    end: options.End = None,
    stride: options.Stride = 1,
    size: options.Size = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    seed: options.Seed = 0,
    protocol: options.Protocol = "people",
    tta: options.Tta = False,
    offline: options.Offline = False,
    accept_license: options.AcceptLicense = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find, follow and segment every object of a video."""
    from ..methods import find_method, weights_of

    outs = out or []
    _check_streams(outs, as_json=as_json, quiet=quiet, verbose=verbose)
    row = find_method(method)
    _check_mode(row, method, mode, window, overlap)
    _check_protocol(row, protocol, conf, tta=tta, memory_frames=memory_frames)

    from ..mapping import map_classes as mapped
    from ..ranking import Ranking
    from ..runner import run
    from ..types import CANDIDATE_SHARE, RunOptions
    from ..video import open_video
    from ..weights import Permissions, load
    from ..writers import check_outputs, open_writer
    from .progress import frame_progress
    from .run_report import Job, Outcome, say, warn_of_shapes

    check_outputs(outs, format=format, overwrite=overwrite, inputs=[source])
    with ExitStack() as stack:
        video = stack.enter_context(closing(open_video(source, start=start, end=end, stride=stride)))
        permissions = Permissions(offline, frozenset(accept_license or ()))
        checkpoint = load(weights_of(method, weights), method, row, permissions, say)
        plan = _plan(row, mode, window, overlap, checkpoint.info)
        names = _names(map_classes, checkpoint.info.categories)
        threshold = checkpoint.info.conf if conf is None else conf
        ranking = Ranking(protocol, threshold, max_instances, _labels(classes, names.categories))
        floor = 0.0 if protocol == "ytvis" else CANDIDATE_SHARE * threshold
        run_options = RunOptions(
            options.resolve_device(device),
            precision,
            size,
            score_floor=floor,
            memory_frames=memory_frames,
            tta=tta,
            seed=seed,
        )
        job = Job(checkpoint, run_options, ranking, plan.mode, plan.window, plan.overlap, map_classes)
        warn_of_shapes(checkpoint)
        if not quiet:
            job.announce(video.info, verbose=verbose)
        model = _model(row, checkpoint, run_options)
        if map_classes is not None:
            model = mapped(model, names.categories, names.rows)
        open_out = partial(
            open_writer,
            format=format,
            categories=model.categories,
            video=video.info,
            facts=job.facts,
            overwrite=overwrite,
            audio_from=Path(source) if Path(source).is_file() else None,
        )
        writers = [stack.enter_context(closing(open_out(path))) for path in outs]
        total = _frames(video.info, stride) if start is None and end is None else None
        begun = time.perf_counter()
        with frame_progress(total, shown=not quiet) as on_frame:
            result = run(
                video,
                model,
                writers,
                mode=plan.mode,
                window=plan.window,
                overlap=plan.overlap,
                ranking=ranking,
                facts=job.facts,
                on_frame=on_frame,
            )
        outcome = Outcome(job, len(result.times_s), len(result.tracks), time.perf_counter() - begun, outs)
        if as_json:
            typer.echo(outcome.as_json())
        elif not quiet:
            typer.echo(outcome.as_line(), err=True)
        _warn_of_damage(video.damage, source)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a method goes over a video."""

    mode: Mode
    window: int  # frames; 0: the whole video, and for online methods
    overlap: int


def _check_mode(row: Method, name: str, mode: str, window: int | None, overlap: int | None) -> None:
    """UsageError for what the method cannot do, whatever its weights."""
    if mode not in ("auto", *row.modes):
        raise UsageError(f"method cannot run {mode}: `{name}`", hint=_methods_that_run(mode))
    if (mode == "online" or row.modes == ("online",)) and (window is not None or overlap is not None):
        raise UsageError(
            f"--window and --overlap are for offline methods: `{name}` (it runs online)", hint="leave them out"
        )
    if row.modes != ("online",):
        _window(row, window, overlap)


def _plan(row: Method, mode: str, window: int | None, overlap: int | None, info: CheckpointInfo) -> Plan:
    """What was asked for, filled in with what suits the weights; asking for a window is asking for offline."""
    from ..methods import chosen_mode

    asked = "offline" if mode == "auto" and (window is not None or overlap is not None) else mode
    chosen = next((each for each in row.modes if each == asked), None) or chosen_mode(row, info)
    return Plan(chosen, 0, 0) if chosen == "online" else Plan(chosen, *_window(row, window, overlap))


def _window(row: Method, window: int | None, overlap: int | None) -> tuple[int, int]:
    """Frames of a window, and frames that two of them share; UsageError when they do not go together."""
    from ..windows import check

    if window is None:
        window = row.window
    if overlap is None:
        overlap = row.overlap if window == row.window else min(row.overlap, window // 2)
    check(window, overlap)
    return window, overlap


def _methods_that_run(mode: str) -> str:
    from ..methods import METHODS

    able = [name for name, row in METHODS.items() if mode in row.modes]
    return f"these can: {', '.join(able)}" if able else f"no method here runs {mode}"


def _check_protocol(row: Method, protocol: str, conf: float | None, *, tta: bool, memory_frames: int | None) -> None:
    if protocol == "ytvis" and conf is not None:
        raise UsageError("--conf has no say with --protocol ytvis", hint="leave one of them out")
    if tta and not row.tta:
        raise UsageError("--tta is not defined by this method", hint="leave it out; `vistool methods` tells which do")
    if memory_frames is not None and not row.long_memory:
        raise UsageError("--memory-frames has no say: this method has no long-term memory", hint="leave it out")


def _check_streams(outs: Sequence[str], *, as_json: bool, quiet: bool, verbose: bool) -> None:
    if not outs and not as_json:
        raise UsageError(
            "no output: neither --out nor --json was given",
            hint="for example -o tracks.json -o overlay.mp4, or --json for the numbers alone",
        )
    if as_json and "-" in outs:
        raise UsageError("--json and -o - both want standard output", hint="write the tracks to a file")
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other", hint="leave one of them out")


def _model(row: Method, checkpoint: Checkpoint, run_options: RunOptions) -> VideoModel:
    import torch

    torch.manual_seed(run_options.seed)
    return row.load(checkpoint, run_options)


@dataclass(frozen=True, slots=True)
class Names:
    """What the classes of a model are called in the result."""

    categories: tuple[Category, ...]
    rows: Mapping[int, int]  # row of the model's categories → row of these; what is not there goes unnamed


def _names(target: str | None, own: tuple[Category, ...]) -> Names:
    """Those of `--map-classes`; UsageError for an unknown list, and for one that shares no class with the model."""
    if target is None:
        return Names(own, {row: row for row in range(len(own))})
    from ..weights.categories import CATEGORY_LISTS, category_list, transfer

    if target not in CATEGORY_LISTS:
        raise UsageError(f"unknown list of classes: `{target}`", hint=f"one of: {', '.join(CATEGORY_LISTS)}")
    rows = transfer(own, target)
    if not rows:
        raise UsageError(
            f"no class of these weights is one of `{target}`", hint="leave --map-classes out to see their own names"
        )
    return Names(category_list(target), rows)


def _labels(classes: str | None, categories: Sequence[Category]) -> frozenset[int] | None:
    """Rows of `categories` that `--classes` names, by id or name however spelt; UsageError says which is nearest."""
    if classes is None:
        return None
    from ..weights.categories import plain_name

    rows = {str(category.id): row for row, category in enumerate(categories)}
    rows |= {plain_name(category.name): row for row, category in enumerate(categories)}
    asked = [name.strip() for name in classes.split(",")]
    for name in asked:
        if plain_name(name) not in rows:
            names = {plain_name(category.name): category.name for category in categories}
            near = get_close_matches(plain_name(name), names, n=1)
            hint = f"did you mean `{names[near[0]]}`?" if near else f"one of: {', '.join(names.values())}"
            raise UsageError(f"unknown class: `{name}`", hint=hint)
    return frozenset(rows[plain_name(name)] for name in asked)


def _frames(video: VideoInfo, stride: int) -> int | None:
    return None if video.frame_count is None else -(-video.frame_count // stride)


def _warn_of_damage(damage: Damage, source: str) -> None:
    """What could not be read, on stderr. What could be read is done, so it is no failure."""
    from .run_report import counted

    if damage.count:
        frames = list(dict.fromkeys(damage.positions))
        named = [*map(str, frames[:NAMED_PLACES]), *(["…"] if len(frames) > NAMED_PLACES else [])]
        told = f"{counted(damage.count, 'place')} skipped, at frames {', '.join(named)}: {damage.messages[0]}"
        typer.echo(f"warning: video is damaged: `{source}` ({told})", err=True)
