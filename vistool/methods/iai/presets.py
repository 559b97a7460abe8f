"""Sizes and choices of IAI. Where paper and released code part ways, the choice has a field (D1 to D18 of README.md).

The defaults are those of the release. `PAPER` holds what the paper says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from ...nn.condinst import sizes as condinst
from ...nn.mask_rcnn import sizes as mask_rcnn

ImageModelName = Literal["condinst", "maskrcnn"]
Association = Literal["both", "global", "local", "none"]
IdBankForm = Literal["convolution", "pixel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that decides what is said of a video, but for the weights."""

    image_model: ImageModelName = "condinst"
    """What looks at one frame; see `network.IMAGE_MODELS`."""
    image: Mapping[str, Any]
    """Its sizes, as its own dataclass has them, but for the numbers of classes and identities."""
    loss_rules: Mapping[str, Any] = field(default_factory=dict)
    """What its loss does otherwise than its own rules."""
    backbone: str
    """A name of `nn.backbones`."""
    backbone_sizes: Mapping[str, Any] = field(default_factory=dict)
    """Of a ResNet that has no name there, as its configuration calls them; empty for the others."""
    frozen_norms: bool = True
    """Batch norms of the backbone keep their statistics in training."""
    num_classes: int = 40
    max_ids: int = 20
    """D10. N: outputs for identities, of which the last is "new"."""
    long_side: int = 640
    """Pixels; a frame whose short side has its size is made smaller where the long one passes this."""

    association: Association = "both"
    """What is read of the memory: long term (global), short term (local), both, or nothing, and then C5 stays."""
    class_projector: bool = True
    """Whether the map that replaces C5 has a projection of C5 itself beside what is associated; else it is narrower."""
    class_channels: int | None = None
    """Of that projection; None: as many as make the map as wide as C5."""
    dim: int = 256
    self_heads: int = 4
    memory_heads: int = 2
    local_window: int = 15
    """Side, in cells of C5, of what local attention sees; odd."""
    ffn: int = 1024
    drop_path: float = 0.1
    """Share of what the branches of the block add that is left out in training."""
    drop_path_of: Literal["tokens", "clips"] = "tokens"
    """Whether single places of the map are left out, the same in all clips of a batch, or whole clips."""
    id_bank: IdBankForm = "convolution"
    """D1. A vector an identity and place within a patch, or a vector an identity."""

    id_head: bool = True
    """Whether the image model is asked for identities."""
    identities: Literal["head", "overlap"] = "head"
    """What objects are followed by: the head, or the overlap of their masks from frame to frame and their class."""
    unseen_ids: Literal["new", "barred"] = "new"
    """D5. Whether a detection that takes an identity nobody has, or the background, is new, or cannot take them."""
    overflow: Literal["shared", "drop"] = "shared"
    """D6. Whether further objects share the identity N - 2 and are not told, or are dropped and leave it to another."""
    recycle_after: int | None = None
    """Frames in a row without its object after which an identity may be given to another; None: never."""
    long_interval: int = 3
    """Frames from one that long-term memory keeps to the next."""
    memory_frames: int | None = None
    """Most frames that it keeps: the first and the newest. None: no limit."""

    class_threshold: float = 0.1
    id_threshold: float = 0.1
    nms_pre: int = 200
    """Candidates a level of the pyramid, best first."""
    nms_score: Literal["weighted", "mean"] = "weighted"
    """D3. What suppression goes by: class and identity two to one, on the first frame one to two, times the quality; or
    their mean."""
    nms_iou: float = 0.5
    max_per_frame: int = 10
    min_visible: float = 0.1
    """Share of a mask that better ones leave, below which a detection is dropped."""
    score_average: Literal["all", "detected"] = "all"
    """D18. Frames whose class scores make the score of a track: all of the video, or those with a detection."""

    id_permutation: bool = False
    """D7. Training draws the order of the identities of every clip."""
    train_new_object_append: bool = False
    """D9. In training, too, long-term memory keeps every frame on which an object is new."""

    def __post_init__(self) -> None:
        if self.identities == "head" and not self.id_head:
            raise ValueError("identities of a head that is not there: `identities` is 'overlap' without `id_head`")
        if self.local_window % 2 == 0:
            raise ValueError(f"local_window is even: {self.local_window}")


PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "max_ids": 20,
        "id_bank": "pixel",
        "unseen_ids": "barred",
        "overflow": "drop",
        "nms_score": "mean",
        "score_average": "detected",
        "id_permutation": True,
        "train_new_object_append": True,
    }
)
"""What the paper says, or its tables were made with, otherwise than the release."""


FOLLOWED: Mapping[str, Any] = MappingProxyType(
    {
        "id_head": False,
        "identities": "overlap",
        "unseen_ids": "barred",
        "overflow": "drop",
        "recycle_after": 30,
        "memory_frames": 10,
        "score_average": "detected",
    }
)
"""For image models that were trained without identities: tracking by detection."""


def without_counts(sizes: Any) -> dict[str, Any]:
    """The sizes of an image model, as `Preset.image` holds them."""
    return {name: value for name, value in asdict(sizes).items() if name not in ("num_classes", "num_ids")}


_R50 = Preset(image=without_counts(condinst.PRESETS["r50"]), backbone="resnet-50")
_R101 = replace(
    _R50, image=without_counts(condinst.PRESETS["r101"]), backbone="resnet-101", nms_pre=1000, class_threshold=0.05
)
_MASK_RCNN = Preset(image_model="maskrcnn", image=without_counts(mask_rcnn.PRESETS["r50"]), backbone="resnet-50")
_RELEASED: Mapping[str, Preset] = {
    "r50-ytvis2019": _R50,
    "r101-ytvis2019": _R101,
    "r50-ytvis2021": replace(_R50, max_ids=25),
    "r50-ovis": replace(_R50, max_ids=25, num_classes=25, max_per_frame=50),
}
_PRINTED = ("r50-ytvis2019", "r101-ytvis2019", "r50-ovis")  # on YouTube-VIS 2021 as on 2019, with as many identities
_TINY_BLOCK: Mapping[str, Any] = {
    "backbone": "resnet-tiny",
    "frozen_norms": False,
    "num_classes": 8,
    "max_ids": 10,
    "dim": 48,
    "ffn": 192,
    "local_window": 7,
    "drop_path": 0.0,
    "class_threshold": 0.3,  # a doubtful detection that is new would use up one of nine identities
    "id_bank": "pixel",  # a convolution would have as many weights as a fifth of the network
    "unseen_ids": "barred",
    "overflow": "drop",
    "id_permutation": True,
    "train_new_object_append": True,
}

_TINY = Preset(image=without_counts(condinst.PRESETS["tiny"]), **_TINY_BLOCK)
_NO_IDS: Mapping[str, Any] = {"id_head": False, "identities": "overlap", "recycle_after": 3}  # else nine tracks a video
_ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "neither": {"association": "none", **_NO_IDS},  # Table 4
    "ids": {"association": "none"},
    "memory": _NO_IDS,
    "local": {"association": "local"},  # Table 5
    "global": {"association": "global"},
    "unprojected": {"class_projector": False},
    "cross-entropy": {"loss_rules": {"id_loss": "cross-entropy"}},  # Table 7
    "3conv": {"image": {**_TINY.image, "id_depth": 2}},  # Table 8
    "4conv": {"image": {**_TINY.image, "id_depth": 3}},
}
"""What the paper leaves out of its network, or does otherwise, to see what it is good for."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": _TINY,
        **{f"tiny-{name}": replace(_TINY, **changes) for name, changes in _ABLATIONS.items()},
        **_RELEASED,
        **{f"{name}-paper": replace(_RELEASED[name], **PAPER) for name in _PRINTED},
        "r50-coco": replace(_R50, num_classes=80, long_side=853, **FOLLOWED),
        "r101-coco": replace(_R101, num_classes=80, long_side=853, **FOLLOWED),
        "maskrcnn-tiny": Preset(image_model="maskrcnn", image=without_counts(mask_rcnn.PRESETS["tiny"]), **_TINY_BLOCK),
        "maskrcnn-r50": _MASK_RCNN,
        "maskrcnn-r50-coco": replace(_MASK_RCNN, num_classes=80, long_side=1333, **FOLLOWED),
    }
)
