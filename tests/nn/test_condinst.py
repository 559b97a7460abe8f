"""CondInst against the same network as plain functions of a published file's tensors."""

from __future__ import annotations

from dataclasses import replace
from math import log

import condinst_twin as twin
import pytest
import torch
from torch import Tensor, nn

from vistool.nn.backbones import Backbone
from vistool.nn.condinst.names import from_published
from vistool.nn.condinst.network import CondInst
from vistool.nn.condinst.sizes import PRESETS, PUBLISHED

SIZES = twin.SIZES
FRAME = (64, 96)
SIDES = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]  # of the levels
CHANNELS = (3, 8, 12, 16)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return twin.released()


@pytest.fixture(scope="module")
def network(published: dict[str, Tensor]) -> nn.ModuleDict:
    """Backbone and detector of the file, in evaluation."""
    found = from_published(published, "iai")
    backbone = Backbone(found.backbone, frozen_norms=True, sizes=found.backbone_sizes)
    both = nn.ModuleDict({"backbone": backbone, "detector": CondInst(found.sizes, found.in_channels)})
    both.load_state_dict(found.tensors)
    return both.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def maps(network: nn.ModuleDict) -> tuple[Tensor, ...]:
    return network["backbone"](torch.randn(1, 3, *FRAME))


def random_maps(channels: tuple[int, ...], frames: int) -> tuple[Tensor, ...]:
    return tuple(torch.randn(frames, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True))


def flat(x: Tensor) -> Tensor:
    """(C, h, w) → (h·w, C)."""
    return torch.stack([x[:, i, j] for i in range(x.shape[1]) for j in range(x.shape[2])])


def test_maps_of_the_backbone_are_those_of_the_published_tensors(
    published: dict[str, Tensor], network: nn.ModuleDict
) -> None:
    image = torch.randn(1, 3, *FRAME)

    found = network["backbone"](image)

    for one, expected in zip(found, twin.maps_of(published, image), strict=True):
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


def test_every_point_says_what_the_published_tensors_say(
    published: dict[str, Tensor], network: nn.ModuleDict, maps: tuple[Tensor, ...]
) -> None:
    found = network["detector"](maps)

    levels = twin.pyramid(published, list(maps[1:]))
    expected = [twin.outputs(published, level, number) for number, level in enumerate(levels)]
    pairs = {
        "classes": found.class_logits,
        "ids": found.id_logits,
        "boxes": found.boxes,
        "centerness": found.centerness[..., None],
        "kernels": found.kernels,
    }
    for name, one in pairs.items():
        wanted = torch.cat([flat(getattr(level, name)) for level in expected])
        torch.testing.assert_close(one[0], wanted, atol=2e-3, rtol=1e-3)
        assert wanted.std() > 0.1
    features = twin.mask_features(published, levels[:3])
    torch.testing.assert_close(found.features[0], features, atol=1e-4, rtol=1e-4)


def test_points_lie_in_the_middle_of_their_cells(network: nn.ModuleDict, maps: tuple[Tensor, ...]) -> None:
    found = network["detector"](maps)

    expected = [
        (j * stride + stride // 2, i * stride + stride // 2, stride, level)
        for level, ((height, width), stride) in enumerate(zip(SIDES, twin.STRIDES, strict=True))
        for i in range(height)
        for j in range(width)
    ]
    assert [
        (*point, stride, level)
        for point, stride, level in zip(
            found.points.tolist(), found.strides.tolist(), found.levels.tolist(), strict=True
        )
    ] == expected


def test_masks_are_three_convolutions_around_their_point(network: nn.ModuleDict, maps: tuple[Tensor, ...]) -> None:
    detector = network["detector"]
    raw, found = detector(maps), detector.detect(maps, FRAME)
    rows = torch.tensor([128, 5, 98, 120, 126])  # of every level one

    masks = detector.masks(found, rows)

    expected = [
        twin.mask(raw.kernels[0, p], raw.features[0], tuple(raw.points[p].tolist()), int(raw.strides[p]), 5).sigmoid()
        for p in rows
    ]
    assert sorted(found.levels[rows].tolist()) == [0, 1, 2, 3, 4]
    torch.testing.assert_close(masks, torch.stack(expected), atol=1e-4, rtol=1e-4)
    assert masks.std() > 0.05


def test_no_rows_have_no_masks(network: nn.ModuleDict, maps: tuple[Tensor, ...]) -> None:
    found = network["detector"].detect(maps, FRAME)

    assert network["detector"].masks(found, torch.arange(0)).shape == (0, 16, 24)


def test_detections_are_the_raw_outputs_of_one_frame(network: nn.ModuleDict, maps: tuple[Tensor, ...]) -> None:
    detector = network["detector"]
    raw = detector(maps)

    found = detector.detect(maps, FRAME)

    torch.testing.assert_close(found.class_scores, raw.class_logits[0].sigmoid())
    torch.testing.assert_close(found.id_scores, raw.id_logits[0].sigmoid())
    torch.testing.assert_close(found.quality, raw.centerness[0].sigmoid())
    assert torch.equal(found.boxes, raw.boxes[0])
    assert torch.equal(found.levels, raw.levels)
    assert found.id_scores.shape == (129, 7)
    assert float(found.boxes.min()) < 0  # not clipped


def test_frames_do_not_see_one_another_in_evaluation(network: nn.ModuleDict) -> None:
    detector = network["detector"]
    both = random_maps(detector.in_channels, 2)

    together, alone = detector(both), detector(tuple(x[1:] for x in both))

    torch.testing.assert_close(together.class_logits[1:], alone.class_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.features[1:], alone.features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("norm", "alike"), [("group", True), ("batch", False)])
def test_group_norms_keep_frames_apart_in_training_too(norm: str, alike: bool) -> None:
    detector = CondInst(replace(PRESETS["tiny"], mask_norm=norm), CHANNELS).train()
    both = random_maps(CHANNELS, 2)

    together, alone = detector(both), detector(tuple(x[1:] for x in both))

    assert torch.allclose(together.features[1:], alone.features, atol=1e-4) is alike


def test_the_finest_map_is_not_read(network: nn.ModuleDict, maps: tuple[Tensor, ...]) -> None:
    detector = network["detector"]

    other = detector((maps[0] + 1, *maps[1:]))

    assert torch.equal(other.class_logits, detector(maps).class_logits)


def test_a_detector_may_know_no_identities() -> None:
    detector = CondInst(replace(PRESETS["tiny"], num_ids=0), CHANNELS).eval()

    found = detector.detect(random_maps(CHANNELS, 1), FRAME)

    assert found.id_scores.shape == (129, 0)
    assert not [name for name in detector.state_dict() if "id_" in name]


def test_every_parameter_is_trained() -> None:
    detector = CondInst(PRESETS["tiny"], CHANNELS).train()
    nn.init.normal_(detector.head.box.bias, std=1.0)  # a fresh one may be silenced by its ReLU

    found = detector(random_maps(CHANNELS, 2))
    parts = [found.class_logits, found.id_logits, found.boxes, found.centerness, found.kernels, found.features]
    torch.stack([part.square().mean() for part in parts]).sum().backward()

    assert [name for name, parameter in detector.named_parameters() if parameter.grad is None] == []
    assert [name for name, parameter in detector.named_parameters() if not parameter.grad.any()] == []


def test_it_begins_as_published() -> None:
    detector = CondInst(PUBLISHED, (256, 512, 1024, 2048))
    head = detector.head

    convolutions = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 4 + 4 + 1 + 5
    for convolution in convolutions:
        assert float(convolution.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    for output in (head.class_logits, head.id_logits):
        assert output.bias.tolist() == pytest.approx([-log(99)] * len(output.bias))
    assert not any(output.bias.any() for output in (head.box, head.centerness, head.controller))
    assert [scale.item() for scale in head.scales] == [1.0] * 5
    assert all(module.bias is None for module in head.class_tower.modules() if isinstance(module, nn.Conv2d))
    assert all(m.num_groups == 32 for m in head.modules() if isinstance(m, nn.GroupNorm))


@pytest.mark.parametrize(
    ("part", "millions"),
    [("fpn", 3.87), ("bbox_head", 7.33)],
)
def test_the_published_sizes_have_so_many_parameters(part: str, millions: float) -> None:
    with torch.device("meta"):
        detector = CondInst(PUBLISHED, (256, 512, 1024, 2048))
    parts = {"fpn": [detector.fpn], "bbox_head": [detector.head, detector.mask_branch]}[part]

    count = sum(parameter.numel() for module in parts for parameter in module.parameters())

    assert count / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_tiny_one_has_less_than_a_million() -> None:
    with torch.device("meta"):
        detector = CondInst(PRESETS["tiny"], (32, 64, 128, 256))

    assert sum(parameter.numel() for parameter in detector.parameters()) < 1e6
    assert not [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]


def test_frozen_norms_of_a_loaded_backbone_stay_in_training(network: nn.ModuleDict) -> None:
    backbone, image = network["backbone"], torch.randn(2, 3, *FRAME)
    before = backbone(image)

    after = backbone.train()(image)
    backbone.eval()

    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_half_precision_spoils_no_coordinates(network: nn.ModuleDict, maps: tuple[Tensor, ...]) -> None:
    """Pixels do not fit into eight bits."""
    detector = network["detector"]
    exact = detector.detect(maps, FRAME)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detector.detect(maps, FRAME)
        masks = detector.masks(found, torch.arange(4))

    assert found.boxes.dtype == found.handles.dtype == masks.dtype == torch.float32
    assert torch.equal(found.handles[:, -3:], exact.handles[:, -3:])
