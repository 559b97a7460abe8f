"""`vistool doctor`: what a bug report needs to know of this machine, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from .. import __version__
from ..errors import VistoolError, WeightsError
from .options import AsJson
from .tables import as_text, listing

PACKAGES = (
    "torch", "transformers", "numpy", "scipy", "av", "opencv-python-headless", "pycocotools", "huggingface-hub",
    "safetensors", "msgspec", "typer", "rich",
)  # fmt: skip
"""What vistool stands on, by the names of the package index."""
OPENCV_WHEELS = (
    "opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python",
)  # fmt: skip
"""They all bring one folder, `cv2`, and break each other's."""
VARIABLES = (
    "VISTOOL_CACHE", "VISTOOL_OFFLINE", "VISTOOL_ACCEPT_LICENSE", "VISTOOL_DEBUG", "XDG_CACHE_HOME", "HF_HOME",
    "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
SECRETS = ("HF_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Variables that may hold passwords: only that they are set is told."""
SOUND = ("ok", "at hand", "to fetch")  # states of weights
LITTLE_SPACE = 2_000_000_000  # bytes; a large checkpoint, and what it is converted to
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be."""

    what: str
    hint: str


Tell = Callable[[str, str], None]
"""(what, hint): report a problem."""


def doctor(as_json: AsJson = False) -> None:
    """Tell what a bug report needs: versions, devices, codecs, caches. Damaged weights end with code 5, other problems
    are told and end with 0.
    """
    problems: list[Problem] = []

    def tell(what: str, hint: str) -> None:
        problems.append(Problem(what, hint))

    weights = _weights(tell)
    facts: dict[str, Any] = {
        "vistool": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": {"usable": _usable_cores(), "total": os.cpu_count()},
        "memory_mb": _memory_mb(),
        "packages": _packages(tell),
        "opencv_wheels": _opencv_wheels(tell),
        "devices": _devices(tell),
        "video": _video(tell),
        "folders": _folders(tell),
        "offline": _offline(),
        "variables": _variables(),
        "weights": weights,
    }
    if as_json:
        typer.echo(json.dumps({**facts, "problems": [asdict(problem) for problem in problems]}, indent=2))
    else:
        told = [f"problem: {each.what}  hint: {each.hint}" for each in problems]
        typer.echo("\n".join([listing(_in_words(facts)), "", *(told or ["no problems found"])]))
    if damaged := [key for key, state in weights.items() if state not in SOUND]:
        raise WeightsError(f"weights are damaged: `{', '.join(damaged)}`", hint="reinstall vistool")


def _packages(tell: Tell) -> dict[str, str | None]:
    """Versions; None for what is not installed."""
    found = {name: _version(name) for name in PACKAGES}
    for name in (name for name, version in found.items() if version is None and name not in OPENCV_WHEELS):
        tell(f"package is missing: `{name}`", f"install it: pip install {name}")
    return found


def _opencv_wheels(tell: Tell) -> dict[str, str]:
    """Those that are installed; one is right."""
    found = {name: version for name in OPENCV_WHEELS if (version := _version(name)) is not None}
    if len(found) > 1:
        tell(
            f"several OpenCV wheels share one folder: `{', '.join(found)}`",
            f"pip uninstall {' '.join(found)}, then pip install {OPENCV_WHEELS[0]}",
        )
    try:
        import cv2  # noqa: F401 (whether it loads)
    except (ImportError, OSError) as error:
        tell(f"OpenCV cannot be loaded: `{error}`", f"install the wheel that needs no screen: {OPENCV_WHEELS[0]}")
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cores() -> int | None:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory_mb() -> int | None:
    """What the machine has, or what its container allows; None on systems that do not tell."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in filter(Path.is_file, MEMORY_LIMITS):
        limit = path.read_text().strip()
        sizes += [int(limit)] if limit.isdecimal() else []
    return min(sizes) // 1_000_000


def _devices(tell: Tell) -> dict[str, str]:
    """What `--device` takes here, and what it is."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it was built for is not there
        tell(f"torch cannot be loaded: `{error}`", "install it anew, as pytorch.org says for this machine")
        return {}
    from .run_report import counted

    devices = {"cpu": counted(torch.get_num_threads(), "thread")}
    with warnings.catch_warnings(record=True) as said:  # of drivers that are too old, among others
        warnings.simplefilter("always")
        working = torch.cuda.is_available()
    for number in range(torch.cuda.device_count() if working else 0):
        gpu = torch.cuda.get_device_properties(number)
        devices[f"cuda:{number}"] = f"{gpu.name}, {gpu.total_memory // 1_000_000} MB, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        devices["mps"] = platform.machine()
    if shutil.which("nvidia-smi") and not working:
        why = " ".join(str(said[0].message).split()) if said else f"torch {torch.__version__} finds no device"
        tell(f"a GPU is here that cannot be used: `{why}`", "install torch for CUDA, as pytorch.org says")
    return devices


def _video(tell: Tell) -> dict[str, object]:
    """The libraries that read and write video; a wheel of PyAV brings its own."""
    try:
        import av
    except (ImportError, OSError) as error:
        tell(f"PyAV cannot be loaded: `{error}`", "install it from its wheel: pip install --force-reinstall av")
        return {}
    from ..video.encoders import ENCODERS, best_encoder

    try:
        encoder = best_encoder().name
    except VistoolError as error:
        encoder = None
        tell(error.message, error.hint or "")
    h264 = encoder == ENCODERS[0].name
    if encoder is not None and not h264:
        tell(
            f"no H.264 encoder works: `{encoder}` writes overlays (which some players cannot show)",
            "install PyAV from its wheel: pip install --force-reinstall av",
        )
    return {
        "ffmpeg": av.ffmpeg_version_info,
        "libraries": {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()},
        "licence": av._core.library_meta["libavcodec"]["license"],
        "encoder": encoder,
        "h264": h264,
    }


def _folders(tell: Tell) -> dict[str, dict[str, object]]:
    """Where weights are kept: ours, and the hub's own."""
    from huggingface_hub import constants

    from ..weights import cache

    places = {"cache": (cache.folder(), "VISTOOL_CACHE"), "hub_cache": (Path(constants.HF_HUB_CACHE), "HF_HOME")}
    return {name: _folder(path, variable, tell) for name, (path, variable) in places.items()}


def _folder(path: Path, variable: str, tell: Tell) -> dict[str, object]:
    there = next(each for each in (path, *path.absolute().parents) if os.access(each, os.F_OK))
    free = shutil.disk_usage(there).free
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    if not writable:
        tell(f"weights cannot be kept: `{path}` (not writable)", f"set {variable} to a folder of yours")
    elif free < LITTLE_SPACE:
        tell(f"little space for weights: `{path}` ({free / 1e9:.1f} GB free)", f"make room, or set {variable}")
    return {"path": str(path), "bytes": _bytes_in(path), "free_bytes": free, "writable": writable}


def _bytes_in(folder: Path) -> int:
    """Of all files below; a link counts for itself."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process has just moved it
                total += Path(parent, name).lstat().st_size
    return total


def _offline() -> bool:
    """Whether the variables forbid the network."""
    from ..weights import Permissions, sources

    return sources.is_offline(Permissions())


def _variables() -> dict[str, str]:
    told = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return told | {name: "set" for name in SECRETS if os.environ.get(name)}


def _weights(tell: Tell) -> dict[str, str]:
    """Key → state, of all that travels with vistool and of every method's default."""
    from ..methods import METHODS
    from ..weights import at_hand, registry, upkeep

    states = {}
    for finding in upkeep.check_bundled():
        states[finding.name] = finding.fault or "ok"
        if finding.fault:
            tell(f"weights are damaged: `{finding.name}` ({finding.fault})", "reinstall vistool")
    for name, row in METHODS.items():
        entry = registry.entries().get(row.default_weights or "")
        if entry is not None and entry.source != "bundled":
            states[entry.key] = "at hand" if at_hand(entry, name) else "to fetch"
    return states


def _in_words(facts: Mapping[str, Any]) -> dict[str, object]:
    """The same for people, a line each."""
    cores, video, memory = facts["cores"], facts["video"], facts["memory_mb"]
    libraries = as_text(video.get("libraries", {}))
    return {
        **{name: facts[name] for name in ("vistool", "python", "platform")},
        "cores": f"{cores['usable']} of {cores['total']}",
        "memory": f"{memory} MB" if memory else None,
        "packages": {name: version or "missing" for name, version in facts["packages"].items()},
        "opencv": facts["opencv_wheels"],
        "devices": [f"{name} ({what})" for name, what in facts["devices"].items()],
        "ffmpeg": f"{video['ffmpeg']} ({libraries}; {video['licence']})" if video else None,
        "encoder": f"{video['encoder'] or 'none'} (H.264: {'yes' if video['h264'] else 'no'})" if video else None,
        **{name.replace("_", " "): _folder_in_words(folder) for name, folder in facts["folders"].items()},
        "offline": "yes" if facts["offline"] else "no",
        "variables": [f"{name}={value}" for name, value in facts["variables"].items()],
        "weights": facts["weights"],
    }


def _folder_in_words(folder: Mapping[str, Any]) -> str:
    writable = "writable" if folder["writable"] else "not writable"
    return f"{folder['path']}: {folder['bytes'] / 1e6:.1f} MB, {folder['free_bytes'] / 1e9:.1f} GB free, {writable}"
