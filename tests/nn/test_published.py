"""Published names: strict both ways, and nothing lost on the way there and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import published_keys
import pytest
import torch
from torch import Tensor, nn

from vistool.errors import WeightsError
from vistool.nn import backbones
from vistool.nn.masked_decoder import MaskedDecoder
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.presets import published as published_sizes
from vistool.nn.published import LAYOUTS, from_published, to_published
from vistool.nn.trunk import FrameTrunk

SWIN = Mask2FormerSizes(
    backbone="swin-tiny",
    num_classes=4,
    queries=6,
    dim=32,
    encoder_layers=1,
    encoder_ffn=40,
    decoder_layers=2,
    decoder_ffn=48,
)
BOTTLENECKS: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [24, 32, 48, 64], "depths": [1, 2, 1, 1]}
RESNET = replace(SWIN, backbone="resnet-bottlenecks", frozen_norms=True)
PUBLISHED = published_sizes(Mask2FormerSizes)
TRANSFORMERS, DETECTRON2 = LAYOUTS


@pytest.fixture(scope="module", autouse=True)
def small_resnet() -> Iterator[None]:
    """A ResNet of the published kind, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.RESNETS, "resnet-bottlenecks", BOTTLENECKS)
        yield


def network_of(sizes: Mask2FormerSizes) -> nn.Module:
    return nn.ModuleDict({"trunk": FrameTrunk(sizes), "decoder": MaskedDecoder(sizes)})


def weights_of(sizes: Mask2FormerSizes) -> dict[str, Tensor]:
    """Every tensor filled with numbers of its own, so that no two can be taken for one another."""
    tensors = network_of(sizes).state_dict()
    return {name: torch.rand_like(tensor) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def keys_of(sizes: Mask2FormerSizes) -> published_keys.Keys:
    if sizes.backbone in backbones.SWINS:
        image = published_keys.swin(backbones.SWINS[sizes.backbone]["depths"])
    else:
        image = published_keys.resnet(backbones.RESNETS[sizes.backbone]["depths"])
    return image | published_keys.head(sizes.encoder_layers, sizes.decoder_layers)


@pytest.fixture(scope="module")
def ours() -> dict[str, Tensor]:
    return weights_of(SWIN)


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", [SWIN, RESNET], ids=["swin", "resnet"])
def test_there_and_back_is_the_same_to_the_bit(layout: str, sizes: Mask2FormerSizes) -> None:
    ours = weights_of(sizes)

    found_sizes, found = from_published(to_published(ours, layout), layout)

    assert found_sizes == sizes
    assert differing(found, ours) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_is_told_by_its_names(layout: str, ours: dict[str, Tensor]) -> None:
    assert differing(from_published(to_published(ours, layout), "auto")[1], ours) == []


@pytest.mark.parametrize("sizes", [SWIN, RESNET], ids=["swin", "resnet"])
def test_every_published_key_is_used_and_no_other(sizes: Mask2FormerSizes) -> None:
    ours, keys = weights_of(sizes), keys_of(sizes)

    assert to_published(ours, DETECTRON2).keys() == keys.keys()
    hub = {key for key in to_published(ours, TRANSFORMERS) if not key.endswith("num_batches_tracked")}
    assert hub == {key for group in keys.values() for key in group}


@pytest.mark.parametrize("sizes", [SWIN, RESNET], ids=["swin", "resnet"])
def test_a_tensor_is_the_same_under_both_its_published_names(sizes: Mask2FormerSizes) -> None:
    ours = weights_of(sizes)
    detectron2, hub = to_published(ours, DETECTRON2), to_published(ours, TRANSFORMERS)

    joined = {key: torch.cat([hub[part] for part in group]) for key, group in keys_of(sizes).items()}

    assert differing(joined, detectron2) == []


@cache
def on_paper(name: str) -> dict[str, Tensor]:
    """Our tensors of a published size, with shapes and without memory."""
    with torch.device("meta"):
        return network_of(PUBLISHED[name]).state_dict()


def released_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in to_published(on_paper(name), DETECTRON2).items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_released_files_have_these_names_and_lead_to_these_sizes(name: str) -> None:
    released = to_published(on_paper(name), DETECTRON2)

    with torch.device("meta"):
        sizes, ours = from_published(released)

    assert released.keys() == keys_of(PUBLISHED[name]).keys()
    assert sizes == PUBLISHED[name]
    assert ours.keys() == on_paper(name).keys()


RELEASED_SHAPES = {  # preset → width, (2 · window - 1)² and heads of the first stage, queries
    "swin-t": (96, 169, 3, 100),
    "swin-s": (96, 169, 3, 100),
    "swin-b": (128, 529, 4, 100),
    "swin-l": (192, 529, 6, 100),
    "swin-l-200": (192, 529, 6, 200),
}


@pytest.mark.parametrize("name", RELEASED_SHAPES)
def test_released_swins_have_these_shapes(name: str) -> None:
    width, offsets, heads, queries = RELEASED_SHAPES[name]

    shapes = released_shapes(name)

    assert shapes["backbone.patch_embed.proj.weight"] == (width, 3, 4, 4)
    for stage in range(4):
        block, wide = f"backbone.layers.{stage}.blocks.1.", width * 2**stage
        assert shapes[f"{block}attn.qkv.weight"] == (3 * wide, wide)
        assert shapes[f"{block}attn.relative_position_bias_table"] == (offsets, heads * 2**stage)
        assert shapes[f"{block}mlp.fc1.weight"] == (4 * wide, wide)
    assert shapes["backbone.layers.2.downsample.reduction.weight"] == (8 * width, 16 * width)
    assert shapes["sem_seg_head.pixel_decoder.input_proj.0.0.weight"] == (256, 8 * width, 1, 1)
    assert shapes["sem_seg_head.pixel_decoder.transformer.encoder.layers.5.linear1.weight"] == (1024, 256)
    assert shapes["sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.sampling_offsets.bias"] == (192,)
    assert shapes["sem_seg_head.predictor.query_feat.weight"] == (queries, 256)
    assert shapes["sem_seg_head.predictor.transformer_self_attention_layers.8.self_attn.in_proj_weight"] == (768, 256)
    assert shapes["sem_seg_head.predictor.transformer_ffn_layers.8.linear1.weight"] == (2048, 256)
    assert shapes["sem_seg_head.predictor.class_embed.weight"] == (41, 256)


def test_swin_t_with_40_classes_has_47_million_parameters() -> None:
    shapes = released_shapes("swin-t")

    def millions(beginning: str) -> float:
        return round(sum(prod(shape) for key, shape in shapes.items() if key.startswith(beginning)) / 1e6, 1)

    assert millions("backbone.") == 27.5
    assert millions("sem_seg_head.pixel_decoder.") == 5.4
    assert millions("sem_seg_head.predictor.") == 14.5
    assert millions("") == 47.4


def test_detectron2_and_transformers_lead_to_one_another(ours: dict[str, Tensor]) -> None:
    published = to_published(ours, DETECTRON2)

    there = to_published(from_published(published)[1], TRANSFORMERS)
    back = to_published(from_published(there)[1], DETECTRON2)

    assert differing(back, published) == []


def test_both_spellings_of_transformers_and_the_early_one_are_read(ours: dict[str, Tensor]) -> None:
    encoder = "model.pixel_level_module.encoder."
    in_file = to_published(ours, TRANSFORMERS)
    rest = {key: value for key, value in in_file.items() if not key.startswith(encoder)}
    in_memory = rest | {
        name.replace("trunk.backbone.body.", encoder): v for name, v in ours.items() if ".body." in name
    }
    early = {re.sub(r"encoder\.(embeddings|encoder)\.", r"encoder.model.\1.", key): v for key, v in in_file.items()}

    assert differing(from_published(in_memory)[1], ours) == []
    assert differing(from_published(early)[1], ours) == []


@pytest.mark.parametrize(("name", "convolutions"), [("r50", 53), ("r101", 104)])
def test_released_resnets_have_these_shapes(name: str, convolutions: int) -> None:
    backbone = {key: shape for key, shape in released_shapes(name).items() if key.startswith("backbone.")}

    assert len(backbone) == 5 * convolutions  # each with weight, scale, shift, mean and variance
    assert backbone["backbone.stem.conv1.norm.running_var"] == (64,)
    assert backbone["backbone.res2.0.shortcut.weight"] == (256, 64, 1, 1)
    assert backbone["backbone.res4.5.conv2.norm.bias"] == (256,)
    assert backbone["backbone.res5.2.conv3.weight"] == (2048, 512, 1, 1)


def test_missing_tensors_are_named(ours: dict[str, Tensor]) -> None:
    published = to_published(ours, DETECTRON2)
    for number in range(4):
        del published[f"backbone.norm{number}.weight"]

    with pytest.raises(
        WeightsError, match=r"misses tensors: `backbone.norm0.weight, .*norm1.*, .*norm2.weight and 1 more`"
    ):
        from_published(published)


def test_left_over_tensors_are_named(ours: dict[str, Tensor]) -> None:
    published = to_published(ours, TRANSFORMERS) | {"model.adapter.weight": torch.zeros(1)}

    with pytest.raises(WeightsError, match=r"unknown tensors: `model\.adapter\.weight`"):
        from_published(published)


def test_a_misshaped_tensor_is_named_with_both_shapes(ours: dict[str, Tensor]) -> None:
    key = "sem_seg_head.predictor.class_embed.bias"
    published = to_published(ours, DETECTRON2) | {key: torch.zeros(7)}

    with pytest.raises(WeightsError, match=rf"`{re.escape(key)}` \(has shape \(7,\), expected \(5,\)\)"):
        from_published(published)


def test_tensors_that_say_nothing_are_left_out(ours: dict[str, Tensor]) -> None:
    extra = [
        "backbone.layers.0.blocks.0.attn.relative_position_index",
        "criterion.empty_weight",
        "pixel_mean",
        "pixel_std",
    ]
    published = to_published(ours, DETECTRON2) | {key: torch.zeros(3) for key in extra}

    assert differing(from_published(published)[1], ours) == []


@pytest.mark.parametrize(
    ("tensors", "layout", "message"),
    [
        ({}, "auto", "misses tensors"),
        ({"conv1.weight": torch.zeros(3)}, "auto", "misses tensors"),
        ({}, "mmdet", "unknown layout: `mmdet`"),
    ],
    ids=["nothing", "another network", "another layout"],
)
def test_what_is_no_mask2former_is_refused(tensors: dict[str, Tensor], layout: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        from_published(tensors, layout)


def test_a_backbone_of_other_sizes_is_refused_with_its_sizes(ours: dict[str, Tensor]) -> None:
    kept = {name: value for name, value in ours.items() if ".layers.2.blocks.5." not in name}

    with pytest.raises(WeightsError, match=r"width 96, depths \[2, 2, 5, 2\], window 7"):
        from_published(to_published(kept, DETECTRON2))
