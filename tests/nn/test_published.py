"""Published names: strict both ways, and nothing lost on the way there and back."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vistool.errors import WeightsError
from vistool.nn.masked_decoder import MaskedDecoder
from vistool.nn.presets import Mask2FormerSizes
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
RESNET = replace(SWIN, backbone="resnet-tiny", frozen_norms=True)
TRANSFORMERS, DETECTRON2 = LAYOUTS


def weights_of(sizes: Mask2FormerSizes) -> dict[str, Tensor]:
    return nn.ModuleDict({"trunk": FrameTrunk(sizes), "decoder": MaskedDecoder(sizes)}).state_dict()


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


PUBLISHED_NAMES = {  # as they stand in the released files
    "backbone.patch_embed.proj.weight": (96, 3, 4, 4),
    "backbone.layers.2.blocks.5.attn.qkv.bias": (1152,),
    "backbone.layers.0.blocks.1.attn.relative_position_bias_table": (169, 3),
    "backbone.layers.1.downsample.reduction.weight": (384, 768),
    "backbone.norm3.weight": (768,),
    "sem_seg_head.pixel_decoder.input_proj.0.0.weight": (32, 768, 1, 1),
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.linear1.weight": (40, 32),
    "sem_seg_head.pixel_decoder.adapter_1.norm.bias": (32,),
    "sem_seg_head.pixel_decoder.layer_1.weight": (32, 32, 3, 3),
    "sem_seg_head.predictor.query_feat.weight": (6, 32),
    "sem_seg_head.predictor.transformer_cross_attention_layers.1.multihead_attn.in_proj_weight": (96, 32),
    "sem_seg_head.predictor.transformer_self_attention_layers.0.norm.weight": (32,),
    "sem_seg_head.predictor.transformer_ffn_layers.1.linear2.weight": (32, 48),
    "sem_seg_head.predictor.mask_embed.layers.2.bias": (32,),
    "sem_seg_head.predictor.class_embed.weight": (5, 32),
}


def test_detectron2_names_are_those_of_the_released_files(ours: dict[str, Tensor]) -> None:
    published = to_published(ours, DETECTRON2)

    assert {key: tuple(published[key].shape) for key in PUBLISHED_NAMES} == PUBLISHED_NAMES


def test_resnet_names_are_those_of_detectron2() -> None:
    with torch.device("meta"):
        published = to_published(weights_of(replace(RESNET, backbone="resnet-50")), DETECTRON2)

    backbone = {key: tuple(value.shape) for key, value in published.items() if key.startswith("backbone.")}
    assert len(backbone) == 53 * 5  # 53 convolutions, each with weight, scale, shift, mean and variance
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
