"""Folders that `save_pretrained` writes, from the hub and from the disk: the same network either way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import COMMIT, FakeHub, in_its_place
from safetensors.torch import load_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from vistool.methods import METHODS
from vistool.nn import backbones
from vistool.weights import load
from vistool.weights.checkpoint import Checkpoint

SMALL_SWIN: dict[str, Any] = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window_size": 4}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with in_its_place(monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture(params=["safetensors", "shards", "bin", "bin shards"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(backbones.SWINS, "swin-small-test", SMALL_SWIN)
    torch.manual_seed(0)
    stages = ["stage1", "stage2", "stage3", "stage4"]
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(out_features=stages, **SMALL_SWIN), num_queries=5, hidden_dim=32,
        feature_size=32, mask_feature_size=32, encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1,
        decoder_layers=2, id2label={0: "cat", 1: "dog", 2: "ape"},
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config)
    folder = tmp_path / "written"
    model.save_pretrained(folder, max_shard_size="300KB" if "shards" in request.param else "1GB")
    if "bin" in request.param:
        as_torch_files(folder)
    return folder


def test_what_is_fetched_is_the_network_of_the_folder(hub: FakeHub, folder: Path) -> None:
    method = METHODS["mask2former-vis"]
    hub.add("their/model", folder, card={"license": "apache-2.0"})

    fetched = load("hf:their/model", "mask2former-vis", method)
    from_folder = load(str(folder), "mask2former-vis", method)

    assert same(fetched, from_folder)
    assert [category.name for category in fetched.info.categories] == ["cat", "dog", "ape"]
    assert (fetched.info.parent, fetched.info.licence) == (f"hf:their/model@{COMMIT}", "apache-2.0")
    assert len({each.path for each in hub.bodies()}) == len(weight_files(folder))


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


def weight_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))


def as_torch_files(folder: Path) -> None:
    """The same folder as older versions of transformers wrote it."""

    def renamed(name: str) -> str:
        return name.replace("model", "pytorch_model").replace(".safetensors", ".bin")

    for path in weight_files(folder):
        torch.save(load_file(path), folder / renamed(path.name))
        path.unlink()
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = json.loads(index.read_text())
        content["weight_map"] = {name: renamed(shard) for name, shard in content["weight_map"].items()}
        (folder / renamed(index.name)).write_text(json.dumps(content))
        index.unlink()
