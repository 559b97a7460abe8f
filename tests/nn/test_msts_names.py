"""Names of SeqFormer's files and of their relatives: strict both ways, sizes read off the tensors."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from math import prod

import deformable_twin
import published_keys
import pytest
import torch
from torch import Tensor

from vistool.errors import WeightsError
from vistool.methods.msts.checkpoint import LAYOUTS, convert, preset_name
from vistool.methods.msts.class_columns import columns
from vistool.methods.msts.names import BOXES, BOXES_AGAIN, VNEXT, from_published, to_published
from vistool.methods.msts.network import Msts
from vistool.methods.msts.presets import PRESETS, Preset
from vistool.nn import backbones
from vistool.nn.published_tensors import to_layout
from vistool.weights.categories import category_list
from vistool.weights.foreign import Foreign

SIZES = Preset(
    backbone="resnet-tiny",
    frozen_norms=True,
    num_classes=5,
    queries=7,
    dim=64,
    encoder_layers=1,
    encoder_ffn=48,
    encoder_points=3,
    decoder_layers=2,
    decoder_ffn=40,
    decoder_points=2,
    mask_width=12,
    mask_features=6,
    mask_hidden=5,
)
BODY = "detr.backbone.0.body."
UNUSED = re.compile(r".*\.encoder\..*\.output_proj_box\..*")
Tensors = dict[str, Tensor]


@cache
def published() -> Tensors:
    """All tensors of a small network, filled, as a file has them."""
    tensors = to_published(Msts(SIZES).state_dict())
    once = {key: tensor for key, tensor in tensors.items() if not key.startswith(BOXES_AGAIN)}
    deformable_twin.fill({key: tensor for key, tensor in once.items() if not UNUSED.fullmatch(key)})
    return once | {BOXES_AGAIN + key.removeprefix(BOXES): t for key, t in once.items() if key.startswith(BOXES)}


def differing(a: Tensors, b: Tensors) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


def torchvision_resnet(depths: list[int]) -> set[str]:
    """Written out by hand; all blocks are bottlenecks."""
    statistics = ["weight", "bias", "running_mean", "running_var"]
    convolutions, norms = ["conv1"], ["bn1"]
    for stage, blocks in enumerate(depths, start=1):
        for block in range(blocks):
            convolutions += [f"layer{stage}.{block}.conv{i}" for i in (1, 2, 3)]
            norms += [f"layer{stage}.{block}.bn{i}" for i in (1, 2, 3)]
        convolutions.append(f"layer{stage}.0.downsample.0")
        norms.append(f"layer{stage}.0.downsample.1")
    return {f"{name}.weight" for name in convolutions} | {f"{name}.{end}" for name in norms for end in statistics}


def heads_of(preset: Preset) -> set[str]:
    """All names but those of the backbone, written out by hand from the public modules."""
    transformer = "detr.transformer."
    deformable = ["sampling_offsets", "attention_weights", "value_proj", "output_proj", "output_proj_box"]
    modules = [f"detr.input_proj.{level}.{part}" for level in range(4) for part in (0, 1)]
    modules.append(f"{transformer}reference_points")
    names = {"detr.query_embed.weight", f"{transformer}level_embed"}
    for i in range(preset.encoder_layers):
        layer = f"{transformer}encoder.layers.{i}."
        modules += [f"{layer}self_attn.{part}" for part in deformable]
        modules += [f"{layer}{part}" for part in ("norm1", "norm2", "linear1", "linear2")]
    for i in range(preset.decoder_layers):
        layer = f"{transformer}decoder.layers.{i}."
        modules += [f"{layer}cross_attn.{part}" for part in deformable]
        modules += [
            f"{layer}{part}{end}" for end in ("", "_box") for part in ("norm1", "norm2", "norm3", "linear1", "linear2")
        ]
        modules += [f"{layer}{part}.out_proj" for part in ("self_attn", "self_attn_box")]
        modules += [f"{layer}time_attention_weights", f"detr.class_embed.{i}"]
        modules += [
            f"{owner}bbox_embed.{i}.layers.{n}" for owner in ("detr.", f"{transformer}decoder.") for n in range(3)
        ]
        names |= {
            f"{layer}{part}.in_proj_{end}" for part in ("self_attn", "self_attn_box") for end in ("weight", "bias")
        }
    modules += [f"controller.layers.{n}" for n in range(3)]
    modules += [f"mask_head.{part}" for part in ("lay1", "lay2", "lay3", "lay4", "dcn")]
    return names | {f"{module}.{end}" for module in modules for end in ("weight", "bias")}


@cache
def on_paper(preset: str) -> Tensors:
    """The tensors of a published preset as a file has them, with shapes and without memory."""
    with torch.device("meta"):
        return to_published(Msts(replace(PRESETS[preset], class_columns="ytvis-ids")).state_dict())


def never_run(layers: int) -> Tensors:
    """What files of MSSTS-VIS have beside."""
    shapes = {"qkv.weight": (9, 3), "proj.weight": (3, 3), "proj.bias": (3,)}
    return {
        f"detr.transformer.decoder.layers.{i}.temp_attn_box.{part}": torch.zeros(shape)
        for i in range(layers)
        for part, shape in shapes.items()
    }


def test_there_and_back_is_the_same_to_the_bit() -> None:
    preset, ours = from_published(published())

    assert preset == SIZES
    assert differing(to_published(ours), published()) == []
    assert differing(from_published(to_published(ours))[1], ours) == []


@pytest.mark.parametrize(("preset", "keys"), [("r50", 733), ("r101", 988), ("x101", 988)])
def test_released_files_have_these_names_and_lead_to_these_sizes(preset: str, keys: int) -> None:
    released, expected = on_paper(preset), replace(PRESETS[preset], class_columns="ytvis-ids")

    with torch.device("meta"):
        sizes, _ = from_published(released)

    depths = [3, 4, 6, 3] if preset == "r50" else [3, 4, 23, 3]
    assert released.keys() == {BODY + name for name in torchvision_resnet(depths)} | heads_of(expected)
    assert len(released) == keys
    assert sizes == expected


def test_released_swins_have_these_names_and_lead_to_these_sizes() -> None:
    released, expected = on_paper("swin-l"), replace(PRESETS["swin-l"], class_columns="ytvis-ids")
    depths = backbones.SWINS["swin-large"]["depths"]
    indices = {f"{BODY}layers.{s}.blocks.{b}.attn.relative_position_index" for s in range(4) for b in range(depths[s])}

    with torch.device("meta"):
        sizes, _ = from_published(released | {key: torch.empty(1) for key in indices})

    swin = {BODY + name.removeprefix("backbone.") for name in published_keys.swin(depths)}
    assert released.keys() == swin | heads_of(expected)
    assert len(released.keys() | indices) == 825
    assert sizes == expected


@pytest.mark.parametrize(
    ("preset", "numbers"),
    [("r50", 48_404_173), ("r101", 67_344_077), ("x101", 111_488_717), ("swin-l", 218_741_441)],
)
def test_released_files_have_so_many_numbers(preset: str, numbers: int) -> None:
    frozen = re.compile(r".*\.(bn\d|downsample\.1)\..*")  # norms of a ResNet are no parameters there
    own = [t for key, t in on_paper(preset).items() if not key.startswith(BOXES_AGAIN) and not frozen.fullmatch(key)]

    assert sum(prod(tensor.shape) for tensor in own) == numbers


RELEASED_SHAPES = {
    "detr.backbone.0.body.layer1.0.downsample.1.running_mean": (256,),
    "detr.backbone.0.body.layer3.5.conv2.weight": (256, 256, 3, 3),
    "detr.input_proj.2.0.weight": (256, 2048, 1, 1),
    "detr.input_proj.3.0.weight": (256, 2048, 3, 3),
    "detr.query_embed.weight": (300, 512),
    "detr.transformer.level_embed": (4, 256),
    "detr.transformer.reference_points.weight": (2, 256),
    "detr.transformer.encoder.layers.5.self_attn.sampling_offsets.weight": (256, 256),
    "detr.transformer.encoder.layers.5.self_attn.attention_weights.weight": (128, 256),
    "detr.transformer.encoder.layers.5.self_attn.output_proj_box.weight": (256, 256),
    "detr.transformer.encoder.layers.5.linear1.weight": (1024, 256),
    "detr.transformer.decoder.layers.5.self_attn_box.in_proj_weight": (768, 256),
    "detr.transformer.decoder.layers.5.linear2_box.weight": (256, 1024),
    "detr.transformer.decoder.layers.5.time_attention_weights.weight": (1, 256),
    "detr.transformer.decoder.bbox_embed.5.layers.2.weight": (4, 256),
    "detr.class_embed.5.weight": (42, 256),
    "controller.layers.2.weight": (169, 256),
    "mask_head.lay1.weight": (64, 256, 3, 3),
    "mask_head.lay2.weight": (8, 64, 3, 3),
    "mask_head.dcn.weight": (256, 256, 3, 3),
}


def test_the_released_resnet_50_has_these_shapes() -> None:
    released = on_paper("r50")

    assert {key: tuple(released[key].shape) for key in RELEASED_SHAPES} == RELEASED_SHAPES


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("detr.input_proj", 5_639_168),
        ("detr.transformer.encoder", 4_935_936),
        ("detr.transformer.decoder.layers", 11_261_190),
        ("detr.bbox_embed", 795_672),
        ("detr.class_embed", 64_764),
        ("controller", 175_017),
        ("mask_head", 1_922_376),
    ],
)
def test_parts_of_the_released_resnet_50_have_so_many_numbers(part: str, numbers: int) -> None:
    assert sum(prod(tensor.shape) for key, tensor in on_paper("r50").items() if key.startswith(part + ".")) == numbers


def test_what_never_runs_in_files_of_msstsvis_is_dropped_and_said() -> None:
    made = convert(Foreign(published() | never_run(SIZES.decoder_layers)), "seqformer")

    assert len(never_run(6)) == 751 - 733
    assert differing(dict(made.tensors), from_published(published())[1]) == []
    assert "never runs" in made.info.notes
    assert convert(Foreign(published()), "seqformer").info.notes == ""


def test_names_of_parallel_training_are_read() -> None:
    wrapped = {f"module.{key}": tensor for key, tensor in published().items()}

    assert differing(from_published(wrapped)[1], from_published(published())[1]) == []


def test_files_of_vnext_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    bottlenecks = {**deformable_twin.BOTTLENECKS, "hidden_sizes": [32, 48, 64, 96]}
    monkeypatch.setitem(backbones.RESNETS, "resnet-bottlenecks", bottlenecks)
    sizes = replace(SIZES, backbone="resnet-bottlenecks", num_classes=40)
    ours = Msts(sizes).state_dict()
    plain = to_layout(ours, VNEXT)
    named = {f"detr.{key}": tensor for key, tensor in plain.items()}

    found, tensors = from_published(named | {"pixel_mean": torch.zeros(3)})

    of_backbone = {f"detr.detr.backbone.0.{key}" for key in published_keys.resnet(bottlenecks["depths"])}
    assert {key for key in named if ".backbone." in key} == of_backbone
    assert replace(found, backbone=sizes.backbone, backbone_sizes={}) == sizes
    assert differing(tensors, ours) == []


@pytest.mark.parametrize("body", ["detr.backbone.0.body.", "detr.backbone.0.body.backbone."])
def test_a_swin_is_found_wherever_it_lies_and_may_lack_the_norm_that_is_not_used(body: str) -> None:
    sizes = replace(SIZES, backbone="swin-tiny", frozen_norms=False)
    ours = Msts(sizes).state_dict()
    named = {
        body + key.removeprefix(BODY) if key.startswith(BODY) else key: tensor
        for key, tensor in to_published(ours).items()
        if not key.startswith(f"{BODY}norm0.")
    }

    found, tensors = from_published(named)

    assert found == sizes
    assert differing(tensors, ours) == []  # a fresh norm scales by one


@pytest.mark.parametrize(
    ("outputs", "classes", "name"),
    [(42, 40, "ytvis-ids"), (91, 80, "coco-ids"), (40, 40, "classes"), (25, 25, "classes")],
)
def test_columns_of_the_class_heads_keep_their_meaning(outputs: int, classes: int, name: str) -> None:
    heads = {
        key: torch.randn(outputs, *tensor.shape[1:]) for key, tensor in published().items() if ".class_embed." in key
    }

    made = convert(Foreign(published() | heads), "seqformer")

    preset = Preset(**made.info.sizes)
    assert (preset.num_classes, preset.class_columns, len(made.info.categories)) == (classes, name, classes)
    assert torch.equal(made.tensors["class_heads.1.weight"], heads["detr.class_embed.1.weight"])


def test_columns_that_are_numbers_of_a_data_set_are_its_numbers() -> None:
    for_ytvis = columns(replace(PRESETS["r50"], class_columns="ytvis-ids"))
    for_coco = columns(replace(PRESETS["r50"], num_classes=80, class_columns="coco-ids"))

    assert for_ytvis == list(range(1, 41)) == [category.id for category in category_list("ytvis2021")]
    assert for_coco == [category.id for category in category_list("coco")]
    with pytest.raises(ValueError, match="8 classes"):
        replace(PRESETS["r50"], num_classes=8, class_columns="ytvis-ids")


@pytest.mark.parametrize("absent", [BOXES, BOXES_AGAIN])
def test_box_heads_may_stand_under_one_name_alone(absent: str) -> None:
    once = {key: tensor for key, tensor in published().items() if not key.startswith(absent)}

    assert differing(from_published(once)[1], from_published(published())[1]) == []


def test_box_heads_that_contradict_one_another_are_refused() -> None:
    key = f"{BOXES_AGAIN}1.layers.0.bias"

    with pytest.raises(WeightsError, match=r"`detr\.bbox_embed\.1\.layers\.0\.bias`.*`" + re.escape(key)):
        from_published(published() | {key: published()[key] + 1})


def test_missing_tensors_are_named() -> None:
    kept = {key: tensor for key, tensor in published().items() if "1.norm3_box" not in key}

    with pytest.raises(WeightsError, match=r"misses tensors: `detr\.transformer\.decoder\.layers\.1\.norm3_box\.bias"):
        from_published(kept)


def test_left_over_tensors_are_named() -> None:
    with pytest.raises(WeightsError, match=r"unknown tensors: `detr\.extra`"):
        from_published(published() | {"detr.extra": torch.zeros(1)})


def test_a_misshaped_tensor_is_named_with_both_shapes() -> None:
    key = "detr.class_embed.1.bias"

    with pytest.raises(WeightsError, match=rf"`{re.escape(key)}` \(has shape \(7,\), expected \(5,\)\)"):
        from_published(published() | {key: torch.zeros(7)})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_network_is_refused(layout: str) -> None:
    with pytest.raises(WeightsError, match="misses tensors"):
        convert(Foreign({"sem_seg_head.predictor.query_feat.weight": torch.zeros(3)}), layout)


def test_seqformer_is_no_deformable_detr() -> None:
    with pytest.raises(WeightsError, match="misses tensors"):
        convert(Foreign(published()), "deformable-detr")


def test_an_unknown_layout_is_answered_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="unknown layout") as caught:
        convert(Foreign(published()), "idol")

    assert caught.value.hint == f"one of: {', '.join(LAYOUTS)}"


def test_presets_are_named_by_their_sizes_whatever_the_classes() -> None:
    released = replace(PRESETS["r50"], num_classes=80, class_columns="coco-ids")

    assert preset_name(released) == "r50"
    assert preset_name(replace(PRESETS["r50-paper"], num_classes=8)) == "r50-paper"
    assert preset_name(SIZES) == "custom"
