"""Made-up frames, and weights that depend on their published names alone, for the tests of Mask R-CNN."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from vistool.nn.boxes import mask_boxes
from vistool.nn.detector import DetectorTargets

WIDTHS = [64, 128, 256, 512]


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Of torchvision's Mask R-CNN on a ResNet with one basic block a stage: pyramid 32 wide, box head 48, mask head 24,
    five classes. Written out by hand from the public modules.
    """
    shapes: dict[str, tuple[int, ...]] = {"backbone.body.conv1.weight": (64, 3, 7, 7), **norm("backbone.body.bn1", 64)}
    for stage, (before, width) in enumerate(zip([64, *WIDTHS], WIDTHS, strict=False), start=1):
        block = f"backbone.body.layer{stage}.0."
        shapes |= {f"{block}conv1.weight": (width, before, 3, 3), f"{block}conv2.weight": (width, width, 3, 3)}
        shapes |= norm(f"{block}bn1", width) | norm(f"{block}bn2", width)
        if before != width:
            shapes |= {f"{block}downsample.0.weight": (width, before, 1, 1), **norm(f"{block}downsample.1", width)}
    weights = {
        **{f"backbone.fpn.inner_blocks.{i}.0": (32, width, 1, 1) for i, width in enumerate(WIDTHS)},
        **{f"backbone.fpn.layer_blocks.{i}.0": (32, 32, 3, 3) for i in range(4)},
        "rpn.head.conv.0.0": (32, 32, 3, 3),
        "rpn.head.cls_logits": (3, 32, 1, 1),
        "rpn.head.bbox_pred": (12, 32, 1, 1),
        "roi_heads.box_head.fc6": (48, 32 * 7 * 7),
        "roi_heads.box_head.fc7": (48, 48),
        "roi_heads.box_predictor.cls_score": (6, 48),
        "roi_heads.box_predictor.bbox_pred": (24, 48),
        "roi_heads.mask_head.0.0": (24, 32, 3, 3),
        "roi_heads.mask_head.1.0": (24, 24, 3, 3),
        "roi_heads.mask_predictor.conv5_mask": (24, 24, 2, 2),
        "roi_heads.mask_predictor.mask_fcn_logits": (6, 24, 1, 1),
    }
    for module, shape in weights.items():
        shapes |= {f"{module}.weight": shape, f"{module}.bias": shape[:1]}
    return shapes


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def filled(name: str, shape: tuple[int, ...]) -> Tensor:
    """Random numbers that keep every stage alive; those of one name are always the same."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) > 1:
        gain = 0.2 if name.startswith("rpn.head.bbox") else 4 if "_logits" in name or "cls_score" in name else 1
        return gain * noise / noise[0].numel() ** 0.5
    scale = name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight"))
    return 0.2 * noise.abs() + 0.8 if scale else 0.2 * noise


def published() -> dict[str, Tensor]:
    """A file of torchvision's, small and filled."""
    return {name: filled(name, shape) for name, shape in published_shapes().items()}


def images() -> Tensor:
    """Two frames of 90 x 150 pixels in an input of 96 x 160."""
    made = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    made[:, :, 90:] = 0
    made[..., 150:] = 0
    return made


def notched(boxes: list[list[int]], size: tuple[int, int]) -> Tensor:
    """Masks that fill these boxes, but for a quarter at their upper left, whose corner is there: bool (n, H, W)."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
        mask[y0 : (y0 + y1) // 2, x0 : (x0 + x1) // 2] = False
        mask[y0, x0] = True
    return masks


def targets_of(boxes: list[list[int]], labels: list[int], ids: list[int], size: tuple[int, int]) -> DetectorTargets:
    masks = notched(boxes, size)
    return DetectorTargets(torch.tensor(labels).long(), torch.tensor(ids).long(), mask_boxes(masks), masks)


def two_targets() -> list[DetectorTargets]:
    """Of `images`."""
    size = (96, 160)
    return [
        targets_of([[10, 8, 60, 50], [70, 20, 140, 88], [30, 40, 50, 60]], [0, 2, 4], [0, 3, 1], size),
        targets_of([[5, 5, 25, 35], [60, 60, 100, 90], [20, 10, 148, 80]], [1, 1, 3], [2, 0, 3], size),
    ]
