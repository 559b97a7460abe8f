"""Checkpoints of other projects: numbers are read, anything that could run is not."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vistool.errors import WeightsError
from vistool.weights.foreign import read_foreign

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


class Opener:
    """Would make a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def as_lists(tensors: dict[str, torch.Tensor]) -> dict[str, list[Any]]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def write(path: Path, wrapped: bool) -> None:
    content: dict[str, Any] = {"model": WEIGHTS, "epoch": 3, "__author__": "somebody"} if wrapped else WEIGHTS
    if path.suffix == ".safetensors":
        save_file(WEIGHTS, path)
    elif path.suffix == ".pkl":
        arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
        path.write_bytes(pickle.dumps({**content, "model": arrays} if wrapped else arrays, protocol=2))
    else:
        torch.save(content, path)


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", ".pkl"])
def test_every_kind_of_file_gives_the_same_tensors(tmp_path: Path, suffix: str, wrapped: bool) -> None:
    write(tmp_path / f"a{suffix}", wrapped)

    assert as_lists(read_foreign(tmp_path / f"a{suffix}").tensors) == as_lists(WEIGHTS)


def test_an_ordered_dictionary_of_either_kind_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(OrderedDict(a=np.ones(2, np.float32))))

    assert as_lists(read_foreign(tmp_path / "a.pkl").tensors) == {"a": [1.0, 1.0]}


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path: Path, suffix: str) -> None:
    content = {"a": torch.zeros(1), "trap": Opener(tmp_path / "sprung")}
    path = tmp_path / f"a{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"trap": content["trap"]}))
    else:
        torch.save(content, path)

    with pytest.raises(WeightsError) as caught:
        read_foreign(path)

    assert not (tmp_path / "sprung").exists()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_what_training_scripts_keep_beside_the_tensors_is_dropped(tmp_path: Path, zipped: bool) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 10])
    content = {
        "model": WEIGHTS,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(lr=1e-4, lr_drop=[4, 10], output_dir="runs", masks=True),
    }
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)

    assert as_lists(read_foreign(tmp_path / "a.pth").tensors) == as_lists(WEIGHTS)


@pytest.mark.parametrize("name", ["ArgumentParser", "Action"])
def test_of_its_module_the_namespace_is_read_alone(tmp_path: Path, name: str) -> None:
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(kind=getattr(argparse, name))}, tmp_path / "a.pth")

    with pytest.raises(WeightsError, match=rf"argparse\.{name}`, which is not plain data"):
        read_foreign(tmp_path / "a.pth")


def test_a_namespace_runs_nothing_of_what_it_holds(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "args": argparse.Namespace(trap=Opener(tmp_path / "sprung"))}, tmp_path / "a.pth")

    with pytest.raises(WeightsError, match="mkdir"):
        read_foreign(tmp_path / "a.pth")

    assert not (tmp_path / "sprung").exists()


def test_the_name_that_a_pickle_asks_for_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"trap": Opener(tmp_path / "sprung")}))

    with pytest.raises(WeightsError, match="mkdir"):
        read_foreign(tmp_path / "a.pkl")


def test_nobody_is_advised_to_read_a_file_unsafely(tmp_path: Path) -> None:
    torch.save({"trap": Opener(tmp_path / "sprung")}, tmp_path / "trap.pth")
    (tmp_path / "text.pth").write_text("not weights")

    said = {}
    for name in ("trap", "text"):
        with pytest.raises(WeightsError) as caught:
            read_foreign(tmp_path / f"{name}.pth")
        said[name] = caught.value.message

    assert "mkdir`, which is not plain data" in said["trap"]
    assert "it is no file of PyTorch" in said["text"]
    assert not [text for text in said.values() if "weights_only" in text]


@pytest.mark.parametrize("value", ["text", [1, 2], np.array(["a"]), np.array([None])], ids=repr)
def test_what_is_no_tensor_is_refused_by_name(tmp_path: Path, value: object) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"fine": np.ones(1), "odd.one": value}))

    with pytest.raises(WeightsError, match=r"odd\.one"):
        read_foreign(tmp_path / "a.pkl")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl"])
@pytest.mark.parametrize("kept", [0, 10, 100], ids=["empty", "10 bytes", "100 bytes"])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, wrapped=False)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(WeightsError, match="damaged") as caught:
        read_foreign(path)

    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "absent.pkl"])
def test_an_absent_file_is_said_to_be_absent(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_foreign(tmp_path / name)


def test_an_unknown_suffix_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        read_foreign(tmp_path / "a.onnx")

    assert ".safetensors" in (caught.value.hint or "")
