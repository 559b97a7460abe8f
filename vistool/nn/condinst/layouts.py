"""The names that CondInst's weights go by elsewhere, with those of its backbone, and what pixels they expect.

Our names begin with `backbone.` and `detector.`, the modules of whoever stands on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..published_names import DETECTRON2, DETECTRON2_BACKBONE, Layout, Row, under
from ..resnet_names import torchvision_rows
from .masks import LEVELS

Triple = tuple[float, float, float]

IAI, MMDET, ADELAIDET = "iai", "mmdet-condinst", "adelaidet-condinst"

BODY = "backbone.body."
_FPN, _HEAD, _MASKS = "detector.fpn.", "detector.head.", "detector.mask_branch."
_UNCOUNTED = Row(_MASKS + "*.num_batches_tracked", None)
_DEEPEST = 16  # convolutions of a tower, where a layout has to name them one by one

_MMCV_HEAD = (
    *torchvision_rows(BODY, "backbone."),
    *under(
        _FPN,
        "neck.",
        {
            "lateral.#.*": "lateral_convs.#.conv.*",
            "output.#.*": "fpn_convs.#.conv.*",
            **{f"coarser.{i}.*": f"fpn_convs.{LEVELS + i}.conv.*" for i in range(2)},
        },
    ),
    *under(
        _HEAD,
        "bbox_head.",
        {
            f"{ours}_tower.#.{part}.*": f"{theirs}_convs.#.{name}.*"
            for ours, theirs in (("class", "cls"), ("box", "reg"), ("id", "id"))
            for part, name in enumerate(("conv", "gn"))
        },
    ),
    *under(
        _HEAD,
        "bbox_head.",
        {
            "class_logits.*": "conv_cls.*",
            "id_logits.*": "conv_id.*",
            "box.*": "conv_reg.*",
            "centerness.*": "conv_centerness.*",
            "controller.*": "controller.*",
            "scales.#": "scales.#.scale",
        },
    ),
)
"""What all that was made with MMDetection has in common."""


def _ours(row: Row) -> Row:
    """A row of Mask2Former's backbone, which is a part of its trunk there and lies beneath the pyramid here."""
    theirs = None if row.theirs is None else row.theirs.replace("backbone.", "backbone.bottom_up.", 1)
    return row._replace(ours=row.ours.removeprefix("trunk."), theirs=theirs)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        IAI: Layout(
            rows=(
                _UNCOUNTED,
                *_MMCV_HEAD,
                *under(_MASKS, "bbox_head.", {"refine.*": "mask_refine.*", "tower.*": "mask_head.*"}),
            ),
            ignored=("*.num_batches_tracked",),
        ),
        MMDET: Layout(
            rows=(
                _UNCOUNTED,
                *_MMCV_HEAD,
                *under(
                    _MASKS,
                    "mask_head.mask_feature_head.",
                    {
                        **{
                            f"refine.{i}.{part}.*": f"convs_all_levels.{i}.conv{i}.{name}.*"
                            for i in range(LEVELS)
                            for part, name in enumerate(("conv", "bn"))
                        },
                        "tower.#.0.*": "conv_branch.#.conv.*",
                        "tower.#.1.*": "conv_branch.#.bn.*",
                        "tower.#.weight": "conv_pred.weight",
                        "tower.#.bias": "conv_pred.bias",
                    },
                ),
            ),
            ignored=("*.num_batches_tracked", "data_preprocessor.*"),
        ),
        ADELAIDET: Layout(
            rows=(
                _UNCOUNTED,
                *map(_ours, DETECTRON2_BACKBONE),
                *under(
                    _FPN,
                    "backbone.",
                    {
                        **{f"lateral.{i}.*": f"fpn_lateral{i + 3}.*" for i in range(LEVELS)},
                        **{f"output.{i}.*": f"fpn_output{i + 3}.*" for i in range(LEVELS)},
                        **{f"coarser.{i}.*": f"top_block.p{i + 6}.*" for i in range(2)},
                    },
                ),
                *under(
                    _HEAD,
                    "proposal_generator.fcos_head.",
                    {
                        **{
                            f"{ours}_tower.{i}.{part}.*": f"{theirs}_tower.{3 * i + part}.*"
                            for ours, theirs in (("class", "cls"), ("box", "bbox"))
                            for i in range(_DEEPEST)
                            for part in range(2)
                        },
                        "class_logits.*": "cls_logits.*",
                        "box.*": "bbox_pred.*",
                        "centerness.*": "ctrness.*",
                        "scales.#": "scales.#.scale",
                    },
                ),
                Row(_HEAD + "controller.*", "controller.*"),
                *under(_MASKS, "mask_branch.", {"refine.*": "refine.*", "tower.*": "tower.*"}),
            ),
            ignored=(
                "*.num_batches_tracked",
                *DETECTRON2.ignored,
                "mask_head.sizes_of_interest",
                "mask_head._iter",
                "mask_branch.seg_head.*",
                "mask_branch.logits.*",
            ),
        ),
    }
)

PIXELS: Mapping[str, tuple[Triple, Triple]] = MappingProxyType(
    {
        IAI: ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
        MMDET: ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ADELAIDET: ((123.675, 116.28, 103.53), (1.0, 1.0, 1.0)),
    }
)
"""Mean and standard deviation, RGB of 0..255, of the pixels that the converted tensors of a layout expect."""
