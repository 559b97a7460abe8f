"""Names of IDOL's files: strict both ways, sizes read off the tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import prod

import deformable_twin
import published_keys
import pytest
import torch
from torch import Tensor

from vistool.errors import WeightsError
from vistool.nn import backbones
from vistool.nn.idol_detector.names import from_published, to_published
from vistool.nn.idol_detector.network import IdolDetector
from vistool.nn.idol_detector.sizes import PRESETS, IdolSizes

SIZES = deformable_twin.SIZES
BACKBONE = "detr.detr.backbone.0."


@pytest.fixture(scope="module", autouse=True)
def small_resnet() -> Iterator[None]:
    """A ResNet of the published kind, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.RESNETS, SIZES.backbone, deformable_twin.BOTTLENECKS)
        yield


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """All tensors of a small detector, filled, as a file of IDOL has them."""
    return deformable_twin.as_published(deformable_twin.twin()) | deformable_twin.rest_published()


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


def released_names(sizes: IdolSizes) -> set[str]:
    """Written out by hand from the public modules."""
    if sizes.backbone in backbones.SWINS:
        names = set(published_keys.swin(backbones.SWINS[sizes.backbone]["depths"]))
    else:
        names = set(published_keys.resnet(backbones.RESNETS[sizes.backbone]["depths"]))
    names = {BACKBONE + name for name in names}
    transformer = "detr.detr.transformer."
    deformable = ["sampling_offsets", "attention_weights", "value_proj", "output_proj"]
    modules = [f"detr.detr.input_proj.{level}.{part}" for level in range(4) for part in (0, 1)]
    modules.append(f"{transformer}reference_points")
    for i in range(sizes.encoder_layers):
        layer = f"{transformer}encoder.layers.{i}."
        modules += [f"{layer}self_attn.{part}" for part in deformable]
        modules += [f"{layer}{part}" for part in ("norm1", "norm2", "linear1", "linear2")]
    for i in range(sizes.decoder_layers):
        layer = f"{transformer}decoder.layers.{i}."
        modules += [f"{layer}cross_attn.{part}" for part in deformable]
        modules += [
            f"{layer}{part}" for part in ("self_attn.out_proj", "norm1", "norm2", "norm3", "linear1", "linear2")
        ]
        modules += [f"detr.detr.class_embed.{i}"]
        names |= {f"{layer}self_attn.in_proj_{end}" for end in ("weight", "bias")}
        for owner in ("detr.detr.", f"{transformer}decoder."):
            modules += [f"{owner}bbox_embed.{i}.layers.{number}" for number in range(3)]
    modules += [f"detr.{head}.layers.{number}" for head in ("controller", "reid_embed_head") for number in range(3)]
    modules += [f"detr.mask_head.{part}" for part in ("lay1", "lay2", "lay3", "lay4", "dcn")]
    names |= {"detr.detr.query_embed.weight", f"{transformer}level_embed"}
    return names | {f"{module}.{end}" for module in modules for end in ("weight", "bias")}


@cache
def on_paper(preset: str) -> dict[str, Tensor]:
    """The tensors of a preset as a file has them, with shapes and without memory."""
    with torch.device("meta"):
        return to_published(IdolDetector(PRESETS[preset]).state_dict())


def test_there_and_back_is_the_same_to_the_bit(published: dict[str, Tensor]) -> None:
    sizes, ours = from_published(published)

    assert sizes == SIZES
    assert differing(to_published(ours), published) == []
    assert differing(from_published(to_published(ours))[1], ours) == []


@pytest.mark.parametrize("preset", ["r50", "swin-l"])
def test_released_files_have_these_names_and_lead_to_these_sizes(preset: str) -> None:
    released = on_paper(preset)

    with torch.device("meta"):
        sizes, _ = from_published(released)

    assert released.keys() == released_names(PRESETS[preset])
    assert sizes == PRESETS[preset]
    assert len([key for key in released if not key.startswith(BACKBONE)]) == 354


RELEASED_SHAPES = {
    "detr.detr.backbone.0.backbone.res4.5.conv2.norm.bias": (256,),
    "detr.detr.input_proj.0.0.weight": (256, 512, 1, 1),
    "detr.detr.input_proj.3.0.weight": (256, 2048, 3, 3),
    "detr.detr.query_embed.weight": (300, 512),
    "detr.detr.transformer.level_embed": (4, 256),
    "detr.detr.transformer.reference_points.weight": (2, 256),
    "detr.detr.transformer.encoder.layers.5.self_attn.sampling_offsets.weight": (256, 256),
    "detr.detr.transformer.encoder.layers.5.self_attn.attention_weights.weight": (128, 256),
    "detr.detr.transformer.encoder.layers.5.linear1.weight": (1024, 256),
    "detr.detr.transformer.decoder.layers.5.self_attn.in_proj_weight": (768, 256),
    "detr.detr.transformer.decoder.layers.5.linear2.weight": (256, 1024),
    "detr.detr.class_embed.5.weight": (40, 256),
    "detr.detr.bbox_embed.5.layers.2.weight": (4, 256),
    "detr.controller.layers.2.weight": (169, 256),
    "detr.mask_head.lay1.weight": (64, 256, 3, 3),
    "detr.mask_head.lay2.weight": (8, 64, 3, 3),
    "detr.mask_head.dcn.weight": (256, 256, 3, 3),
    "detr.reid_embed_head.layers.2.weight": (256, 256),
}


def test_the_released_resnet_50_has_these_shapes() -> None:
    released = on_paper("r50")

    assert {key: tuple(released[key].shape) for key in RELEASED_SHAPES} == RELEASED_SHAPES


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("detr.detr.backbone", 23_508_032 + 53_120),  # weights, scales and shifts; means and variances
        ("detr.detr.input_proj", 5_639_168),
        ("detr.detr.transformer.encoder", 4_541_184),
        ("detr.detr.bbox_embed", 795_672),
        ("detr.controller", 175_017),
        ("detr.mask_head", 1_922_376),
    ],
)
def test_parts_of_the_released_resnet_50_have_so_many_numbers(part: str, numbers: int) -> None:
    assert sum(prod(tensor.shape) for key, tensor in on_paper("r50").items() if key.startswith(part + ".")) == numbers


@pytest.mark.parametrize("classes", [25, 80, 42])
def test_any_number_of_classes_is_read(published: dict[str, Tensor], classes: int) -> None:
    heads = {
        key: torch.randn(classes, *tensor.shape[1:]) for key, tensor in published.items() if ".class_embed." in key
    }

    sizes, ours = from_published(published | heads)

    assert sizes == replace(SIZES, num_classes=classes)
    assert torch.equal(ours["class_heads.2.weight"], heads["detr.detr.class_embed.2.weight"])


@pytest.mark.parametrize("absent", ["detr.detr.bbox_embed.", "detr.detr.transformer.decoder.bbox_embed."])
def test_box_heads_may_stand_under_one_name_alone(published: dict[str, Tensor], absent: str) -> None:
    once = {key: tensor for key, tensor in published.items() if not key.startswith(absent)}

    assert differing(from_published(once)[1], from_published(published)[1]) == []


def test_box_heads_that_contradict_one_another_are_refused(published: dict[str, Tensor]) -> None:
    key = "detr.detr.transformer.decoder.bbox_embed.1.layers.0.bias"

    with pytest.raises(WeightsError, match=r"`detr\.detr\.bbox_embed\.1\.layers\.0\.bias`.*`" + re.escape(key)):
        from_published(published | {key: published[key] + 1})


def test_the_names_of_the_detector_alone_are_read(published: dict[str, Tensor]) -> None:
    alone = {key.removeprefix("detr."): tensor for key, tensor in published.items()}

    assert differing(from_published(alone)[1], from_published(published)[1]) == []


def test_tensors_that_say_nothing_are_left_out(published: dict[str, Tensor]) -> None:
    extra = [
        "pixel_mean",
        "pixel_std",
        "criterion.empty_weight",
        f"{BACKBONE}backbone.stem.conv1.norm.num_batches_tracked",
    ]

    sizes, _ = from_published(published | {key: torch.zeros(3) for key in extra})

    assert sizes == SIZES


def test_missing_tensors_are_named(published: dict[str, Tensor]) -> None:
    kept = {key: tensor for key, tensor in published.items() if "reid_embed_head.layers.1" not in key}

    with pytest.raises(WeightsError, match=r"misses tensors: `detr\.reid_embed_head\.layers\.1\.bias, .*weight`"):
        from_published(kept)


def test_left_over_tensors_are_named(published: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"unknown tensors: `detr\.detr\.extra`"):
        from_published(published | {"detr.detr.extra": torch.zeros(1)})


def test_a_misshaped_tensor_is_named_with_both_shapes(published: dict[str, Tensor]) -> None:
    key = "detr.detr.class_embed.1.bias"

    with pytest.raises(WeightsError, match=rf"`{re.escape(key)}` \(has shape \(7,\), expected \(5,\)\)"):
        from_published(published | {key: torch.zeros(7)})


def test_a_controller_that_fits_no_mask_head_is_refused(published: dict[str, Tensor]) -> None:
    numbers = {"detr.controller.layers.2.weight": torch.zeros(70, 64), "detr.controller.layers.2.bias": torch.zeros(70)}

    with pytest.raises(WeightsError, match=r"controller.*has 70 numbers"):
        from_published(published | numbers)


def test_a_width_that_no_such_network_has_is_refused(published: dict[str, Tensor]) -> None:
    narrow = {"detr.detr.transformer.decoder.layers.0.linear2.bias": torch.zeros(48)}

    with pytest.raises(WeightsError, match="width of queries: 48"):
        from_published(published | narrow)


def test_another_network_is_refused() -> None:
    with pytest.raises(WeightsError, match="misses tensors"):
        from_published({"sem_seg_head.predictor.query_feat.weight": torch.zeros(3)})


def test_a_swin_may_lack_the_norm_of_the_map_that_is_not_used() -> None:
    sizes = replace(SIZES, backbone="swin-tiny", frozen_norms=False)
    ours = IdolDetector(sizes).state_dict()
    kept = {key: tensor for key, tensor in to_published(ours).items() if ".backbone.norm0." not in key}

    found_sizes, found = from_published(kept)

    assert found_sizes == sizes
    assert differing(found, ours) == []  # a fresh norm scales by one
