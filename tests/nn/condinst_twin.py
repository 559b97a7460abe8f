"""IAI's CondInst once more: names and shapes of its files by hand, and the network as plain functions of them."""

from __future__ import annotations

import re
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.nn.condinst.sizes import CondInstSizes

BACKBONE: dict[str, Any] = {
    "embedding_size": 16,
    "hidden_sizes": [16, 24, 32, 48],
    "depths": [1, 2, 1, 1],
    "layer_type": "bottleneck",
}
SIZES = CondInstSizes(
    num_classes=5,
    num_ids=7,
    dim=64,
    tower_depth=2,
    id_depth=2,
    mask_width=12,
    mask_depth=3,
    mask_features=6,
    mask_hidden=5,
)
STRIDES = (8, 16, 32, 64, 128)

Tensors = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def released_shapes(sizes: CondInstSizes, backbone: dict[str, Any] = BACKBONE, deepest: int | None = None) -> Shapes:
    """Names and shapes of IAI's files, without IAI's modules; `deepest`: channels that the pyramid reads of C5."""
    shapes = resnet_shapes(backbone)
    dim, width = sizes.dim, sizes.mask_width
    channels = [*backbone["hidden_sizes"][1:3], deepest or backbone["hidden_sizes"][3]]
    for i, inputs in enumerate(channels):
        shapes |= with_bias(f"neck.lateral_convs.{i}.conv", (dim, inputs, 1, 1))
    for i in range(5):
        shapes |= with_bias(f"neck.fpn_convs.{i}.conv", (dim, dim, 3, 3))
        shapes[f"bbox_head.scales.{i}.scale"] = ()
    outputs = {"cls": sizes.num_classes, "reg": 4, "centerness": 1}
    towers = {"cls": sizes.tower_depth, "reg": sizes.tower_depth}
    if sizes.num_ids:
        outputs["id"], towers["id"] = sizes.num_ids, sizes.id_depth
    for name, depth in towers.items():
        for i in range(depth):
            block = f"bbox_head.{name}_convs.{i}"
            convolution = with_bias(f"{block}.conv", (dim, dim, 3, 3))
            shapes |= convolution if sizes.tower_bias else {f"{block}.conv.weight": (dim, dim, 3, 3)}
            shapes |= {f"{block}.gn.weight": (dim,), f"{block}.gn.bias": (dim,)}
    for name, count in outputs.items():
        shapes |= with_bias(f"bbox_head.conv_{name}", (count, dim, 3, 3))
    f, h = sizes.mask_features, sizes.mask_hidden
    shapes |= with_bias("bbox_head.controller", ((f + 2) * h + h * h + h + h + h + 1, dim, 3, 3))
    for i in range(3):
        shapes |= {f"bbox_head.mask_refine.{i}.0.weight": (width, dim, 3, 3)} | norm(
            f"bbox_head.mask_refine.{i}.1", width
        )
    for i in range(sizes.mask_depth):
        shapes |= {f"bbox_head.mask_head.{i}.0.weight": (width, width, 3, 3)} | norm(
            f"bbox_head.mask_head.{i}.1", width
        )
    return shapes | with_bias(f"bbox_head.mask_head.{sizes.mask_depth}", (f, width, 1, 1))


def resnet_shapes(sizes: dict[str, Any]) -> Shapes:
    stem = sizes["embedding_size"]
    shapes: Shapes = {"backbone.conv1.weight": (stem, 3, 7, 7)} | norm("backbone.bn1", stem)
    inputs = stem
    for stage, (outputs, depth) in enumerate(zip(sizes["hidden_sizes"], sizes["depths"], strict=True), start=1):
        for i in range(depth):
            block = f"backbone.layer{stage}.{i}"
            if sizes["layer_type"] == "bottleneck":
                narrow = outputs // 4
                kernels = [(narrow, inputs, 1, 1), (narrow, narrow, 3, 3), (outputs, narrow, 1, 1)]
            else:
                kernels = [(outputs, inputs, 3, 3), (outputs, outputs, 3, 3)]
            for j, kernel in enumerate(kernels, start=1):
                shapes |= {f"{block}.conv{j}.weight": kernel} | norm(f"{block}.bn{j}", kernel[0])
            if i == 0 and (inputs != outputs or stage > 1):
                shapes |= {f"{block}.downsample.0.weight": (outputs, inputs, 1, 1)} | norm(
                    f"{block}.downsample.1", outputs
                )
            inputs = outputs
    return shapes


def with_bias(name: str, kernel: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": kernel, f"{name}.bias": kernel[:1]}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def released(sizes: CondInstSizes = SIZES, backbone: dict[str, Any] = BACKBONE, deepest: int | None = None) -> Tensors:
    """A file of IAI's image model, with weights that keep every stage alive and no two norms alike."""
    return {name: _filled(name, shape) for name, shape in released_shapes(sizes, backbone, deepest).items()}


def _filled(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith(("running_var", ".scale")):
        return 0.5 + torch.rand(shape)
    if len(shape) == 4:
        return torch.randn(shape) * (2 / prod(shape[1:])) ** 0.5
    return (1.0 if name.endswith("weight") else 0.0) + 0.2 * torch.randn(shape)


MMDET = [  # pattern of IAI's name, MMDetection's; in this order
    (r"bbox_head\.mask_refine\.(\d)\.0\.", r"mask_head.mask_feature_head.convs_all_levels.\1.conv\1.conv."),
    (r"bbox_head\.mask_refine\.(\d)\.1\.", r"mask_head.mask_feature_head.convs_all_levels.\1.conv\1.bn."),
    (r"bbox_head\.mask_head\.(\d)\.0\.", r"mask_head.mask_feature_head.conv_branch.\1.conv."),
    (r"bbox_head\.mask_head\.(\d)\.1\.", r"mask_head.mask_feature_head.conv_branch.\1.bn."),
    (r"bbox_head\.mask_head\.\d\.", r"mask_head.mask_feature_head.conv_pred."),
]
ADELAIDET = [
    (r"backbone\.conv1\.", "backbone.bottom_up.stem.conv1."),
    (r"backbone\.bn1\.", "backbone.bottom_up.stem.conv1.norm."),
    *((rf"backbone\.layer{k}\.", f"backbone.bottom_up.res{k + 1}.") for k in range(1, 5)),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"downsample\.0\.", "shortcut."),
    (r"downsample\.1\.", "shortcut.norm."),
    *((rf"neck\.lateral_convs\.{i}\.conv", f"backbone.fpn_lateral{i + 3}") for i in range(3)),
    *((rf"neck\.fpn_convs\.{i}\.conv", f"backbone.fpn_output{i + 3}") for i in range(3)),
    (r"neck\.fpn_convs\.3\.conv", "backbone.top_block.p6"),
    (r"neck\.fpn_convs\.4\.conv", "backbone.top_block.p7"),
    *((rf"_convs\.{i}\.{part}\.", f"_tower.{3 * i + j}.") for i in range(4) for j, part in enumerate(("conv", "gn"))),
    (r"bbox_head\.reg_tower", "bbox_head.bbox_tower"),
    (r"conv_cls", "cls_logits"),
    (r"conv_reg", "bbox_pred"),
    (r"conv_centerness", "ctrness"),
    (r"bbox_head\.mask_refine", "mask_branch.refine"),
    (r"bbox_head\.mask_head", "mask_branch.tower"),
    (r"bbox_head\.controller", "controller"),
    (r"bbox_head\.", "proposal_generator.fcos_head."),
]


def renamed(tensors: Tensors, table: list[tuple[str, str]]) -> Tensors:
    """The same tensors as files of another project have them."""
    found = {}
    for name, tensor in tensors.items():
        for pattern, theirs in table:
            name = re.sub(pattern, theirs, name)
        found[name] = tensor
    return found


class Outputs(NamedTuple):
    classes: Tensor  # (K, h, w) logits of one level
    ids: Tensor
    boxes: Tensor  # (4, h, w) corners
    centerness: Tensor  # (1, h, w) logits
    kernels: Tensor


def maps_of(published: Tensors, image: Tensor, *, stride_first: bool = False) -> list[Tensor]:
    """image (1, 3, H, W) → C2 to C5; `stride_first`: of bottlenecks whose first convolution has the stride."""

    def normed(name: str, x: Tensor) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(published[f"{name}.{part}"] for part in parts))

    x = F.conv2d(image, published["backbone.conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(normed("backbone.bn1", x)), 3, stride=2, padding=1)
    maps = []
    for stage in range(1, 5):
        number = 0
        while f"backbone.layer{stage}.{number}.conv1.weight" in published:
            block, step = f"backbone.layer{stage}.{number}.", 2 if stage > 1 and number == 0 else 1
            y, last = x, 3 if f"{block}conv3.weight" in published else 2
            strided = 1 if stride_first or last == 2 else 2
            for j in range(1, last + 1):
                kernel = published[f"{block}conv{j}.weight"]
                y = F.conv2d(y, kernel, stride=step if j == strided else 1, padding=kernel.shape[-1] // 2)
                y = normed(f"{block}bn{j}", y)
                y = y if j == last else F.relu(y)
            if f"{block}downsample.0.weight" in published:
                x = normed(f"{block}downsample.1", F.conv2d(x, published[f"{block}downsample.0.weight"], stride=step))
            x = F.relu(x + y)
            number += 1
        maps.append(x)
    return maps


def pyramid(published: Tensors, maps: list[Tensor]) -> list[Tensor]:
    """C3 to C5 → P3 to P7; sides are even."""

    def convolved(name: str, x: Tensor, **how: int) -> Tensor:
        return F.conv2d(x, published[f"neck.{name}.conv.weight"], published[f"neck.{name}.conv.bias"], **how)

    c3, c4, c5 = (convolved(f"lateral_convs.{i}", x) for i, x in enumerate(maps))
    c4 = c4 + c5.repeat_interleave(2, 2).repeat_interleave(2, 3)
    c3 = c3 + c4.repeat_interleave(2, 2).repeat_interleave(2, 3)
    levels = [convolved(f"fpn_convs.{i}", x, padding=1) for i, x in enumerate((c3, c4, c5))]
    p6 = convolved("fpn_convs.3", levels[2], stride=2, padding=1)
    return [*levels, p6, convolved("fpn_convs.4", F.relu(p6), stride=2, padding=1)]


def outputs(published: Tensors, level: Tensor, number: int) -> Outputs:
    """What the head says of level `number`, (1, D, h, w)."""

    def tower(name: str) -> Tensor:
        x, i = level, 0
        while f"bbox_head.{name}_convs.{i}.conv.weight" in published:
            block = f"bbox_head.{name}_convs.{i}."
            x = F.conv2d(x, published[f"{block}conv.weight"], published.get(f"{block}conv.bias"), padding=1)
            x, i = F.relu(F.group_norm(x, 32, published[f"{block}gn.weight"], published[f"{block}gn.bias"])), i + 1
        return x

    def output(name: str, x: Tensor) -> Tensor:
        return F.conv2d(x, published[f"bbox_head.{name}.weight"], published[f"bbox_head.{name}.bias"], padding=1)[0]

    stride, for_boxes = STRIDES[number], tower("reg")
    reach = F.relu(published[f"bbox_head.scales.{number}.scale"] * output("conv_reg", for_boxes)) * stride
    boxes = torch.empty_like(reach)
    for i in range(reach.shape[1]):
        for j in range(reach.shape[2]):
            x, y = j * stride + stride // 2, i * stride + stride // 2
            left, top, right, bottom = reach[:, i, j]
            boxes[:, i, j] = torch.stack([x - left, y - top, x + right, y + bottom])
    return Outputs(
        output("conv_cls", tower("cls")),
        output("conv_id", tower("id")),
        boxes,
        output("conv_centerness", for_boxes),
        output("controller", for_boxes),
    )


def mask_features(published: Tensors, levels: list[Tensor]) -> Tensor:
    """P3 to P5 → (features, h, w), with the statistics of the file."""

    def block(name: str, x: Tensor) -> Tensor:
        parts = (f"{name}.1.{part}" for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.conv2d(x, published[f"{name}.0.weight"], padding=1)
        return F.relu(F.batch_norm(x, *(published[part] for part in parts)))

    x = sum(upsampled(block(f"bbox_head.mask_refine.{i}", level), 2**i) for i, level in enumerate(levels))
    i = 0
    while f"bbox_head.mask_head.{i}.0.weight" in published:
        x, i = block(f"bbox_head.mask_head.{i}", x), i + 1
    last = f"bbox_head.mask_head.{i}."
    return F.conv2d(x, published[f"{last}weight"], published[f"{last}bias"])[0]


def mask(kernel: Tensor, features: Tensor, point: tuple[float, float], stride: int, hidden: int) -> Tensor:
    """Logits (2·h, 2·w) of what was found at a point x, y in pixels, by three convolutions."""
    rows, columns = features.shape[1:]
    dx = (point[0] - (8 * torch.arange(columns) + 4)) / (8 * stride)
    dy = (point[1] - (8 * torch.arange(rows) + 4)) / (8 * stride)
    x = torch.cat([dx.expand(1, rows, -1), dy[:, None].expand(1, -1, columns), features])
    w0, w1, w2, b0, b1, b2 = kernel.split([len(x) * hidden, hidden * hidden, hidden, hidden, hidden, 1])
    x = F.relu(F.conv2d(x, w0.view(hidden, -1, 1, 1), b0))
    x = F.relu(F.conv2d(x, w1.view(hidden, hidden, 1, 1), b1))
    return upsampled(F.conv2d(x, w2.view(1, hidden, 1, 1), b2), 2)[0]


def upsampled(x: Tensor, factor: int) -> Tensor:
    """Aligned bilinear (…, h, w) → (…, factor·h, factor·w), as a product with one matrix a side."""
    rows, columns = (_line(side, factor) for side in x.shape[-2:])
    return rows @ x @ columns.T


def _line(side: int, factor: int) -> Tensor:
    """(factor·side, side): pixel o reads at (o - factor // 2) / factor, and the nearest one outside."""
    where = ((torch.arange(factor * side) - factor // 2) / factor).clamp(0, side - 1)
    return (1 - (where[:, None] - torch.arange(side)).abs()).clamp(min=0)
