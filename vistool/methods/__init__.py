"""The METHODS table: every method, how it is loaded, and how it is trained. Light to import; rows import their work.

A method is a folder beside this file and one row here. No method imports another; what two share lives in `nn/`, or,
where it touches frames and masks, in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..errors import UsageError, WeightsError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ..nn.targets import ClipTargets
    from ..protocols import VideoModel
    from ..types import RunOptions
    from ..weights.checkpoint import Checkpoint, CheckpointInfo
    from ..weights.foreign import Foreign

Mode = Literal["online", "offline"]
Arrays = Mapping[str, "np.ndarray[Any, Any]"]


class Recipe(Protocol):
    """What `vistool train` needs of a method. The loop is one; this is the method's part."""

    @property
    def presets(self) -> Mapping[str, Any]:
        """Name → frozen dataclass of all sizes; every preset has `num_classes` (replaced by the data's own)."""
        ...

    def build(self, preset: Any) -> nn.Module:
        """A network with fresh weights."""
        ...

    def start(self, preset: Any, parent: Checkpoint) -> Mapping[str, Tensor]:
        """Tensors for this method's network from `parent`, another checkpoint of the family (`--init`).

        Raises WeightsError when `parent` does not fit.
        """
        ...

    def losses(self, network: nn.Module, frames: Tensor, targets: Sequence[ClipTargets]) -> Mapping[str, Tensor]:
        """frames (B, T, 3, H, W) normalised, one target a clip → named scalar terms, already weighted; sum = loss."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    summary: str
    paper: str  # title, venue and year
    modes: tuple[Mode, ...]  # the method's own way first
    default_weights: str | None  # a key of weights.toml; None: there are none yet
    window: int  # frames an offline model sees at once unless told otherwise; 0 = the whole video
    overlap: int
    layouts: tuple[str, ...]  # foreign checkpoint layouts that `weights convert` reads for this method
    load: Callable[[Checkpoint, RunOptions], VideoModel]
    recipe: Callable[[], Recipe] | None  # None: it cannot be trained here
    convert: Callable[[Foreign, str], Checkpoint]  # (another project's, its layout) → ours; strict both ways
    probe: Callable[[Checkpoint, Arrays, Mode], Arrays]  # `weights probe`: input arrays → output arrays of the contract
    long_memory: bool = False  # whether it remembers chosen frames of the past, and how many can be said
    tta: bool = False  # whether it defines test-time augmentation


def _later(place: str, takes: int | None = None) -> Callable[..., Any]:
    """`folder.module.name` below this folder, as a function that imports it when it is called.

    It is given the first `takes` of its arguments; None: all.
    """
    module, _, name = place.rpartition(".")

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f".{module}", __name__), name)(*arguments[:takes])

    return call


METHODS: dict[str, Method] = {
    "hitf": Method(
        summary="a few ordered slots describe a frame, and look at slots and pixels of the frames before it",
        paper="Hybrid Instance-Aware Temporal Fusion for Online Video Instance Segmentation (AAAI 2022)",
        modes=("online",),
        default_weights="hitf-tiny-shapes",
        window=0,
        overlap=0,
        layouts=("imagenet-resnet",),
        load=_later("hitf.inference.load"),
        recipe=_later("hitf.recipe.HitfRecipe"),
        convert=_later("hitf.checkpoint.convert"),
        probe=_later("hitf.inference.probe", takes=2),
    ),
    "iai": Method(
        summary="memory is painted with who is who, and every detection says which of them it is",
        paper="Instance As Identity: A Generic Online Paradigm for Video Instance Segmentation (ECCV 2022)",
        modes=("online",),
        default_weights="iai-tiny-shapes",
        window=0,
        overlap=0,
        layouts=("iai", "mmdet-condinst", "adelaidet-condinst", "torchvision-maskrcnn"),
        load=_later("iai.inference.load"),
        recipe=_later("iai.recipe.IaiRecipe"),
        convert=_later("iai.checkpoint.convert"),
        probe=_later("iai.inference.probe", takes=2),
        long_memory=True,
    ),
    "ifr": Method(
        summary="frame queries travel through the clip, clip queries gather them",
        paper="Consistent Video Instance Segmentation with Inter-Frame Recurrent Attention (2022)",
        modes=("offline",),
        default_weights="ifr-tiny-shapes",
        window=8,
        overlap=4,
        layouts=("transformers-mask2former", "detectron2-mask2former"),
        load=_later("ifr.inference.load"),
        recipe=_later("ifr.recipe.IfrRecipe"),
        convert=_later("ifr.checkpoint.convert"),
        probe=_later("ifr.inference.probe", takes=2),
        tta=True,
    ),
    "mask2former-vis": Method(
        summary="one query an object, attention joint over space and time",
        paper="Mask2Former for Video Instance Segmentation (2021)",
        modes=("offline", "online"),
        default_weights="mask2former-vis-tiny-shapes",
        window=8,
        overlap=4,
        layouts=("transformers-mask2former", "detectron2-mask2former"),
        load=_later("mask2former_vis.inference.load"),
        recipe=_later("mask2former_vis.recipe.Mask2FormerRecipe"),
        convert=_later("mask2former_vis.checkpoint.convert"),
        probe=_later("mask2former_vis.inference.probe"),
    ),
    "refinevis": Method(
        summary="detections are followed frame by frame, and refined by what their object looks like on other frames",
        paper="RefineVIS: Video Instance Segmentation with Temporal Attention Refinement (2023)",
        modes=("online", "offline"),
        default_weights="refinevis-tiny-shapes",
        window=10,
        overlap=0,
        layouts=("maskdino", "maskdino-unenhanced", "idol", "transformers-mask2former", "detectron2-mask2former"),
        load=_later("refinevis.inference.load"),
        recipe=_later("refinevis.recipe.RefineVisRecipe"),
        convert=_later("refinevis.checkpoint.convert"),
        probe=_later("refinevis.inference.probe", takes=2),
    ),
    "videomt": Method(
        summary="a plain image transformer whose queries travel from frame to frame",
        paper="VidEoMT (2026)",
        modes=("online",),
        default_weights="videomt-dinov2-s-ytvis2019",
        window=0,
        overlap=0,
        layouts=("transformers-videomt",),
        load=_later("videomt.inference.load"),
        recipe=None,
        convert=_later("videomt.checkpoint.convert"),
        probe=_later("videomt.inference.probe", takes=2),
    ),
    "msts": Method(
        summary="an instance is one query over boxes on every frame; frames and scales see one another in the encoder",
        paper="Video Instance Segmentation via Multi-Scale Spatio-Temporal Split Attention Transformer (2022)",
        modes=("offline",),
        default_weights="msts-tiny-shapes",
        window=5,
        overlap=3,
        layouts=("seqformer", "deformable-detr", "transformers-deformable-detr"),
        load=_later("msts.inference.load"),
        recipe=_later("msts.recipe.MstsRecipe"),
        convert=_later("msts.checkpoint.convert"),
        probe=_later("msts.inference.probe", takes=2),
    ),
}


def chosen_mode(row: Method, info: CheckpointInfo) -> Mode:
    """How a method runs with these weights unless told otherwise.

    Weights trained on images bind a slot to an object on one frame only, so they run online where the method can.
    """
    return "online" if info.trained_on == "images" and "online" in row.modes else row.modes[0]


def find_method(name: str) -> Method:
    """The row called `name`; UsageError with the nearest name when there is none."""
    if name in METHODS:
        return METHODS[name]
    near = get_close_matches(name, METHODS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"one of: {', '.join(METHODS)}"
    raise UsageError(f"unknown method: `{name}`", hint=hint)


def weights_of(name: str, weights: str | None) -> str:
    """`weights`, or the method's own where it is None; WeightsError when there are none."""
    chosen = weights or find_method(name).default_weights
    if chosen is None:
        raise WeightsError(
            f"method has no weights yet: `{name}` (none are public, and none come with vistool)",
            hint=f"train them (`vistool train --method {name}`) and give them by --weights",
        )
    return chosen


def find_recipe(name: str) -> Recipe:
    """How the method called `name` is trained; UsageError when there is no such method, or it cannot be trained."""
    row = find_method(name)
    if row.recipe is None:
        able = [each for each, other in METHODS.items() if other.recipe is not None]
        raise UsageError(f"method cannot be trained: `{name}`", hint=f"these can: {', '.join(able)}")
    return row.recipe()
