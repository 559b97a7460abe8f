"""The command line as a user meets it: the real `main`, a video of pictures, and a method that knows the answer."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import pytest
import torch

from vistool.cli import main
from vistool.methods import METHODS, Method
from vistool.protocols import VideoModel
from vistool.testing import CATEGORIES, FakeOfflineModel, FakeOnlineModel, draw, moving_rectangles
from vistool.types import RunOptions
from vistool.weights import checkpoint
from vistool.weights.checkpoint import Checkpoint, CheckpointInfo
from vistool.weights.foreign import Foreign

SIZE_HW = (48, 64)
FRAMES = 12
TRACKS = moving_rectangles(3, FRAMES, SIZE_HW)


@dataclass(frozen=True, slots=True)
class Run:
    """What a command left behind."""

    code: int
    out: str
    err: str


Vistool = Callable[..., Run]


@pytest.fixture
def vistool(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Vistool]:
    """Runs a command line in this process, without the debugging that the other tests have on."""
    monkeypatch.delenv("VISTOOL_DEBUG", raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # Typer replaces it
    before = signal.getsignal(signal.SIGTERM)

    def run(*args: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["vistool", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        return Run(left.value.code or 0, said.out, said.err)  # type: ignore[arg-type]

    yield run
    signal.signal(signal.SIGTERM, before)


@dataclass
class FakeMethods:
    """What the methods of `fake_methods` were asked for; `during` is called in the middle of a run."""

    options: list[RunOptions] = field(default_factory=list)
    during: Callable[[], None] = lambda: None


@pytest.fixture
def fake_methods(monkeypatch: pytest.MonkeyPatch) -> FakeMethods:
    """`fake` and `fake-online`, which know the tracks of `video`, in the place of the real methods."""
    asked = FakeMethods()

    class Offline(FakeOfflineModel):
        def segment(self, video, frames):  # type: ignore[no-untyped-def]
            asked.during()
            return super().segment(video, frames)

    class Both(Offline):
        begin = FakeOnlineModel.begin

    def load(given: Checkpoint, options: RunOptions) -> VideoModel:
        asked.options.append(options)
        if given.info.method == "fake-online":
            return FakeOnlineModel(TRACKS, given.info.categories)
        if given.info.method == "fake-both":
            return Both(TRACKS, given.info.categories)
        return Offline(TRACKS, given.info.categories)

    def probe(given: Checkpoint, arrays: dict[str, object], mode: str) -> dict[str, object]:
        return {"twice": 2 * arrays["frames"]}  # type: ignore[operator]

    offline = Method(
        summary="knows the answer",
        paper="none",
        modes=("offline",),
        default_weights="fake-weights",
        window=6,
        overlap=2,
        layouts=("plain", "starred"),
        load=load,
        recipe=None,  # type: ignore[arg-type]
        convert=convert_plain,
        probe=probe,  # type: ignore[arg-type]
    )
    for name in list(METHODS):
        monkeypatch.delitem(METHODS, name)
    monkeypatch.setitem(METHODS, "fake", offline)
    monkeypatch.setitem(METHODS, "fake-online", replace(offline, modes=("online",), tta=True))
    monkeypatch.setitem(METHODS, "fake-both", replace(offline, modes=("offline", "online")))
    return asked


def convert_plain(foreign: Foreign, layout: str) -> Checkpoint:
    """One tensor, `a`, which the other layout calls `*a`."""
    from vistool.errors import WeightsError

    name = {"plain": "a", "starred": "*a"}[layout]
    if foreign.tensors.keys() != {name}:
        raise WeightsError(f"tensors left over or missing: {sorted(foreign.tensors.keys() ^ {name})}")
    return Checkpoint(info_of("fake"), {"a": foreign.tensors[name]})


def info_of(method: str) -> CheckpointInfo:
    return CheckpointInfo(
        method=method,
        preset="tiny",
        sizes={},
        categories=CATEGORIES,
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
        short_side=48,
        conf=0.25,
        training_data="none",
        licence="Apache-2.0",
    )


@pytest.fixture
def weights(tmp_path: Path, fake_methods: FakeMethods) -> Path:
    """A checkpoint of `fake`."""
    return write_weights(tmp_path / "weights" / "fake.safetensors", "fake")


def write_weights(path: Path, method: str, **facts: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    checkpoint.write(path, replace(info_of(method), **facts), {"a": torch.zeros(3)}, half=False)  # type: ignore[arg-type]
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder of pictures of three moving rectangles."""
    return write_pictures(tmp_path / "video", FRAMES)


def write_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for frame in draw(TRACKS, range(count), SIZE_HW):
        cv2.imwrite(str(folder / f"{frame.index:03d}.png"), frame.image)
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """An empty folder for outputs."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return folder
