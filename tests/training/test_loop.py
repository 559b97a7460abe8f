"""A whole run on a toy problem: it learns, and however it is stopped it goes on as if it had not been."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
import toy_training
from safetensors.torch import load_file
from torch import Tensor, nn
from toy_training import PlainRecipe, ToyRecipe, install, toy_options

from vistool.errors import OutputExistsError, UsageError, VistoolError
from vistool.nn.targets import ClipTargets
from vistool.training.loop import Outcome, train
from vistool.training.run_folder import RunFolder
from vistool.weights import checkpoint as checkpoint_file
from vistool.weights.checkpoint import Checkpoint

pytestmark = pytest.mark.usefixtures("toy_method", "one_thread")


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def unbroken(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    subprocess.run(program(squares, out), check=True, capture_output=True)
    return out


def program(squares: Path, out: Path, *flags: str) -> list[str]:
    return [sys.executable, str(Path(toy_training.__file__)), str(squares), str(out), *flags]


def assert_same_run(out: Path, other: Path) -> None:
    """Bitwise the same weights, average and optimiser, and a log without gaps or repetitions."""
    mine, theirs = load_file(out / "state.safetensors"), load_file(other / "state.safetensors")
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not mine[name].equal(theirs[name])] == []
    logs = [[(line["step"], line["loss"]) for line in RunFolder(folder).records()] for folder in (out, other)]
    assert logs[0] == logs[1]


def test_the_loss_goes_down(squares: Path, tmp_path: Path) -> None:
    train(toy_options(squares, tmp_path / "run", max_steps=60))

    losses = [line["loss"] for line in RunFolder(tmp_path / "run").records()]
    assert losses[-1] < 0.4 * losses[0]


def test_a_finished_run_leaves_its_files_and_no_partial_ones(unbroken: Path) -> None:
    assert {path.name for path in unbroken.iterdir()} == {
        "config.json",
        "log.jsonl",
        "curve.png",
        "state.safetensors",
        "last.safetensors",
        "best.safetensors",
    }


@pytest.mark.parametrize(("clip_frames", "expected"), [(1, "images"), (2, "videos")])
def test_the_checkpoint_says_whether_it_has_seen_anything_move(
    squares: Path, tmp_path: Path, clip_frames: int, expected: str
) -> None:
    train(toy_options(squares, tmp_path / "run", max_steps=1, warmup=0, clip_frames=clip_frames))

    assert checkpoint_file.read(tmp_path / "run" / "last.safetensors").info.trained_on == expected


def test_the_checkpoint_says_what_it_is(unbroken: Path) -> None:
    checkpoint = checkpoint_file.read(unbroken / "best.safetensors")

    assert checkpoint.info.method == "toy"
    assert checkpoint.info.sizes == {"num_classes": 2, "width": 8}
    assert [category.id for category in checkpoint.info.categories] == [3, 7]
    assert checkpoint.info.short_side == 32
    assert checkpoint.info.training_data == "squares"
    assert checkpoint.tensors.keys() == toy_training.ToyNetwork(toy_training.ToyPreset(2)).state_dict().keys()


@pytest.mark.parametrize("moment", ["--die-in-step", "--die-in-save"])
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(
    squares: Path, tmp_path: Path, unbroken: Path, moment: str
) -> None:
    out = tmp_path / "run"

    killed = subprocess.run(program(squares, out, moment), capture_output=True, check=False)
    subprocess.run(program(squares, out, "--resume"), check=True, capture_output=True)

    assert killed.returncode == -signal.SIGKILL
    assert_same_run(out, unbroken)


def test_a_run_killed_before_its_first_state_starts_again(squares: Path, tmp_path: Path, unbroken: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    RunFolder(out).append({"step": 5, "loss": 1.0, "terms": {}})

    train(toy_options(squares, out), resume=True)

    assert_same_run(out, unbroken)


class Scripted:
    """Says the given APs in turn; does what it is told to before the last of them."""

    def __init__(self, *scores: float, last: Callable[[], object] = lambda: None) -> None:
        self.scores, self.last = list(scores), last

    def __call__(self, checkpoint: Checkpoint) -> Mapping[str, float]:
        if len(self.scores) == 1:
            self.last()
        return {"AP": self.scores.pop(0), "AP50": 1.0}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_an_asked_stop_saves_the_state_and_the_run_goes_on_from_there(
    squares: Path, tmp_path: Path, unbroken: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    options = toy_options(squares, out, val_every=7, save_every=1000)
    handler = signal.getsignal(number)

    stopped = train(options, measure=Scripted(0.1, 0.2, last=lambda: os.kill(os.getpid(), number)))
    resumed = train(toy_options(squares, out), resume=True)

    assert stopped == Outcome(15, 0.2, number)
    assert resumed == Outcome(40, 0.2, None)
    assert signal.getsignal(number) == handler
    mine, theirs = load_file(out / "last.safetensors"), load_file(unbroken / "last.safetensors")
    assert all(mine[name].equal(theirs[name]) for name in theirs)


def test_the_best_weights_are_those_that_measured_best(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = toy_options(squares, out, max_steps=30, val_every=10, val=squares, val_videos=0)

    outcome = train(options, measure=Scripted(0.2, 0.6, 0.4))

    best, last = (checkpoint_file.read(out / f"{name}.safetensors") for name in ("best", "last"))
    assert outcome.best_ap == 0.6
    assert "step 20 " in best.info.notes
    assert list(best.info.ap.values()) == [0.6]
    assert "step 30 " in last.info.notes
    assert [line["val"]["AP"] for line in RunFolder(out).records() if "val" in line] == [0.2, 0.6, 0.4]


def test_a_run_starts_from_its_parent(squares: Path, tmp_path: Path, unbroken: Path) -> None:
    parent = checkpoint_file.read(unbroken / "last.safetensors")

    train(toy_options(squares, tmp_path / "run", max_steps=5, lr=1e-9, ema=0.0), parent=parent)

    child = checkpoint_file.read(tmp_path / "run" / "last.safetensors")
    torch.testing.assert_close(child.tensors["head.weight"], parent.tensors["head.weight"])
    assert child.info.parent is not None
    assert parent.sha256 in child.info.parent


def test_a_folder_in_use_is_refused_until_told_what_to_do(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "notes").mkdir(parents=True)
    options = toy_options(squares, out, max_steps=5)

    with pytest.raises(OutputExistsError, match="run folder is in use"):
        train(options)
    train(options, overwrite=True)

    assert (out / "notes").is_dir()
    assert (out / "best.safetensors").is_file()


def test_a_resumed_run_must_have_the_settings_it_began_with(squares: Path, tmp_path: Path) -> None:
    train(toy_options(squares, tmp_path / "run", max_steps=5))

    with pytest.raises(UsageError, match="--seed is not what the run began with: `9`"):
        train(toy_options(squares, tmp_path / "run", max_steps=5, seed=9), resume=True)


class Diverging(ToyRecipe):
    """Gives up on its fourth batch."""

    def __init__(self) -> None:
        self.calls = 0

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        self.calls += 1
        terms = super().losses(network, frames, targets)
        return {**terms, "dice": terms["dice"] * (float("nan") if self.calls == 4 else 1.0)}


def test_a_loss_that_is_no_number_stops_the_run_by_step_and_term(squares: Path, tmp_path: Path) -> None:
    install(Diverging)

    with pytest.raises(VistoolError, match="step 3: `dice` is nan"):
        train(toy_options(squares, tmp_path / "run"))


def test_an_unknown_preset_is_refused_with_the_known_ones(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--preset") as refused:
        train(toy_options(squares, tmp_path / "run", preset="huge"))

    assert refused.value.hint == "one of: tiny"


def test_two_processes_learn_what_one_learns(squares: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    install(PlainRecipe)

    processes = [
        subprocess.Popen(program(squares, tmp_path / "two", "--plain"), env={**os.environ, **together, "RANK": rank})
        for rank in ("0", "1")
    ]
    train(toy_options(squares, tmp_path / "one"))

    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)
