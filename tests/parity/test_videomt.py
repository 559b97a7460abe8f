"""VidEoMT against transformers: files it writes are read, frames one by one give what its clip gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor
from transformers import VideomtConfig, VideomtForUniversalSegmentation
from transformers.image_transforms import normalize, resize
from transformers.models.videomt.video_processing_videomt import VideomtVideoProcessor

from vistool import masks
from vistool.errors import WeightsError
from vistool.methods.frame_masks import frame_masks
from vistool.methods.videomt.checkpoint import LAYOUT, convert, read_sizes
from vistool.methods.videomt.inference import build, probe, squared, way_back
from vistool.methods.videomt.network import expected_tensors, step
from vistool.methods.videomt.presets import PRESETS, preset_name
from vistool.weights.foreign import Foreign, read_foreign

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
CLIP = torch.randn(1, 8, 3, 64, 64, generator=torch.Generator().manual_seed(2))
QUERIES, CLASSES, WIDTH = 6, 5, 128
SIZES_HW = [(90, 160), (161, 93), (64, 64), (31, 47), (300, 20)]


def reference(**changes: Any) -> VideomtForUniversalSegmentation:
    """The library's network with the library's fresh weights, the same each time; two heads unless told otherwise."""
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "num_blocks": 3,
        "num_queries": QUERIES,
        "image_size": 64,
        "num_labels": CLASSES,
    }
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return VideomtForUniversalSegmentation(VideomtConfig.from_dict({**sizes, **changes})).eval()


def save_bin(theirs: VideomtForUniversalSegmentation, folder: Path, *, shards: bool) -> None:
    """As transformers before 5 wrote a folder."""
    folder.mkdir()
    theirs.config.save_pretrained(folder)
    tensors = theirs.state_dict()
    if not shards:
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    split = split_torch_state_dict_into_shards(
        tensors, filename_pattern="pytorch_model{suffix}.bin", max_shard_size="1MB"
    )
    for name, keys in split.filename_to_tensors.items():
        torch.save({key: tensors[key] for key in keys}, folder / name)
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


FOLDERS = {
    "safetensors": lambda theirs, folder: theirs.save_pretrained(folder),
    "safetensors in shards": lambda theirs, folder: theirs.save_pretrained(folder, max_shard_size="1MB"),
    "bin": lambda theirs, folder: save_bin(theirs, folder, shards=False),
    "bin in shards": lambda theirs, folder: save_bin(theirs, folder, shards=True),
}


def their_clip(theirs: VideomtForUniversalSegmentation) -> dict[str, Tensor]:
    with torch.no_grad():
        output = theirs(pixel_values_videos=CLIP)
    return {"class_logits": output.class_queries_logits, "mask_logits": output.masks_queries_logits}


def our_frames(foreign: Foreign) -> dict[str, Tensor]:
    said = probe(convert(foreign, LAYOUT), {"frames": CLIP[0].numpy()})
    return {name: torch.from_numpy(array) for name, array in said.items()}


@pytest.mark.parametrize("kind", FOLDERS)
def test_frames_one_by_one_from_a_public_folder_agree_with_the_clip(kind: str, tmp_path: Path) -> None:
    theirs = reference(num_attention_heads=4)  # which only the config tells
    FOLDERS[kind](theirs, tmp_path / "hub")

    ours = our_frames(read_foreign(tmp_path / "hub"))

    assert len(list((tmp_path / "hub").glob("*-of-*"))) > 1 or "shards" not in kind
    torch.testing.assert_close(ours, their_clip(theirs), **TOLERANCE)
    assert ours["class_logits"].shape == (8, QUERIES, CLASSES + 1)
    assert ours["mask_logits"].shape == (8, QUERIES, 16, 16)


@pytest.mark.parametrize("changes", [{}, {"use_swiglu_ffn": True, "mlp_ratio": 3}], ids=["plain", "gated"])
def test_a_file_without_its_config_is_read_off_its_tensors(changes: Mapping[str, Any]) -> None:
    theirs = reference(num_register_tokens=2, num_upscale_blocks=1, patch_size=8, **changes)

    ours = our_frames(Foreign(theirs.state_dict()))

    torch.testing.assert_close(ours, their_clip(theirs), **TOLERANCE)


def test_the_comparison_is_worth_something() -> None:
    """Frames, queries and pixels differ by far more than the tolerance, and so does a frame without those before."""
    theirs = reference()

    clip = their_clip(theirs)
    with torch.no_grad():
        last_alone = theirs(pixel_values_videos=CLIP[:, -1:]).masks_queries_logits[0]

    classes, pixels = clip["class_logits"], clip["mask_logits"]
    spreads = [classes.std(0), classes.std(1), classes.std(2), pixels.std(0), pixels.std(1), pixels.flatten(2).std(-1)]
    assert min(spread.mean().item() for spread in spreads) > 0.02
    assert (last_alone - pixels[-1]).abs().mean() > 0.02


def test_what_is_kept_of_a_video_is_one_row_a_query() -> None:
    network = build(convert(Foreign(reference().state_dict()), LAYOUT))

    kept = None
    with torch.inference_mode():
        for frame in CLIP[0]:
            kept = step(network, frame, kept).queries

    assert kept is not None
    assert kept.shape == (QUERIES, WIDTH)
    assert kept.untyped_storage().nbytes() == QUERIES * WIDTH * 4


@pytest.mark.parametrize("size_hw", SIZES_HW, ids=lambda size: "x".join(map(str, size)))
def test_masks_are_those_of_the_librarys_processor(size_hw: tuple[int, int]) -> None:
    logits = torch.randn(QUERIES, 16, 16, generator=torch.Generator().manual_seed(3))
    image = np.zeros((*size_hw, 3), np.uint8)

    ours = frame_masks(logits, way_back(image, logits))

    theirs = VideomtVideoProcessor._resize_mask_logits(None, logits[None], [size_hw])[0]
    decoded = np.stack([masks.decode(rle) for rle in ours if rle is not None])
    assert ((decoded == (theirs > 0).numpy()) | (theirs.abs() < 1e-5).numpy()).all()


@pytest.mark.parametrize("size_hw", [*SIZES_HW, (1080, 1920)], ids=lambda size: "x".join(map(str, size)))
def test_the_network_sees_what_the_librarys_processor_gives(size_hw: tuple[int, int]) -> None:
    """To a grey level: its resize is torchvision's, which is not among our dependencies, and PIL's stands for it."""
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
    image = np.asarray(resize(coarse, size_hw, input_data_format="channels_last"))  # neither flat nor mere noise
    image = np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
    processor = VideomtVideoProcessor()
    side = (processor.size["height"], processor.size["width"])

    seen = squared(image, convert(Foreign(reference(image_size=640).state_dict()), LAYOUT).info).numpy()

    square = resize(image, side, resample=processor.resample, input_data_format="channels_last")
    theirs = normalize(
        square * processor.rescale_factor,
        processor.image_mean,
        processor.image_std,
        data_format="channels_first",
        input_data_format="channels_last",
    )
    one_level = processor.rescale_factor / min(processor.image_std)
    assert seen.shape == (3, 640, 640)
    assert np.abs(seen - theirs).max() <= 1.01 * one_level
    assert np.abs(seen - theirs).mean() <= 0.1 * one_level


@pytest.mark.parametrize("name", PRESETS.keys() - {"tiny"})
def test_published_sizes_are_read_off_tensors_alone(name: str) -> None:
    for_other_data = replace(PRESETS[name], num_classes=25, num_queries=100)

    sizes = read_sizes(Foreign(expected_tensors(for_other_data)))

    assert sizes == for_other_data
    assert preset_name(sizes) == name


def test_a_file_without_the_number_of_prompted_layers_has_the_published_one() -> None:
    tensors = {name: dict(expected_tensors(preset)) for name, preset in PRESETS.items()}
    for each in tensors.values():
        del each["attn_mask_probs"]

    found = {name: read_sizes(Foreign(each)).num_blocks for name, each in tensors.items()}

    assert {name: found[name] for name in ("small", "base", "large")} == {"small": 3, "base": 3, "large": 4}


def test_the_librarys_defaults_are_the_large_preset() -> None:
    config = VideomtConfig()

    classes = {"num_classes": PRESETS["large"].num_classes}
    assert (
        asdict(PRESETS["large"])
        == {name: getattr(config, name) for name in asdict(PRESETS["large"]).keys() - classes} | classes
    )


def test_tensors_that_only_training_uses_may_be_absent() -> None:
    theirs = reference()
    unused = ["embeddings.mask_token", "attn_mask_probs", "criterion.empty_weight"]
    tensors = {name: tensor for name, tensor in theirs.state_dict().items() if name not in unused}

    filled = convert(Foreign(tensors, theirs.config.to_dict()), LAYOUT).tensors

    assert {name: filled[name].tolist() for name in unused} == {
        name: theirs.state_dict()[name].tolist() for name in unused
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layers.1.norm1.weight": None}, "layers.1.norm1.weight"),
        ({"query.weight": None}, "query.weight"),
        ({"decoder.weight": torch.zeros(2)}, "decoder.weight"),
        ({"query_updater.weight": torch.zeros(WIDTH, 2)}, "query_updater.weight"),
        ({"query.weight": torch.zeros(WIDTH)}, "query.weight"),
    ],
    ids=["missing", "missing and needed for the sizes", "left over", "misshaped", "without the sides sizes need"],
)
@pytest.mark.parametrize("configured", [True, False], ids=["with config", "without"])
def test_a_tensor_that_is_not_accounted_for_is_named(
    changes: Mapping[str, Tensor | None], told: str, configured: bool
) -> None:
    theirs = reference()
    tensors = {name: tensor for name, tensor in {**theirs.state_dict(), **changes}.items() if tensor is not None}

    with pytest.raises(WeightsError, match=told):
        convert(Foreign(tensors, theirs.config.to_dict() if configured else {}), LAYOUT)


@pytest.mark.parametrize(
    "changes",
    [{"num_attention_heads": 3}, {"hidden_size": "wide"}, {"num_attention_heads": 0}, {"image_size": [64, 64]}],
    ids=str,
)
def test_a_config_that_makes_no_network_is_refused(changes: Mapping[str, Any]) -> None:
    theirs = reference()

    with pytest.raises(WeightsError, match="config"):
        convert(Foreign(theirs.state_dict(), {**theirs.config.to_dict(), **changes}), LAYOUT)


def test_the_config_of_another_network_is_not_used() -> None:
    theirs = reference()

    converted = convert(Foreign(theirs.state_dict(), {"model_type": "mask2former", "hidden_size": 256}), "auto")

    assert converted.info.sizes["hidden_size"] == WIDTH


def test_another_layout_is_refused() -> None:
    with pytest.raises(WeightsError, match="unknown layout"):
        convert(Foreign(reference().state_dict()), "transformers-mask2former")
