"""Names of torchvision's files: strict both ways, sizes read off the tensors."""

from __future__ import annotations

import re
from functools import cache
from math import prod

import mask_rcnn_scenes as scenes
import pytest
import torch
from torch import Tensor

from vistool.errors import WeightsError
from vistool.nn.backbones import RESNETS, Backbone
from vistool.nn.detector import Detections
from vistool.nn.mask_rcnn.names import Published, from_published, of_classes, to_published
from vistool.nn.mask_rcnn.network import MaskRcnn
from vistool.nn.mask_rcnn.sizes import MaskRcnnSizes

RELEASED = MaskRcnnSizes(num_classes=90, num_ids=0)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return scenes.published()


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


@cache
def on_paper(backbone: str) -> dict[str, Tensor]:
    """The tensors of a released file, with shapes and without memory."""
    with torch.device("meta"):
        body = Backbone(backbone)
        detector = MaskRcnn(RELEASED, body.channels)
    ours = {f"backbone.{name}": tensor for name, tensor in body.state_dict().items()}
    ours |= {f"detector.{name}": tensor for name, tensor in detector.state_dict().items()}
    return to_published(ours)


def released_names(backbone: str) -> set[str]:
    """Written out by hand from the public modules."""
    names = {"backbone.body.conv1.weight"}
    norms = ["backbone.body.bn1"]
    for stage, blocks in enumerate(RESNETS[backbone]["depths"], start=1):
        for block in range(blocks):
            layer = f"backbone.body.layer{stage}.{block}."
            names |= {f"{layer}conv{number}.weight" for number in (1, 2, 3)}
            norms += [f"{layer}bn{number}" for number in (1, 2, 3)]
        names.add(f"backbone.body.layer{stage}.0.downsample.0.weight")
        norms.append(f"backbone.body.layer{stage}.0.downsample.1")
    names |= {f"{norm}.{part}" for norm in norms for part in ("weight", "bias", "running_mean", "running_var")}
    modules = [f"backbone.fpn.{kind}_blocks.{level}.0" for kind in ("inner", "layer") for level in range(4)]
    modules += ["rpn.head.conv.0.0", "rpn.head.cls_logits", "rpn.head.bbox_pred"]
    modules += [
        f"roi_heads.box_{part}" for part in ("head.fc6", "head.fc7", "predictor.cls_score", "predictor.bbox_pred")
    ]
    modules += [f"roi_heads.mask_head.{number}.0" for number in range(4)]
    modules += ["roi_heads.mask_predictor.conv5_mask", "roi_heads.mask_predictor.mask_fcn_logits"]
    return names | {f"{module}.{end}" for module in modules for end in ("weight", "bias")}


def older(key: str) -> str:
    """What the first files call a tensor."""
    key = re.sub(r"(inner_blocks|layer_blocks)\.(\d)\.0\.", r"\1.\2.", key).replace(
        "rpn.head.conv.0.0.", "rpn.head.conv."
    )
    return re.sub(r"mask_head\.(\d)\.0\.", lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.", key)


def test_there_and_back_is_the_same_to_the_bit(published: dict[str, Tensor]) -> None:
    found = from_published(published)

    assert differing(to_published(found.tensors), published) == []
    assert differing(from_published(to_published(found.tensors)).tensors, found.tensors) == []


def test_sizes_are_read_off_the_tensors(published: dict[str, Tensor]) -> None:
    found = from_published(published)

    assert found.sizes == MaskRcnnSizes(num_classes=5, num_ids=0, dim=32, box_dim=48, mask_convolutions=2, mask_dim=24)
    assert found.in_channels == (64, 128, 256, 512)
    assert found.backbone_sizes["depths"] == [1, 1, 1, 1]


@pytest.mark.parametrize("backbone", ["resnet-50", "resnet-101"])
def test_released_files_have_these_names_and_lead_to_these_sizes(backbone: str) -> None:
    released = on_paper(backbone)

    with torch.device("meta"):
        found = from_published(released)

    assert released.keys() == released_names(backbone)
    assert found.sizes == RELEASED
    assert (found.backbone, found.backbone_sizes) == (backbone, {})
    assert found.in_channels == (256, 512, 1024, 2048)


def test_the_released_resnet_50_has_as_many_numbers_as_torchvision_says() -> None:
    """Of weights that learn; its norms are frozen."""
    norms = re.compile(r"backbone\.body\..*(bn\d|downsample\.1)\.")
    learned = [tensor for key, tensor in on_paper("resnet-50").items() if not norms.match(key)]

    assert sum(prod(tensor.shape) for tensor in learned) == 44_401_393
    assert len(on_paper("resnet-50")) == 307


RELEASED_SHAPES = {
    "backbone.body.conv1.weight": (64, 3, 7, 7),
    "backbone.body.layer4.0.downsample.0.weight": (2048, 1024, 1, 1),
    "backbone.fpn.inner_blocks.0.0.weight": (256, 256, 1, 1),
    "backbone.fpn.inner_blocks.3.0.weight": (256, 2048, 1, 1),
    "backbone.fpn.layer_blocks.3.0.weight": (256, 256, 3, 3),
    "rpn.head.conv.0.0.weight": (256, 256, 3, 3),
    "rpn.head.cls_logits.weight": (3, 256, 1, 1),
    "rpn.head.bbox_pred.weight": (12, 256, 1, 1),
    "roi_heads.box_head.fc6.weight": (1024, 12544),
    "roi_heads.box_head.fc7.weight": (1024, 1024),
    "roi_heads.box_predictor.cls_score.weight": (91, 1024),
    "roi_heads.box_predictor.bbox_pred.weight": (364, 1024),
    "roi_heads.mask_head.3.0.weight": (256, 256, 3, 3),
    "roi_heads.mask_predictor.conv5_mask.weight": (256, 256, 2, 2),
    "roi_heads.mask_predictor.mask_fcn_logits.weight": (91, 256, 1, 1),
}


def test_the_released_resnet_50_has_these_shapes() -> None:
    released = on_paper("resnet-50")

    assert {key: tuple(released[key].shape) for key in RELEASED_SHAPES} == RELEASED_SHAPES


def test_the_older_names_are_read(published: dict[str, Tensor]) -> None:
    first = {older(key): tensor for key, tensor in published.items()}

    assert {
        "backbone.fpn.inner_blocks.3.bias",
        "rpn.head.conv.weight",
        "roi_heads.mask_head.mask_fcn1.weight",
    } < first.keys()
    assert differing(from_published(first).tensors, from_published(published).tensors) == []


def test_counters_of_norms_are_left_out(published: dict[str, Tensor]) -> None:
    extra = {"backbone.body.bn1.num_batches_tracked": torch.tensor(7)}

    assert differing(from_published(published | extra).tensors, from_published(published).tensors) == []


def test_missing_tensors_are_named(published: dict[str, Tensor]) -> None:
    kept = {key: tensor for key, tensor in published.items() if "box_head.fc7" not in key}

    with pytest.raises(WeightsError, match=r"misses tensors: `roi_heads\.box_head\.fc7\.bias, .*weight`"):
        from_published(kept)


def test_left_over_tensors_are_named(published: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"unknown tensors: `roi_heads\.box_head\.5\.0\.weight`"):
        from_published(published | {"roi_heads.box_head.5.0.weight": torch.zeros(1)})


def test_a_misshaped_tensor_is_named_with_both_shapes(published: dict[str, Tensor]) -> None:
    key = "roi_heads.box_predictor.bbox_pred.bias"

    with pytest.raises(WeightsError, match=rf"`{re.escape(key)}` \(has shape \(20,\), expected \(24,\)\)"):
        from_published(published | {key: torch.zeros(20)})


def test_a_box_head_that_reads_boxes_of_another_size_is_refused(published: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"fc6\.weight` \(reads 512 numbers of a box, expected 1568\)"):
        from_published(published | {"roi_heads.box_head.fc6.weight": torch.zeros(48, 512)})


def test_another_network_is_refused() -> None:
    with pytest.raises(WeightsError, match="misses tensors"):
        from_published({"model.query_feat.weight": torch.zeros(3)})


def candidates(published: Published, frame: Tensor) -> tuple[MaskRcnn, Detections]:
    backbone = Backbone(published.backbone, sizes=published.backbone_sizes).eval()
    detector = MaskRcnn(published.sizes, published.in_channels).eval()
    for module, prefix in ((backbone, "backbone."), (detector, "detector.")):
        own = {name.removeprefix(prefix): t for name, t in published.tensors.items() if name.startswith(prefix)}
        module.load_state_dict(own)
    with torch.no_grad():
        return detector, detector.detect(backbone(frame), (96, 160))


def test_some_of_the_classes_say_of_each_other_what_they_said_among_all(published: dict[str, Tensor]) -> None:
    whole, frame, rows = from_published(published), scenes.images()[:1], [3, 0]

    part = of_classes(whole, rows)

    (all_network, every), (network, some) = candidates(whole, frame), candidates(part, frame)
    assert part.sizes.num_classes == 2
    ratio = some.class_scores / every.class_scores[:, rows]
    torch.testing.assert_close(ratio[:, 0], ratio[:, 1], atol=1e-3, rtol=1e-3)
    named = [row for row in range(50) if int(every.handles[row, 4]) in rows]
    assert len(named) > 5
    torch.testing.assert_close(some.boxes[named], every.boxes[named], atol=1e-3, rtol=1e-4)
    masks = network.masks(some, torch.tensor(named)), all_network.masks(every, torch.tensor(named))
    torch.testing.assert_close(*masks, atol=1e-3, rtol=1e-4)


def test_classes_that_are_not_there_are_refused(published: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"no class in row 5 \(it has 5\)"):
        of_classes(from_published(published), [0, 5])
