"""ResNets trained on ImageNet as a start: both ways of naming, strict both ways, and honest about what is fresh."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hitf_networks import enliven
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from vistool.errors import WeightsError
from vistool.methods.hitf.checkpoint import convert
from vistool.methods.hitf.network import Hitf
from vistool.methods.hitf.presets import Preset
from vistool.nn.backbones import MSRA
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.fitting import check_fit
from vistool.weights.foreign import Foreign

SIZES: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [16, 24, 32, 48],
    "depths": [1, 1, 1, 2],
    "layer_type": "bottleneck",
}
LAYOUT = "imagenet-resnet"


def classifier() -> ResNetForImageClassification:
    torch.manual_seed(0)
    made = ResNetForImageClassification(ResNetConfig(**SIZES, num_labels=7)).eval()
    enliven(made)
    return made


def torchvision_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """By hand."""
    named = {}
    for name, tensor in tensors.items():
        name = name.replace("resnet.embedder.embedder.convolution", "conv1")
        name = name.replace("resnet.embedder.embedder.normalization", "bn1")
        stage = re.match(r"resnet\.encoder\.stages\.(\d)\.layers\.(\d+)\.(.*)", name)
        if stage:
            rest = (
                stage[3]
                .replace("shortcut.convolution", "downsample.0")
                .replace("shortcut.normalization", "downsample.1")
            )
            part = re.match(r"layer\.(\d)\.(convolution|normalization)\.(.*)", rest)
            if part:
                rest = f"{ {'convolution': 'conv', 'normalization': 'bn'}[part[2]] }{int(part[1]) + 1}.{part[3]}"
            name = f"layer{int(stage[1]) + 1}.{stage[2]}.{rest}"
        named[name.replace("classifier.1", "fc")] = tensor
    return named


def backbone_of(checkpoint: Checkpoint) -> Hitf:
    made = Hitf(Preset(**{**checkpoint.info.sizes, "output_stride": 32})).eval()
    made.load_state_dict({**made.state_dict(), **{k: v for k, v in checkpoint.tensors.items() if "backbone" in k}})
    return made


@pytest.mark.parametrize("names", ["transformers", "torchvision"])
def test_the_backbone_sees_what_the_classifier_saw(names: str) -> None:
    theirs = classifier()
    tensors = theirs.state_dict()
    ours = convert(Foreign(torchvision_names(tensors) if names == "torchvision" else tensors), LAYOUT)
    frames = torch.randn(1, 3, 65, 33)
    with torch.no_grad():
        seen = theirs.resnet(frames).last_hidden_state

        torch.testing.assert_close(backbone_of(ours).encoder(frames)[1].relu(), seen)


def test_the_rest_is_fresh_the_same_every_time_and_the_checkpoint_says_so() -> None:
    foreign = Foreign(classifier().state_dict())
    torch.manual_seed(5)
    one, state = convert(foreign, LAYOUT), torch.get_rng_state()
    other = convert(foreign, LAYOUT)

    assert torch.get_rng_state().equal(state)
    assert all(tensor.equal(other.tensors[name]) for name, tensor in one.tensors.items())
    with torch.device("meta"):
        check_fit(Hitf(Preset(**one.info.sizes)).state_dict(), one.tensors, name="converted")
    assert "only the backbone is trained" in one.info.untrained
    assert one.info.preset == "custom"
    assert not one.tensors["temporal.intra.0.code_out.norm.weight"].any()


def test_where_the_stride_stands_is_read_off_the_configuration() -> None:
    found = convert(Foreign(classifier().state_dict(), {"downsample_in_bottleneck": True}), LAYOUT)

    assert found.info.sizes["backbone"].endswith(MSRA)


def without(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors.items() if key != name}


def test_what_is_missing_or_left_over_is_named() -> None:
    tensors = classifier().state_dict()
    name = "resnet.encoder.stages.2.layers.0.shortcut.convolution.weight"

    with pytest.raises(WeightsError, match=re.escape(name)):
        convert(Foreign(without(tensors, name)), LAYOUT)
    with pytest.raises(WeightsError, match=r"unknown tensors: `neck\.weight`"):
        convert(Foreign({**tensors, "neck.weight": torch.zeros(1)}), LAYOUT)
    with pytest.raises(WeightsError, match="unknown layout: `seqformer`"):
        convert(Foreign(tensors), "seqformer")


def test_a_deep_stem_is_refused() -> None:
    tensors = torchvision_names(classifier().state_dict())
    deep = {**without(tensors, "conv1.weight"), "conv1.0.weight": torch.zeros(8, 3, 3, 3)}

    with pytest.raises(WeightsError, match="misses tensors"):
        convert(Foreign(deep), LAYOUT)
