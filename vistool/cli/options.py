"""Options that commands share or that take more than a line, each said once; and which device a name stands for."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from ..errors import UsageError

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Video file, folder of images, quoted glob, or - for standard input.")
]
Outs = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        "-o",
        metavar="PATH",
        help="Where to; the suffix decides the format: .json, .jsonl, .jsonl.gz, .mp4, .mkv, a folder (indexed PNGs), "
        "- (JSON Lines to standard output). May be given several times.",
    ),
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="Where the suffix leaves a choice, e.g. ytvis-results.")
]
WhatFor = Annotated[
    str | None, typer.Option("--method", metavar="NAME", help="What for; default: what the key is for.")
]
MethodName = Annotated[str, typer.Option("--method", metavar="NAME", help="A row of `vistool methods`.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="KEY|PATH|hf:OWNER/NAME",
        help="From `vistool weights list`, a file or folder, or a repository of the hub; default: the method's.",
    ),
]
WeightsArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY|PATH|hf:OWNER/NAME",
        help="From `vistool weights list`, a checkpoint file, or a repository of the hub that was fetched.",
    ),
]
ModeName = Annotated[
    Literal["auto", "online", "offline"], typer.Option("--mode", help="Frame by frame, or several at once.")
]
Window = Annotated[
    int | None,
    typer.Option(
        "--window", min=0, metavar="N", help="Frames an offline method sees at once; 0: all; default: the method's."
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option("--overlap", min=0, metavar="N", help="Frames that two windows share; default: the method's."),
]
Conf = Annotated[
    float | None,
    typer.Option("--conf", min=0.0, max=1.0, metavar="0..1", help="Drop tracks scored below; default: the weights'."),
]
Classes = Annotated[
    str | None, typer.Option("--classes", metavar="A,B", help="Keep these classes only, by name or id.")
]
MapClasses = Annotated[
    str | None,
    typer.Option(
        "--map-classes", metavar="NAME", help="Name what is found as coco, ytvis2019, ytvis2021 or ovis does."
    ),
]
MaxInstances = Annotated[
    int | None, typer.Option("--max-instances", min=1, metavar="N", help="Keep the best N tracks only.")
]
MemoryFrames = Annotated[
    int | None,
    typer.Option(
        "--memory-frames", min=1, metavar="N", help="Frames that long-term memory keeps; default: the method's."
    ),
]
Start = Annotated[str | None, typer.Option("--start", metavar="T", help="Seconds, HH:MM:SS.mmm, or a frame as 123f.")]
End = Annotated[str | None, typer.Option("--end", metavar="T", help="Like --start; not included.")]
Stride = Annotated[int, typer.Option("--stride", min=1, metavar="N", help="Look at every Nth frame.")]
Size = Annotated[
    int | None,
    typer.Option("--size", min=32, metavar="SHORT", help="Short side that the network sees; default: the weights'."),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda[:N] or mps.")]
Precision = Annotated[Literal["fp32", "bf16", "fp16"], typer.Option("--precision", help="Of the network's arithmetic.")]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="For methods that draw random numbers.")]
Protocol = Annotated[
    Literal["people", "ytvis"],
    typer.Option("--protocol", help="people: one class a track. ytvis: the benchmark's ranking of all pairs."),
]
Tta = Annotated[bool, typer.Option("--tta", help="Test-time augmentation, where the method defines it.")]
Offline = Annotated[bool, typer.Option("--offline", help="Open no connection; weights must be at hand.")]
AcceptLicense = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-license",
        metavar="ID",
        help="Accept the licence of the weights: its name, or the key of the weights. May be given several times.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print what was chosen, in full.")]

_DEVICE = re.compile(r"auto|cpu|mps|cuda(?::(\d+))?")


def resolve_device(name: str) -> str:
    """The torch device that `name` stands for; "auto" is the fastest there is.

    UsageError for an unknown device and for one that this machine has not got: there is no falling back.
    """
    match = _DEVICE.fullmatch(name)
    if match is None:
        raise UsageError(f"unknown device: `{name}`", hint="one of: auto, cpu, cuda, cuda:N, mps")
    if name == "cpu":
        return name
    import torch

    mps = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if not (mps if name == "mps" else int(match[1] or 0) < torch.cuda.device_count()):
        raise UsageError(f"device not available: `{name}` (torch finds none)", hint="use --device auto, or cpu")
    return name
