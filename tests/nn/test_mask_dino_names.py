"""MaskDINO's published names: strict both ways, releases told by their shapes, nothing lost on the way."""

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
from torch import Tensor

from vistool.errors import WeightsError
from vistool.nn import backbones
from vistool.nn.mask_dino.names import from_published, to_published
from vistool.nn.mask_dino.network import MaskDino
from vistool.nn.mask_dino.sizes import PRESETS, MaskDinoSizes

BOTTLENECKS: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [24, 32, 48, 64], "depths": [1, 2, 1, 1]}
SMALL: dict[str, Any] = {
    "num_classes": 4,
    "dim": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn": 40,
    "decoder_ffn": 48,
    "points": 2,
}
RELEASES = {
    "r50-hid1024": replace(PRESETS["r50-hid1024"], backbone="resnet-bottlenecks", **SMALL),
    "r50-hid2048": replace(PRESETS["r50-hid2048"], backbone="resnet-bottlenecks", **SMALL),
    "swin-l": replace(PRESETS["swin-l"], backbone="swin-tiny", **SMALL),
}
HEAD = "sem_seg_head."
PIXELS, QUERIES = HEAD + "pixel_decoder.", HEAD + "predictor."
BOTH = ("weight", "bias")


@pytest.fixture(scope="module", autouse=True)
def small_resnet() -> Iterator[None]:
    """A ResNet of the published kind, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.RESNETS, "resnet-bottlenecks", BOTTLENECKS)
        yield


def weights_of(sizes: MaskDinoSizes) -> dict[str, Tensor]:
    """Every tensor filled with numbers of its own, so that no two can be taken for one another."""
    tensors = MaskDino(sizes).state_dict()
    return {name: torch.rand_like(tensor) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return to_published(weights_of(RELEASES["r50-hid2048"]))


@cache
def released_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Published names and shapes of a preset."""
    with torch.device("meta"):
        tensors = MaskDino(PRESETS[name]).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in to_published(tensors).items()}


def both(*modules: str) -> set[str]:
    return {f"{module}.{end}" for module in modules for end in BOTH}


def head_keys(levels: int, encoder_layers: int, decoder_layers: int) -> set[str]:
    """The names beside the backbone, written out from the public module."""
    sampling = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
    keys = {PIXELS + "transformer.level_embed", QUERIES + "label_enc.weight"}
    keys |= both(*(f"{PIXELS}input_proj.{level}.{part}" for level in range(levels) for part in (0, 1)))
    for layer in range(encoder_layers):
        root = f"{PIXELS}transformer.encoder.layers.{layer}."
        keys |= both(*(f"{root}self_attn.{part}" for part in sampling))
        keys |= both(*(root + part for part in ("norm1", "linear1", "linear2", "norm2")))
    keys |= both(PIXELS + "mask_features")
    for name in ("adapter_1", "layer_1"):
        keys |= {f"{PIXELS}{name}.weight", f"{PIXELS}{name}.norm.weight", f"{PIXELS}{name}.norm.bias"}
    keys |= both(*(QUERIES + name for name in ("enc_output", "enc_output_norm", "class_embed", "decoder_norm")))
    keys |= both(QUERIES + "decoder.norm", *(f"{QUERIES}decoder.ref_point_head.layers.{n}" for n in (0, 1)))
    shared = ["mask_embed", "_bbox_embed"]
    shared += [f"{owner}bbox_embed.{layer}" for owner in ("", "decoder.") for layer in range(decoder_layers)]
    keys |= both(*(f"{QUERIES}{name}.layers.{number}" for name in shared for number in range(3)))
    for layer in range(decoder_layers):
        root = f"{QUERIES}decoder.layers.{layer}."
        keys |= both(*(f"{root}cross_attn.{part}" for part in sampling), root + "self_attn.out_proj")
        keys |= {root + "self_attn.in_proj_weight", root + "self_attn.in_proj_bias"}
        keys |= both(*(root + part for part in ("norm1", "norm2", "norm3", "linear1", "linear2")))
    return keys


def backbone_keys(sizes: MaskDinoSizes) -> set[str]:
    if sizes.backbone in backbones.SWINS:
        return set(published_keys.swin(backbones.SWINS[sizes.backbone]["depths"]))
    return set(published_keys.resnet(backbones.RESNETS[sizes.backbone]["depths"]))


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


@pytest.mark.parametrize("sizes", RELEASES.values(), ids=RELEASES)
def test_there_and_back_is_the_same_to_the_bit_and_sizes_are_read_off_the_shapes(sizes: MaskDinoSizes) -> None:
    ours = weights_of(sizes)
    published = to_published(ours)

    found_sizes, found = from_published(published)

    assert found_sizes == sizes
    assert differing(found, ours) == []
    assert differing(to_published(found), published) == []


@pytest.mark.parametrize("name", ["r50-hid1024", "r50-hid2048", "swin-l"])
def test_every_published_name_is_used_and_no_other(name: str) -> None:
    sizes = PRESETS[name]

    assert released_shapes(name).keys() == backbone_keys(sizes) | head_keys(len(sizes.strides), 6, 9)


def test_the_heads_of_the_releases_have_454_and_450_tensors() -> None:
    def count(name: str) -> int:
        return sum(key.startswith(HEAD) for key in released_shapes(name))

    assert count("r50-hid2048") == 454
    assert count("r50-hid1024") == 450


def test_the_head_of_r50_hid2048_has_28_6_million_parameters() -> None:
    shapes = {
        key: shape
        for key, shape in released_shapes("r50-hid2048").items()
        if key.startswith(HEAD) and not re.search(r"\.bbox_embed|decoder\.norm", key)  # other names of the same
    }

    assert round(sum(prod(shape) for shape in shapes.values()) / 1e6, 1) == 28.6


@pytest.mark.parametrize(
    ("name", "first", "extra", "offsets", "ffn"),
    [
        ("r50-hid1024", (256, 2048, 1, 1), None, 192, 1024),
        ("r50-hid2048", (256, 512, 1, 1), (256, 2048, 3, 3), 256, 2048),
        ("swin-l", (256, 192, 1, 1), (256, 1536, 3, 3), 320, 2048),
    ],
)
def test_the_releases_have_these_shapes(
    name: str, first: tuple[int, ...], extra: tuple[int, ...] | None, offsets: int, ffn: int
) -> None:
    shapes = released_shapes(name)
    last = len(PRESETS[name].strides) - 1

    assert shapes[PIXELS + "input_proj.0.0.weight"] == first
    assert extra is None or shapes[f"{PIXELS}input_proj.{last}.0.weight"] == extra
    assert shapes[PIXELS + "transformer.encoder.layers.5.self_attn.sampling_offsets.bias"] == (offsets,)
    assert shapes[PIXELS + "transformer.encoder.layers.0.linear1.weight"] == (ffn, 256)
    assert shapes[QUERIES + "decoder.layers.8.cross_attn.sampling_offsets.bias"] == (offsets,)
    assert shapes[QUERIES + "decoder.layers.8.linear1.weight"] == (2048, 256)
    assert shapes[QUERIES + "decoder.ref_point_head.layers.0.weight"] == (256, 512)
    assert shapes[QUERIES + "class_embed.weight"] == shapes[QUERIES + "label_enc.weight"] == (80, 256)
    assert shapes[QUERIES + "_bbox_embed.layers.2.weight"] == (4, 256)


def test_norms_go_by_the_place_where_they_stand(published: dict[str, Tensor]) -> None:
    _, ours = from_published(published)

    for theirs, mine in {"norm1": "cross_attn_norm", "norm2": "self_attn_norm", "norm3": "ffn_norm"}.items():
        assert torch.equal(published[f"{QUERIES}decoder.layers.1.{theirs}.bias"], ours[f"decoder.layers.1.{mine}.bias"])
    fused = published[QUERIES + "decoder.layers.1.self_attn.in_proj_weight"]
    assert torch.equal(torch.cat([ours[f"decoder.layers.1.self_attn.to_{x}.weight"] for x in "qkv"]), fused)


@pytest.mark.parametrize(
    "alias",
    ["decoder.norm.weight", "bbox_embed.1.layers.2.bias", "decoder.bbox_embed.0.layers.0.weight"],
)
def test_two_names_of_one_tensor_must_agree(alias: str, published: dict[str, Tensor]) -> None:
    differs = published | {QUERIES + alias: published[QUERIES + alias] + 1}

    with pytest.raises(WeightsError, match=rf"twice and differs: `{re.escape(QUERIES + alias)}`"):
        from_published(differs)


def test_any_one_of_its_names_will_do(published: dict[str, Tensor]) -> None:
    expected = from_published(published)[1]
    without_aliases = {key: v for key, v in published.items() if not re.search(r"\.bbox_embed|decoder\.norm", key)}
    one_alias_each = {
        key: value
        for key, value in published.items()
        if not re.search(r"predictor\.(_?bbox_embed|decoder_norm)|decoder\.bbox_embed\.0", key)
    }

    assert differing(from_published(without_aliases)[1], expected) == []
    assert differing(from_published(one_alias_each)[1], expected) == []


def test_a_box_head_of_a_layer_that_is_not_there_is_left_over(published: dict[str, Tensor]) -> None:
    key = QUERIES + "bbox_embed.2.layers.0.bias"

    with pytest.raises(WeightsError, match=rf"unknown tensors: `{re.escape(key)}`"):
        from_published(published | {key: published[QUERIES + "bbox_embed.1.layers.0.bias"]})


def test_missing_and_left_over_tensors_are_named(published: dict[str, Tensor]) -> None:
    key = QUERIES + "enc_output.weight"

    with pytest.raises(WeightsError, match=rf"misses tensors: `{re.escape(key)}` \(of MaskDINO\)"):
        from_published({name: tensor for name, tensor in published.items() if name != key})
    with pytest.raises(WeightsError, match=rf"unknown tensors: `{re.escape(QUERIES)}query_feat.weight`"):
        from_published(published | {QUERIES + "query_feat.weight": torch.zeros(300, 32)})


def test_a_misshaped_tensor_is_named_with_both_shapes(published: dict[str, Tensor]) -> None:
    key = QUERIES + "label_enc.weight"

    with pytest.raises(WeightsError, match=rf"`{re.escape(key)}` \(has shape \(5, 32\), expected \(4, 32\)\)"):
        from_published(published | {key: torch.zeros(5, 32)})


def test_tensors_that_say_nothing_are_left_out(published: dict[str, Tensor]) -> None:
    extra = {key: torch.zeros(3) for key in ("criterion.empty_weight", "pixel_mean", "pixel_std")}

    assert differing(from_published(published | extra)[1], from_published(published)[1]) == []


def test_an_order_of_levels_that_nobody_released_is_refused(published: dict[str, Tensor]) -> None:
    first, last = (f"{PIXELS}input_proj.{level}.0.weight" for level in (0, 3))
    swapped = published | {first: published[last], last: published[first]}

    with pytest.raises(WeightsError, match="input_proj"):
        from_published(swapped)


@pytest.mark.parametrize("tensors", [{}, {"conv1.weight": torch.zeros(3)}], ids=["nothing", "another network"])
def test_what_is_no_mask_dino_is_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="misses tensors"):
        from_published(tensors)
