"""`vistool train`: from annotated videos to a checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import AcceptLicense, Device, MethodName, Offline, resolve_device

if TYPE_CHECKING:
    from ..weights import Permissions
    from ..weights.checkpoint import Checkpoint


def train(
    method: MethodName,
    data: Annotated[Path, typer.Option("--data", help="YTVIS JSON of videos, or COCO JSON of images, beside them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder: log, curve, state, best and last checkpoint.")],
    val: Annotated[
        Path | None, typer.Option("--val", help="YTVIS JSON of the videos whose AP decides which weights are best.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", help="Like --weights of `segment`: the checkpoint to start from; default: fresh weights."
        ),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Sizes of the network, by name.")] = "tiny",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in the run folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again in a run folder that is in use.")] = False,
    device: Device = "auto",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option("--precision", help="bf16: mixed precision, float32 weights.")
    ] = "fp32",
    seed: Annotated[int, typer.Option("--seed", help="Decides fresh weights, clips and sampled points.")] = 0,
    max_steps: Annotated[int, typer.Option("--max-steps", help="Updates in the whole run.")] = 4000,
    batch: Annotated[int, typer.Option("--batch", help="Clips an update, over all processes.")] = 12,
    clip_frames: Annotated[int, typer.Option("--clip-frames", help="Frames a clip; 1 trains on stills.")] = 1,
    clip_range: Annotated[
        int, typer.Option("--clip-range", help="Most frames between a clip's frames and its middle one.")
    ] = 10,
    clip_gap: Annotated[
        int | None,
        typer.Option("--clip-gap", help="Most frames from one of a clip to its next, instead of --clip-range."),
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="HxW", help="Pixels that the network sees.")] = "96x160",
    scale_min: Annotated[float, typer.Option("--scale-min", help="Least size; at 1 the picture just fits.")] = 0.8,
    scale_max: Annotated[float, typer.Option("--scale-max", help="Greatest size; above 1 it is cropped.")] = 1.5,
    scale_draw: Annotated[
        Literal["log", "linear"],
        typer.Option("--scale-draw", help="Sizes are drawn evenly in their logarithm, or as they are."),
    ] = "log",
    flip: Annotated[float, typer.Option("--flip", help="Probability that a clip is mirrored.")] = 0.5,
    colour: Annotated[float, typer.Option("--colour", help="Strength of colour jitter; 0: none.")] = 0.0,
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate.")] = 1e-3,
    backbone_lr: Annotated[float, typer.Option("--backbone-lr", help="Factor of --lr for the backbone.")] = 1.0,
    freeze: Annotated[
        str, typer.Option("--freeze", metavar="A,B", help="Parts of the network that stay as they are.")
    ] = "",
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Of matrices and kernels only.")] = 0.05,
    schedule: Annotated[
        Literal["cosine", "steps", "poly"], typer.Option("--schedule", help="How the rate falls after the warm-up.")
    ] = "cosine",
    warmup: Annotated[int, typer.Option("--warmup", help="Steps of linear rise.")] = 200,
    milestones: Annotated[
        str, typer.Option("--milestones", metavar="A,B", help="Steps at which `--schedule steps` drops to a tenth.")
    ] = "",
    clip_norm: Annotated[float, typer.Option("--clip-norm", help="Greatest gradient norm; 0: any.")] = 1.0,
    ema: Annotated[float, typer.Option("--ema", help="Decay of the averaged weights; 0: none.")] = 0.999,
    val_every: Annotated[int, typer.Option("--val-every", help="Steps between measurements on --val.")] = 1000,
    val_videos: Annotated[int, typer.Option("--val-videos", help="Videos of --val to measure on; 0: all.")] = 12,
    save_every: Annotated[int, typer.Option("--save-every", help="Steps between states on disk.")] = 250,
    log_every: Annotated[int, typer.Option("--log-every", help="Steps that a line of the log averages.")] = 20,
    cache_gb: Annotated[float, typer.Option("--cache-gb", help="Memory for decoded videos, in GB.")] = 4.0,
    half: Annotated[bool, typer.Option("--half", help="Write checkpoints in fp16.")] = False,
    conf: Annotated[float, typer.Option("--conf", help="Score threshold that the checkpoint carries.")] = 0.3,
    licence: Annotated[str, typer.Option("--licence", help="Of the weights.")] = "Apache-2.0",
    training_data: Annotated[
        str | None, typer.Option("--training-data", help="What the checkpoint says of its data; default: the file's.")
    ] = None,
    offline: Offline = False,
    accept_license: AcceptLicense = None,
) -> None:
    """Train a method on annotated videos. Started by torchrun, it uses every GPU."""
    from ..methods import find_recipe
    from ..training.loop import train as run_training
    from ..training.options import TrainOptions
    from ..weights import Permissions
    from .measuring import ap_measure

    find_recipe(method)
    options = TrainOptions(
        method=method, data=data, out=out, val=val, init=init, preset=preset, device=resolve_device(device),
        precision=precision, seed=seed, max_steps=max_steps, batch=batch, clip_frames=clip_frames,
        clip_range=clip_range, clip_gap=clip_gap, size_hw=_size(size), scale_min=scale_min, scale_max=scale_max,
        scale_draw=scale_draw, flip=flip, colour=colour, lr=lr, backbone_lr=backbone_lr, freeze=_parts(freeze),
        weight_decay=weight_decay, schedule=schedule, warmup=warmup, milestones=_steps(milestones),
        clip_norm=clip_norm, ema=ema, val_every=val_every, val_videos=val_videos, save_every=save_every,
        log_every=log_every, cache_gb=cache_gb, half=half, conf=conf, licence=licence, training_data=training_data,
    )  # fmt: skip
    outcome = run_training(
        options,
        measure=ap_measure(val, val_videos, method=method, device=options.device) if val else None,
        parent=_parent(init, method, Permissions(offline, frozenset(accept_license or ()))) if init else None,
        resume=resume,
        overwrite=overwrite,
    )
    if outcome.stopped_by is not None:
        typer.echo(f"stopped at step {outcome.step}; go on with --resume", err=True)
        raise typer.Exit(128 + outcome.stopped_by)
    best = "" if outcome.best_ap is None else f", best AP {outcome.best_ap:.3f}"
    typer.echo(f"finished at step {outcome.step}{best}: {out}/best.safetensors", err=True)


def _size(text: str) -> tuple[int, int]:
    from ..errors import UsageError

    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UsageError(f"--size is not HEIGHTxWIDTH: `{text}`", hint="for example --size 96x160")
    return int(match[1]), int(match[2])


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _steps(text: str) -> tuple[int, ...]:
    from ..errors import UsageError

    parts = _parts(text)
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--milestones is not a list of steps: `{text}`", hint="for example --milestones 4000,5500")
    return tuple(int(part) for part in parts)


def _parent(spec: str, method: str, permissions: Permissions) -> Checkpoint:
    """The checkpoint to start from: ours, for whichever method of the family, or another project's made ours."""
    from ..methods import find_method
    from ..weights import load_any
    from .run_report import say

    return load_any(spec, method, find_method(method), permissions, say)
