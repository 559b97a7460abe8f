"""`refinevis` with each of its image models: built, run, probed, and made of published weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from vistool.errors import InputError, WeightsError
from vistool.methods.refinevis.checkpoint import LAYOUTS, convert
from vistool.methods.refinevis.inference import RefineVisModel, build, load, probe
from vistool.methods.refinevis.network import RefineVis
from vistool.methods.refinevis.presets import PRESETS, Preset, without_classes
from vistool.nn import backbones
from vistool.nn.idol_detector import names as idol_names
from vistool.nn.idol_detector.network import IdolDetector
from vistool.nn.idol_detector.sizes import PRESETS as IDOL
from vistool.nn.idol_detector.sizes import IdolSizes
from vistool.nn.mask2former_image import Mask2FormerImage
from vistool.nn.mask_dino import names as mask_dino_names
from vistool.nn.mask_dino.network import MaskDino
from vistool.nn.mask_dino.sizes import PRESETS as MASK_DINO
from vistool.nn.mask_dino.sizes import MaskDinoSizes
from vistool.nn.presets import TINY, Mask2FormerSizes
from vistool.nn.published import to_published as mask2former_published
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import CATEGORIES, FakeSource, moving_rectangles
from vistool.types import RunOptions, VideoPrediction
from vistool.weights.checkpoint import Checkpoint, CheckpointInfo, read, write
from vistool.weights.foreign import Foreign

SIZE = (48, 70)  # neither side a multiple of 32, one not of 4
TRACKS = moving_rectangles(3, 5, SIZE)
SMALL: dict[str, Any] = {
    "queries": 8,
    "dim": 32,
    "encoder_layers": 1,
    "encoder_ffn": 40,
    "decoder_layers": 2,
    "decoder_ffn": 48,
}


def tiny(image_model: str, **changes: Any) -> Preset:
    """Sizes of a small network; queries are numerous, so that everything seems to be an object."""
    sizes: Any = {
        "maskdino": replace(MASK_DINO["tiny"], **SMALL),
        "mask2former": Mask2FormerSizes(**{**TINY, **SMALL}),
        "idol": replace(IDOL["tiny"], **SMALL, mask_width=8),
    }[image_model]
    made: dict[str, Any] = {
        "image_model": image_model,
        "image": without_classes(sizes),
        "num_classes": len(CATEGORIES),
        "contrastive_head": image_model != "idol",
        "select_score": 0.0,
        "new_score": 0.005,
        "init_score": 0.005,
    }
    return Preset(**(made | changes))


def checkpoint(preset: Preset) -> Checkpoint:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = RefineVis(preset).state_dict()
    info = CheckpointInfo(
        method="refinevis",
        preset="tiny",
        sizes=asdict(preset),
        categories=CATEGORIES,
        pixel_mean=(123.675, 116.28, 103.53),
        pixel_std=(58.395, 57.12, 57.375),
        short_side=SIZE[0],
        conf=0.3,
        training_data="none",
        licence="none",
    )
    return Checkpoint(info, tensors)


def told(model: RefineVisModel, mode: str = "online", window: int = 4) -> VideoPrediction:
    ranking = Ranking(conf=0.0)
    source = FakeSource.of(TRACKS)
    return run(source, model, mode=cast(Any, mode), window=window, overlap=0, ranking=ranking)


EVERY = pytest.mark.parametrize("image_model", ["maskdino", "mask2former", "idol"])


@EVERY
@pytest.mark.parametrize(("mode", "missing"), [("online", "refine"), ("offline", "hold")])
def test_every_image_model_runs_either_way(image_model: str, mode: str, missing: str) -> None:
    model = load(checkpoint(tiny(image_model, missing=missing)), RunOptions(score_floor=0.0))

    result = told(model, mode)

    assert list(result.times_s) == list(range(5))
    assert result.categories == CATEGORIES
    assert result.tracks
    assert all(mask.size_hw == SIZE for track in result.tracks for mask in track.masks.values())


@EVERY
def test_before_training_online_offline_and_plain_are_one_to_the_bit(image_model: str) -> None:
    options = RunOptions(score_floor=0.0)
    refined, plain = (load(checkpoint(tiny(image_model, missing="null", window=w)), options) for w in (10, 0))

    result = told(plain)

    assert told(refined).tracks == result.tracks
    assert told(refined, "offline", 3).tracks == result.tracks
    assert told(refined, "offline", 0).tracks == result.tracks


@EVERY
def test_a_second_run_says_the_same(image_model: str) -> None:
    model = load(checkpoint(tiny(image_model)), RunOptions(score_floor=0.0))

    assert told(model) == told(model)


@EVERY
def test_half_precision_runs(image_model: str) -> None:
    model = load(checkpoint(tiny(image_model, missing="hold")), RunOptions(score_floor=0.0, precision="bf16"))

    assert told(model).tracks


def test_a_checkpoint_survives_its_file(tmp_path: Path) -> None:
    made = checkpoint(tiny("maskdino", times="relative", missing="hold"))
    path = tmp_path / "weights.safetensors"

    write(path, made.info, made.tensors, half=False)

    loaded, built = build(read(path)), build(made)
    assert loaded.preset == built.preset
    assert all(torch.equal(tensor, built.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_tensors_are_of_the_image_model_the_refinement_and_the_head_for_association() -> None:
    roots = {name: {key.partition(".")[0] for key in checkpoint(tiny(name)).tensors} for name in ("maskdino", "idol")}

    assert roots == {"maskdino": {"image", "tar", "reid_head"}, "idol": {"image", "tar"}}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_network_and_json(name: str) -> None:
    with torch.device("meta"):
        network = RefineVis(PRESETS[name])

    assert json.loads(json.dumps(asdict(PRESETS[name]))) == asdict(PRESETS[name])
    assert network.preset.window == 10


def test_the_variants_for_ovis_differ_in_two_thresholds_and_the_classes() -> None:
    plain, ovis = asdict(PRESETS["r50-idol"]), asdict(PRESETS["r50-idol-ovis"])

    assert {name for name in plain if plain[name] != ovis[name]} == {"mask_nms", "new_score", "num_classes"}


# Probing


def arrays(length: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {"frames": rng.standard_normal((length, 3, *SIZE)).astype(np.float32)}


@EVERY
def test_a_probe_gives_the_arrays_of_the_contract(image_model: str) -> None:
    found = probe(checkpoint(tiny(image_model)), arrays())

    h, w = found["mask_logits"].shape[2:]
    assert {name: array.shape for name, array in found.items()} == {
        "class_logits": (3, 8, 3),
        "boxes_cxcywh_norm": (3, 8, 4),
        "mask_logits": (3, 8, h, w),
        "embeddings": (3, 8, 32),
        "association": (3, 8, 32),
    }
    assert (h, w) >= (12, 18)
    assert all(array.dtype == np.float32 for array in found.values())


def test_a_probe_without_a_head_for_association_gives_none() -> None:
    assert "association" not in probe(checkpoint(tiny("maskdino", contrastive_head=False)), arrays())


@EVERY
def test_a_probe_looks_at_every_frame_on_its_own(image_model: str) -> None:
    made, given = checkpoint(tiny(image_model)), arrays()

    found = probe(made, given)

    alone = probe(made, {"frames": given["frames"][1:2]})
    assert all(np.array_equal(found[name][1:2], alone[name]) for name in alone)


def test_padding_is_handed_on() -> None:
    made, given = checkpoint(tiny("idol")), arrays()
    padding = np.zeros((3, *SIZE), np.bool_)
    padding[1, :, 40:] = True

    plain, padded = probe(made, given), probe(made, {**given, "padding": padding})

    same = [np.array_equal(plain["class_logits"][t], padded["class_logits"][t]) for t in range(3)]
    assert same == [True, False, True]


def test_padding_of_another_shape_is_an_input_error() -> None:
    with pytest.raises(InputError, match="padding does not fit"):
        probe(checkpoint(tiny("idol")), {**arrays(), "padding": np.zeros((3, 4, 4), np.bool_)})


# Published weights

BOTTLENECKS: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [24, 32, 48, 64], "depths": [1, 2, 1, 1]}


@pytest.fixture(autouse=True)
def small_resnet() -> Iterator[None]:
    """A ResNet of the published kind, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.RESNETS, "resnet-bottlenecks", BOTTLENECKS)
        yield


@cache
def published(layout: str, num_classes: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A small image model's tensors: ours, and as a file of the layout has them."""
    sizes: dict[str, Any] = {**SMALL, "backbone": "resnet-bottlenecks", "num_classes": num_classes}
    torch.manual_seed(0)
    if layout.startswith("maskdino"):
        ours = MaskDino(MaskDinoSizes(**{**sizes, "queries": 300})).state_dict()
        return ours, mask_dino_names.to_published(ours)
    if layout == "idol":
        ours = IdolDetector(IdolSizes(**sizes)).state_dict()
        return ours, idol_names.to_published(ours)
    ours = Mask2FormerImage(Mask2FormerSizes(**sizes)).state_dict()
    return ours, mask2former_published(ours, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_weights_come_through_and_run(layout: str) -> None:
    ours, theirs = published(layout)

    made = convert(Foreign(theirs, {}), layout)

    learned = {name for name in ours if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(made.tensors[f"image.{name}"], ours[name]) for name in learned)
    model = load(replace(made, info=replace(made.info, short_side=SIZE[0])), RunOptions(score_floor=0.0))
    assert list(told(model).times_s) == list(range(5))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_converted_checkpoint_says_what_is_not_trained_and_recovers_nothing(layout: str) -> None:
    made = convert(Foreign(published(layout)[1], {}), layout)

    assert "the temporal refinement is the identity" in made.info.untrained
    assert ("cosine" in made.info.untrained) == (layout != "idol")
    assert made.info.sizes["missing"] == "null"
    assert made.info.sizes["similarity"] == ("dot" if layout == "idol" else "cosine")
    tokens = torch.randn(2, 4, 32)
    there = torch.ones(2, 4, dtype=torch.bool)
    assert torch.equal(build(made).tar(tokens, torch.arange(4), there, there), tokens)


def test_weights_for_ovis_bring_its_thresholds() -> None:
    plain, ovis = (convert(Foreign(published("idol", classes)[1], {}), "idol").info for classes in (40, 25))

    assert (plain.sizes["new_score"], plain.sizes["mask_nms"], plain.short_side) == (0.2, 0.5, 480)
    assert (ovis.sizes["new_score"], ovis.sizes["mask_nms"], ovis.short_side) == (0.3, 0.3, 720)


def test_only_the_layout_says_that_first_boxes_are_not_those_of_masks() -> None:
    tensors = published("maskdino")[1]

    anchors = [convert(Foreign(tensors, {}), layout).info.sizes["image"]["anchors"] for layout in UNENHANCED]

    assert anchors[0] != anchors[1] == "proposal"


UNENHANCED = ("maskdino", "maskdino-unenhanced")  # one set of names


@pytest.mark.parametrize(
    ("other", "layout"), [pair for pair in permutations(LAYOUTS, 2) if set(pair) != set(UNENHANCED)]
)
def test_a_checkpoint_of_another_layout_is_refused(other: str, layout: str) -> None:
    with pytest.raises(WeightsError, match=r"checkpoint misses tensors|checkpoint has unknown tensors"):
        convert(Foreign(published(other)[1], {}), layout)


def test_an_unknown_layout_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="unknown layout: `mmdet`") as error:
        convert(Foreign({}, {}), "mmdet")

    assert error.value.hint == f"one of: {', '.join(LAYOUTS)}"


def test_a_converted_checkpoint_has_the_name_of_its_preset() -> None:
    sizes = PRESETS["r50-idol"]

    assert without_classes(IDOL["r50"]) == sizes.image
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vistool.methods.refinevis.checkpoint.PRESETS", {"mine": replace(sizes, image=small_idol())})
        made = convert(Foreign(published("idol")[1], {}), "idol")
    assert made.info.preset == "mine"
    assert convert(Foreign(published("idol")[1], {}), "idol").info.preset == "custom"


def small_idol() -> dict[str, Any]:
    sizes = IdolSizes(**{**SMALL, "backbone": "resnet-bottlenecks", "frozen_norms": True})
    return without_classes(sizes)
