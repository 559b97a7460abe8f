"""Images as pseudo-videos: COCO annotations, one picture in several draws, large-scale jitter; frozen parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from toy_training import CATEGORIES, COLOURS, SIZE_HW, ToyNetwork, ToyPreset, toy_options

from vistool import masks
from vistool.errors import InputError, UsageError
from vistool.methods import METHODS
from vistool.methods.refinevis.presets import PRESETS, Preset
from vistool.methods.refinevis.recipe import RefineVisRecipe
from vistool.training.annotations import read_annotations
from vistool.training.augment import Jitter, View, augment
from vistool.training.batches import BatchMaker
from vistool.training.dataset import Clip, ClipReader, ClipSampler
from vistool.training.loop import train
from vistool.training.schedule import freeze, make_optimiser
from vistool.weights import checkpoint

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def write_stills(folder: Path, pictures: Path, images: int = 3) -> Path:
    """COCO annotations: a red square with a mask and a green one with a polygon on every image, and one crowd."""
    document: dict[str, Any] = {"categories": CATEGORIES, "images": [], "annotations": []}
    height, width = SIZE_HW
    for number in range(1, images + 1):
        picture = np.zeros((*SIZE_HW, 3), np.uint8)
        y, x = 2 * number, 3 * number
        red = np.zeros(SIZE_HW, bool)
        red[y : y + 10, x : x + 10] = True
        picture[red] = COLOURS[3]
        picture[30:42, 40:52] = COLOURS[7]
        polygon = [40, 30, 52, 30, 52, 42, 40, 42]
        document["images"].append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for category, segmentation, crowd in (
            (3, masks.to_json(masks.encode(red)), 0),
            (7, [polygon], 0),
            (7, masks.to_json(masks.encode(~red)), 1),
        ):
            entry = {"id": len(document["annotations"]), "image_id": number, "category_id": category}
            document["annotations"].append({**entry, "segmentation": segmentation, "iscrowd": crowd})
        pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(pictures / f"{number}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "instances_train2017.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    """Annotations in one folder, images in another, as COCO has them."""
    return write_stills(tmp_path / "coco" / "annotations", tmp_path / "coco" / "train2017")


@pytest.mark.parametrize("folder", ["annotations", "annotations/train2017", "train2017", "images/train2017"])
def test_images_are_videos_of_one_frame_wherever_coco_keeps_them(tmp_path: Path, folder: str) -> None:
    data = read_annotations(write_stills(tmp_path / "annotations", tmp_path / folder))

    assert [video.length for video in data.videos] == [1, 1, 1]
    assert [len(video.objects) for video in data.videos] == [2, 2, 2]  # without the crowd
    assert [category.name for category in data.categories] == ["red", "green"]
    assert all(video.files[0].is_file() for video in data.videos)


def test_missing_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.png"):
        read_annotations(write_stills(tmp_path / "annotations", tmp_path / "elsewhere"))


def test_a_clip_of_an_image_shows_it_as_often_as_asked(stills: Path) -> None:
    data = read_annotations(stills)
    row, frames = ClipSampler((1, 1, 1), 2, 10, 1, 0).choose(0, 0)

    clip = ClipReader(data, cache_bytes=10**8).read(row, frames)

    assert clip.images.shape == (2, *SIZE_HW, 3)
    assert np.array_equal(clip.images[0], clip.images[1])
    for label, planes in zip(clip.labels.tolist(), clip.masks, strict=True):
        for image, mask in zip(clip.images, planes, strict=True):
            assert (image[mask] == ((255, 0, 0), (0, 255, 0))[label]).all()


def test_without_a_range_the_frames_of_videos_make_pseudo_videos(squares: Path) -> None:
    options = toy_options(squares, Path("run"), clip_frames=3, clip_range=0)
    sampler = ClipSampler((5, 5, 5), options.clip_frames, options.clip_range, 1, 0)
    reader = ClipReader(read_annotations(squares), cache_bytes=10**8)

    clips = [reader.read(*sampler.choose(step, 0)) for step in range(9)]

    assert all(clip.repeats and len(clip.frames) == 3 for clip in clips)
    assert len({clip.frames for clip in clips}) > 2


def still_clip(frames: tuple[int, ...]) -> Clip:
    """The same random picture on every frame, with one mask over its bright pixels."""
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    mask = image[..., 0] > 128
    count = len(frames)
    return Clip(np.stack([image] * count), np.array([0]), np.stack([mask] * count)[None], frames)


def test_a_repeated_picture_gets_draws_of_its_own_and_a_video_one_for_all() -> None:
    jitter = Jitter((48, 64), (0.6, 1.7), 0.5, 0.0)

    pseudo, video = (augment(still_clip(frames), [5], jitter, *PLAIN)[0] for frames in ((3, 3), (3, 4)))

    assert not np.array_equal(pseudo[0], pseudo[1])
    assert np.array_equal(video[0], video[1])


def test_frames_of_a_video_have_their_numbers_and_those_of_a_pseudo_video_none() -> None:
    jitter = Jitter((48, 64), (1.0, 1.0), 0.0, 0.0)

    pseudo, video = (augment(still_clip(frames), [5], jitter, *PLAIN)[1] for frames in ((3, 3), (3, 8)))

    assert pseudo.times is None
    assert video.to("cpu").times.tolist() == [3, 8]


def test_the_draws_of_a_pseudo_video_are_those_of_no_special_kind() -> None:
    """Each frame is a plain draw: picture and mask are what the same view gives of a clip of one frame."""
    clip, jitter = still_clip((0, 0)), Jitter((48, 64), (0.6, 1.7), 0.5, 0.3)

    frames, targets = augment(clip, [5], jitter, *PLAIN)

    rng = np.random.default_rng([5])
    views = [View.draw(rng, (50, 70), jitter) for _ in range(2)]
    for t, view in enumerate(views):
        assert np.array_equal(frames[t], view.pictures(clip.images[:1], *PLAIN)[0])
        assert np.array_equal(targets.masks[0, t].numpy(), view.planes(clip.masks[:, :1])[0, 0])


def test_an_object_cropped_away_on_one_frame_of_a_pseudo_video_is_absent_there() -> None:
    """Rows stay those of both frames, so that an object is found by its number."""
    picture = np.zeros((2, 40, 40, 3), np.uint8)
    planes = np.zeros((1, 2, 40, 40), bool)
    planes[:, :, :4, :4] = True
    corner = Clip(picture, np.array([4]), planes, (0, 0))

    seen = [
        tuple(targets.masks.any(-1).any(-1)[0].tolist())
        for targets in (
            augment(corner, [seed], Jitter((32, 32), (2.0, 2.0), 0.0, 0.0), *PLAIN)[1] for seed in range(80)
        )
        if len(targets.labels)
    ]

    assert {(True, False), (False, True)} <= set(seen)


def test_a_pseudo_video_is_a_pure_function_of_seed_and_step(stills: Path) -> None:
    def maker() -> BatchMaker:
        sampler, jitter = ClipSampler((1, 1, 1), 2, 10, 2, 0), Jitter((32, 48), (0.5, 2.0), 0.5, 0.2, "linear")
        return BatchMaker(ClipReader(read_annotations(stills), cache_bytes=10**8), sampler, range(2), jitter, *PLAIN)

    forwards, backwards = ([maker()(step) for step in steps] for steps in ((0, 1, 2), (2, 1, 0)))

    for a, b in zip(forwards, backwards[::-1], strict=True):
        assert a.frames.equal(b.frames)
        assert all(x.masks.equal(y.masks) for x, y in zip(a.targets, b.targets, strict=True))


def test_large_scale_jitter_draws_scales_evenly() -> None:
    even, log = (
        [
            View.draw(np.random.default_rng(seed), (100, 100), Jitter((1000, 1000), (0.1, 2.0), 0.0, 0.0, draw))
            for seed in range(600)
        ]
        for draw in ("linear", "log")
    )

    shares = [np.mean([view.resized_hw[0] < 1050 for view in views]) for views in (even, log)]
    assert 0.44 < shares[0] < 0.56
    assert shares[1] > 0.7
    assert min(view.resized_hw[0] for view in even) < 130
    assert max(view.resized_hw[0] for view in even) > 1950


def test_a_run_on_images_trains_on_pairs_of_frames(stills: Path, toy_method: None, tmp_path: Path) -> None:
    outcome = train(toy_options(stills, tmp_path / "run", max_steps=3, warmup=1, clip_frames=2))

    assert outcome.step == 3
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_frozen_parts_keep_weights_and_statistics_and_the_rest_learns(
    squares: Path, toy_method: None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    fresh = ToyNetwork(ToyPreset(num_classes=2)).state_dict()

    train(toy_options(squares, tmp_path / "run", max_steps=4, warmup=1, ema=0.0, freeze=("backbone",)))

    trained = checkpoint.read(tmp_path / "run" / "last.safetensors").tensors
    same = {name for name, tensor in fresh.items() if torch.equal(tensor, trained[name])}
    assert same == {name for name in fresh if name.startswith("backbone.")}


def test_frozen_parameters_are_not_the_optimisers() -> None:
    network = ToyNetwork(ToyPreset(num_classes=2)).train()

    freeze(network, ["backbone.0", "shift.weight"])

    optimiser = make_optimiser(network, toy_options(Path("data.json"), Path("run")))
    held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    learned = {name for name, parameter in network.named_parameters() if id(parameter) in held}
    assert learned == {"backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"}
    assert not network.backbone[0].training
    assert network.backbone[1].training


@pytest.mark.parametrize(
    ("parts", "message"),
    [(["neck"], "`neck`"), (["backbone", "shift", "head"], "nothing to train")],
    ids=["none", "all"],
)
def test_freezing_what_is_not_there_or_everything_is_refused(parts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        freeze(ToyNetwork(ToyPreset(num_classes=2)), parts)


class SmallRecipe(RefineVisRecipe):
    """A RefineVIS that takes a step in a fifth of a second."""

    @property
    def presets(self) -> dict[str, Preset]:
        few = {"queries": 8, "dim": 32, "encoder_layers": 1, "encoder_ffn": 32, "decoder_layers": 1, "decoder_ffn": 32}
        image = PRESETS["tiny"].image | few | {"loss_points": 16, "noised_queries": 4, "class_prior": 0.1}
        return {"tiny": replace(PRESETS["tiny"], image=image)}


@pytest.mark.parametrize("freeze", [(), ("image",)], ids=["whole", "refinement alone"])
def test_refinevis_learns_from_pairs_in_the_loop_that_all_methods_share(
    stills: Path, toy_method: None, tmp_path: Path, freeze: tuple[str, ...]
) -> None:
    METHODS["toy"] = replace(METHODS["toy"], recipe=SmallRecipe)
    options = toy_options(
        stills, tmp_path / "run", max_steps=3, warmup=1, batch=2, ema=0.0, lr=1e-3, scale_draw="linear", freeze=freeze
    )
    torch.manual_seed(options.seed)
    recipe = SmallRecipe()
    fresh = recipe.build(replace(recipe.presets["tiny"], num_classes=2)).state_dict()

    train(options)

    trained = checkpoint.read(tmp_path / "run" / "last.safetensors").tensors
    moved = {name.split(".")[0] for name, tensor in fresh.items() if not torch.equal(tensor, trained[name])}
    assert moved == {"image", "reid_head", "tar"} - set(freeze)
