"""Stage by stage against transformers' Mask2Former, with random weights moved by our own converter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig

from vistool.methods.mask2former_vis.checkpoint import convert
from vistool.methods.mask2former_vis.inference import build
from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.nn import backbones
from vistool.nn.published import to_published
from vistool.weights.foreign import Foreign, read_foreign

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
LAYERS = 4
SMALL_SWIN: dict[str, Any] = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 4], "window_size": 4}
SMALL_RESNET: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 2, 1, 1]}
SIZES_HW = [(64, 64), (64, 96), (70, 90), (150, 40)]

COMPARED = {  # stage → (our module, theirs)
    "backbone": ("trunk.backbone", "model.pixel_level_module.encoder"),
    "encoder.0": ("trunk.pixel_decoder.layers.0", "model.pixel_level_module.decoder.encoder.layers.0"),
    "encoder.1": ("trunk.pixel_decoder.layers.1", "model.pixel_level_module.decoder.encoder.layers.1"),
    "pixel decoder": ("trunk.pixel_decoder", "model.pixel_level_module.decoder"),
    **{f"decoder.{i}": (f"decoder.layers.{i}", f"model.transformer_module.decoder.layers.{i}") for i in range(LAYERS)},
    "all heads": ("", ""),
}


@dataclass(frozen=True)
class Pair:
    ours: Mask2FormerVis
    theirs: Mask2FormerForUniversalSegmentation


def fill(model: nn.Module) -> None:
    """Random weights of a size that keeps every stage alive: queries stay apart, masks have both signs."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            embedding = "embed" in name.rsplit(".", 2)[-2] or "queries" in name
            parameter.data = noise if embedding else noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)


def reference(backbone_config: Any) -> Mask2FormerForUniversalSegmentation:
    config = Mask2FormerConfig(
        backbone_config=backbone_config,
        num_queries=7,
        num_labels=5,
        hidden_dim=64,
        feature_size=64,
        mask_feature_size=64,
        encoder_feedforward_dim=128,
        dim_feedforward=96,
        encoder_layers=2,
        decoder_layers=LAYERS + 1,  # they count the prediction of the initial queries
    )
    model = Mask2FormerForUniversalSegmentation(config).eval()
    fill(model)
    return model


def swin(sizes: dict[str, Any]) -> SwinConfig:
    return SwinConfig(out_features=STAGES, **sizes)


@pytest.fixture(scope="module", params=["small-swin", "swin-tiny", "small-resnet"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.SWINS, "swin-small-test", SMALL_SWIN)
        patch.setitem(backbones.RESNETS, "resnet-small-test", SMALL_RESNET)
        configs = {
            "small-swin": swin(SMALL_SWIN),
            "swin-tiny": swin(backbones.SWINS["swin-tiny"]),
            "small-resnet": ResNetConfig(out_features=STAGES, **SMALL_RESNET),
        }
        theirs = reference(configs[request.param])
        yield Pair(build(convert(Foreign(theirs.state_dict()), "transformers-mask2former")), theirs)


def record(model: nn.Module, names: dict[str, str]) -> dict[str, Any]:
    """Filled, when the model runs, with what the modules return: stage → output."""
    outputs: dict[str, Any] = {}
    for stage, name in names.items():
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, stage=stage: outputs.__setitem__(stage, output)
        )
    return outputs


def our_tensors(stage: str, output: Any) -> list[Tensor]:
    if stage == "pixel decoder":
        return [*output.levels, output.mask_features]
    if stage == "all heads":
        classes, masks = output.stacked()
        return [*classes, *masks[:, :, :, 0]]
    return list(output) if isinstance(output, tuple) else [output]


def their_tensors(stage: str, output: Any) -> list[Tensor]:
    if stage == "backbone":
        return list(output.feature_maps)
    if stage == "pixel decoder":
        return [*output.multi_scale_features, output.mask_features]
    if stage == "all heads":
        every = [*output.auxiliary_logits, {name: output[name] for name in output.auxiliary_logits[0]}]
        return [p["class_queries_logits"] for p in every] + [p["masks_queries_logits"] for p in every]
    first = output[0] if isinstance(output, tuple) else output
    return [first.transpose(0, 1)] if stage.startswith("decoder") else [first]  # their decoder is sequence first


@pytest.fixture(scope="module", params=SIZES_HW, ids=lambda size: "x".join(map(str, size)))
def recorded(pair: Pair, request: pytest.FixtureRequest) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
    """Stage → our tensors and theirs. The reference is given the padding that ours does itself."""
    height, width = request.param
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))
    pair.ours.decoder.train()  # for the predictions in between; there is no dropout
    ours = record(pair.ours, {stage: names[0] for stage, names in COMPARED.items()})
    theirs = record(pair.theirs, {stage: names[1] for stage, names in COMPARED.items()})
    with torch.no_grad():
        pair.ours(images[:, None])
        pair.theirs(F.pad(images, (0, -width % 32, 0, -height % 32)), output_auxiliary_logits=True)
    return {stage: (our_tensors(stage, ours[stage]), their_tensors(stage, theirs[stage])) for stage in COMPARED}


@pytest.mark.parametrize("stage", COMPARED)
def test_each_stage_agrees_with_transformers(
    recorded: dict[str, tuple[list[Tensor], list[Tensor]]], stage: str
) -> None:
    ours, theirs = recorded[stage]

    torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_the_comparison_is_worth_something(recorded: dict[str, tuple[list[Tensor], list[Tensor]]]) -> None:
    """Queries, pixels and layers differ by far more than the tolerance, and masks block some of the pixels."""
    ours, _ = recorded["all heads"]

    classes, masks = torch.stack(ours[: LAYERS + 1])[:, 0], torch.stack(ours[LAYERS + 1 :])[:, 0]
    spreads = [classes[1:].std(1), classes.std(0), masks.std(1), masks.flatten(2).std(-1), masks.std(0)]
    assert min(spread.mean().item() for spread in spreads) > 0.01
    assert 0.1 < (masks < 0).float().mean() < 0.9


def test_files_that_transformers_writes_are_read_and_ours_are_read_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backbones.SWINS, "swin-small-test", SMALL_SWIN)
    theirs = reference(swin(SMALL_SWIN))
    theirs.save_pretrained(tmp_path / "theirs")

    network = build(convert(read_foreign(tmp_path / "theirs"), "auto"))
    theirs.config.save_pretrained(tmp_path / "ours")
    exported = to_published(network.state_dict(), "transformers-mask2former")
    save_file(exported, tmp_path / "ours" / "model.safetensors", metadata={"format": "pt"})
    again, report = Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "ours", output_loading_info=True)

    wanted = theirs.state_dict()
    unused = {"criterion.empty_weight", *(name for name in wanted if ".swin.layernorm." in name)}
    assert set(report["missing_keys"]) <= unused
    assert not report["unexpected_keys"]
    assert [
        name for name, value in again.state_dict().items() if name not in unused and not value.equal(wanted[name])
    ] == []
