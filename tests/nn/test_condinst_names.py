"""Names of CondInst's files in three layouts: strict both ways, sizes read off the tensors."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod
from typing import Any

import condinst_twin as twin
import pytest
import torch
from torch import Tensor

from vistool.errors import WeightsError
from vistool.nn.backbones import RESNETS, Backbone
from vistool.nn.condinst.layouts import PIXELS
from vistool.nn.condinst.names import from_published, to_published
from vistool.nn.condinst.sizes import PUBLISHED, CondInstSizes

IMAGE = replace(twin.SIZES, num_ids=0, id_depth=1, tower_bias=True)  # of a detector that was trained on images
BASIC: dict[str, Any] = {**twin.BACKBONE, "layer_type": "basic", "depths": [2, 1, 1, 1]}
PUBLISHED_RESNET: dict[str, Any] = {"embedding_size": 64, "layer_type": "bottleneck", **RESNETS["resnet-50"]}


def in_layout(layout: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of IAI's names as another project's file has them."""
    if layout == "iai":
        return tensors
    if layout == "mmdet-condinst":
        return twin.renamed(tensors, twin.MMDET)
    theirs = twin.renamed(tensors, twin.ADELAIDET)
    return {key: tensor[None] if key.endswith(".scale") else tensor for key, tensor in theirs.items()}


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


CASES = [
    pytest.param("iai", twin.SIZES, twin.BACKBONE, id="iai"),
    pytest.param("iai", replace(twin.SIZES, num_ids=3, tower_depth=1, mask_depth=1), BASIC, id="iai, other sizes"),
    pytest.param("iai", replace(IMAGE, tower_bias=False), twin.BACKBONE, id="iai, without identities"),
    pytest.param("mmdet-condinst", IMAGE, twin.BACKBONE, id="mmdet"),
    pytest.param("mmdet-condinst", replace(IMAGE, dim=32, mask_width=8, mask_depth=2), BASIC, id="mmdet, other sizes"),
    pytest.param("adelaidet-condinst", IMAGE, twin.BACKBONE, id="adelaidet"),
    pytest.param(
        "adelaidet-condinst", replace(IMAGE, tower_depth=4, mask_features=8), twin.BACKBONE, id="adelaidet, other sizes"
    ),
]


@pytest.mark.parametrize(("layout", "sizes", "backbone"), CASES)
def test_there_and_back_is_the_same_to_the_bit(layout: str, sizes: CondInstSizes, backbone: dict[str, Any]) -> None:
    file = in_layout(layout, twin.released(sizes, backbone))

    found = from_published(file, layout)

    assert found.sizes == sizes
    assert found.backbone == ("resnet-msra" if layout == "adelaidet-condinst" else "resnet")
    assert found.backbone_sizes == backbone
    assert found.in_channels == tuple(backbone["hidden_sizes"])
    assert differing(to_published(found.tensors, layout), file) == []


@pytest.mark.parametrize("layout", ["mmdet-condinst", "adelaidet-condinst"])
def test_layouts_are_the_same_tensors_under_other_names(layout: str) -> None:
    file = twin.released(IMAGE)
    expected = from_published(file, "iai").tensors
    stem = "backbone.body.embedder.embedder.convolution.weight"

    ours = from_published(in_layout(layout, file), layout).tensors

    other = [stem] if layout == "adelaidet-condinst" else []  # which reads BGR
    assert differing(ours, expected) == other


@pytest.mark.parametrize(("name", "depths"), [("resnet-50", [3, 4, 6, 3]), ("resnet-101", [3, 4, 23, 3])])
@pytest.mark.parametrize("layout", ["iai", "mmdet-condinst", "adelaidet-condinst"])
def test_released_sizes_go_by_their_names(layout: str, name: str, depths: list[int]) -> None:
    sizes = PUBLISHED if layout == "iai" else replace(PUBLISHED, num_classes=80, num_ids=0, tower_bias=True)
    with torch.device("meta"):
        shapes = twin.released_shapes(sizes, {**PUBLISHED_RESNET, "depths": depths})
        file = in_layout(layout, {key: torch.empty(shape) for key, shape in shapes.items()})
        found = from_published(file, layout)

    assert (found.backbone, found.backbone_sizes) == (name + "-msra" * (layout == "adelaidet-condinst"), {})
    assert found.sizes == sizes
    assert found.in_channels == (256, 512, 1024, 2048)


@pytest.mark.parametrize(("part", "millions"), [("backbone", 23.51), ("neck", 3.87), ("bbox_head", 7.33)])
def test_parts_of_the_released_resnet_50_have_so_many_parameters(part: str, millions: float) -> None:
    with torch.device("meta"):
        shapes = twin.released_shapes(PUBLISHED, PUBLISHED_RESNET)
        file = {key: torch.empty(shape) for key, shape in shapes.items()}
        back = to_published(from_published(file, "iai").tensors, "iai")

    learned = {key: tensor for key, tensor in back.items() if not key.endswith(("running_mean", "running_var"))}
    count = sum(prod(tensor.shape) for key, tensor in learned.items() if key.startswith(part + "."))

    assert back.keys() == file.keys()
    assert count / 1e6 == pytest.approx(millions, abs=0.005)


@torch.no_grad()
def test_a_backbone_of_adelaidet_sees_rgb_as_its_makers_saw_bgr() -> None:
    file = twin.released(IMAGE)
    image = torch.randn(1, 3, 64, 96)

    found = from_published(in_layout("adelaidet-condinst", file), "adelaidet-condinst")

    backbone = Backbone(found.backbone, sizes=found.backbone_sizes).eval()
    backbone.load_state_dict(
        {n.removeprefix("backbone."): t for n, t in found.tensors.items() if n.startswith("backbone.")}
    )
    theirs = twin.maps_of(file, image.flip(1), stride_first=True)
    for one, expected in zip(backbone(image), theirs, strict=True):
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)
    other = twin.maps_of(file, image.flip(1))[-1]
    assert not torch.allclose(theirs[-1], other, atol=1e-2)  # where the stride stands is no matter of taste


def test_pixels_of_adelaidet_are_told_in_rgb() -> None:
    mean, std = PIXELS["adelaidet-condinst"]

    assert mean[0] > mean[1] > mean[2]
    assert std == (1.0, 1.0, 1.0)
    assert PIXELS.keys() == {"iai", "mmdet-condinst", "adelaidet-condinst"}


def test_the_pyramid_may_read_a_map_that_is_not_the_backbones() -> None:
    """What IAI puts in the place of C5 need not be as wide."""
    found = from_published(twin.released(deepest=40), "iai")

    assert found.in_channels == (16, 24, 32, 40)


def test_both_spellings_of_the_outputs_are_read() -> None:
    file = twin.released(IMAGE)
    spelt = {re.sub(r"conv_(cls|reg|centerness)", r"fcos_\1", key): tensor for key, tensor in file.items()}

    assert "bbox_head.fcos_cls.weight" in spelt
    assert differing(from_published(spelt, "iai").tensors, from_published(file, "iai").tensors) == []


def test_an_output_in_two_spellings_is_refused() -> None:
    file = twin.released(IMAGE)

    with pytest.raises(WeightsError, match=r"unknown tensors: `bbox_head\.fcos_cls\.bias`"):
        from_published(file | {"bbox_head.fcos_cls.bias": file["bbox_head.conv_cls.bias"]}, "iai")


def test_a_scale_may_have_a_dimension() -> None:
    file = twin.released()
    spelt = {key: tensor[None] if key.endswith(".scale") else tensor for key, tensor in file.items()}

    assert differing(from_published(spelt, "iai").tensors, from_published(file, "iai").tensors) == []


EXTRA = {
    "iai": ["backbone.bn1.num_batches_tracked", "bbox_head.mask_refine.0.1.num_batches_tracked"],
    "mmdet-condinst": ["backbone.layer1.0.bn1.num_batches_tracked", "data_preprocessor.mean"],
    "adelaidet-condinst": [
        "pixel_mean",
        "mask_head.sizes_of_interest",
        "mask_head._iter",
        "mask_branch.refine.0.1.num_batches_tracked",
        "mask_branch.seg_head.0.0.weight",
        "mask_branch.logits.weight",
    ],
}


@pytest.mark.parametrize("layout", EXTRA)
def test_tensors_that_say_nothing_are_left_out(layout: str) -> None:
    file = in_layout(layout, twin.released(IMAGE))

    found = from_published(file | {key: torch.zeros(3) for key in EXTRA[layout]}, layout)

    assert differing(to_published(found.tensors, layout), file) == []


@pytest.mark.parametrize("layout", EXTRA)
def test_left_over_tensors_are_named(layout: str) -> None:
    file = in_layout(layout, twin.released(IMAGE))

    with pytest.raises(WeightsError, match=r"unknown tensors: `backbone\.extra`"):
        from_published(file | {"backbone.extra": torch.zeros(1)}, layout)


MISSING = [
    ("iai", "bbox_head.id_convs.1.gn.bias"),
    ("iai", "bbox_head.conv_id.weight"),
    ("iai", "bbox_head.controller.bias"),
    ("iai", "backbone.conv1.weight"),
    ("iai", "neck.lateral_convs.0.conv.bias"),
    ("mmdet-condinst", "mask_head.mask_feature_head.convs_all_levels.2.conv2.bn.running_var"),
    ("mmdet-condinst", "backbone.layer2.1.bn3.weight"),
    ("adelaidet-condinst", "proposal_generator.fcos_head.bbox_tower.4.weight"),
    ("adelaidet-condinst", "backbone.top_block.p7.bias"),
]


@pytest.mark.parametrize(("layout", "absent"), MISSING, ids=[f"{layout}: {key}" for layout, key in MISSING])
def test_missing_tensors_are_named(layout: str, absent: str) -> None:
    file = in_layout(layout, twin.released(twin.SIZES if layout == "iai" else IMAGE))
    assert absent in file

    with pytest.raises(WeightsError, match=rf"misses tensors: `{re.escape(absent)}`"):
        from_published({key: tensor for key, tensor in file.items() if key != absent}, layout)


def test_a_misshaped_tensor_is_named_with_both_shapes() -> None:
    key = "bbox_head.conv_reg.bias"

    with pytest.raises(WeightsError, match=rf"`{re.escape(key)}` \(has shape \(5,\), expected \(4,\)\)"):
        from_published(twin.released() | {key: torch.zeros(5)}, "iai")


def test_a_controller_that_fits_no_mask_head_is_refused() -> None:
    numbers = {"bbox_head.controller.weight": torch.zeros(70, 64, 3, 3), "bbox_head.controller.bias": torch.zeros(70)}

    with pytest.raises(WeightsError, match=r"`bbox_head\.controller\.bias` \(has 70 numbers"):
        from_published(twin.released() | numbers, "iai")


def test_a_width_that_no_such_network_has_is_refused() -> None:
    with pytest.raises(WeightsError, match="width of the pyramid: 48"):
        from_published(twin.released(replace(twin.SIZES, dim=48)), "iai")


def test_another_network_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"misses tensors: `backbone\.conv1\.weight`"):
        from_published({"sem_seg_head.predictor.query_feat.weight": torch.zeros(3)}, "iai")
