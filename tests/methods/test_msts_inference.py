"""From pictures to tracks: the published ranking and geometry, what is computed once, and the probe."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import msts_twin
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vistool import masks
from vistool.errors import InputError
from vistool.methods.clip_inference import ClipSegmenter
from vistool.methods.msts.inference import load, mask_letterbox, probe
from vistool.methods.msts.network import Msts
from vistool.methods.msts.presets import PAPER, Preset
from vistool.nn.letterbox import Letterbox
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import FakeSource, moving_rectangles
from vistool.types import Category, Frame, RunOptions, Track
from vistool.weights.checkpoint import Checkpoint, CheckpointInfo

SIZE_HW = (60, 90)
FILM = moving_rectangles(3, 7, SIZE_HW)
RELEASE = replace(msts_twin.SIZES, num_classes=40, class_columns="ytvis-ids")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def checkpoint(preset: Preset = RELEASE, **others: Tensor) -> Checkpoint:
    tensors = msts_twin.network(preset).state_dict() | others
    info = CheckpointInfo(
        method="msts",
        preset="custom",
        sizes=asdict(preset),
        categories=tuple(Category(number + 1, f"class {number}") for number in range(preset.num_classes)),
        pixel_mean=MEAN,
        pixel_std=STD,
        short_side=SIZE_HW[0],
        conf=0.3,
        training_data="none",
        licence="none",
    )
    return Checkpoint(info, tensors)


def frames() -> list[Frame]:
    return list(FakeSource.of(FILM))


def normalised() -> Tensor:
    """What the network sees of the film, (1, T, 3, H, W)."""
    pictures = torch.stack([torch.from_numpy(frame.image).permute(2, 0, 1).float() for frame in frames()])
    return ((pictures - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])[None]


def told(made: Checkpoint, **options: Any) -> tuple[Track, ...]:
    """The whole film at once, ranked for the benchmark."""
    model = load(made, RunOptions(**{"score_floor": 0.0, **options}))
    ranking = Ranking(protocol="ytvis")
    return run(FakeSource.of(FILM), model, mode="offline", window=0, overlap=0, ranking=ranking).tracks


@torch.no_grad()
def published_list(made: Checkpoint) -> list[tuple[int, float, list[Any]]]:
    """The ten best of all (slot, column) pairs: category id, score, and the mask of every frame, straight to the film's
    size."""
    network = Msts(Preset(**made.info.sizes)).eval()
    network.load_state_dict(made.tensors)
    output = network(normalised())
    last = output.layers[-1]
    logits = network.masks(last.queries[0], last.references[0].transpose(0, 1), output.features[0])
    scores, places = last.class_logits[0].sigmoid().flatten().topk(10)
    rows = []
    for score, place in zip(scores.tolist(), places.tolist(), strict=True):
        slot, column = divmod(place, last.class_logits.shape[-1])
        large = F.interpolate(logits[slot, None], size=SIZE_HW, mode="bilinear", align_corners=False)[0]
        planes = [masks.encode((plane > 0).numpy()) for plane in large]
        if any(masks.area(plane) for plane in planes):
            rows.append((column, score, planes))
    return rows


def unsure_of_columns_without_a_class() -> dict[str, Tensor]:
    """Columns 0 and 42 of the last head stay behind, as they do in trained ones."""
    last = RELEASE.decoder_layers - 1
    bias = msts_twin.network(RELEASE).state_dict()[f"class_heads.{last}.bias"].clone()
    bias[[0, 41]] = -20.0
    return {f"class_heads.{last}.bias": bias}


def test_the_benchmarks_list_of_a_whole_video_is_the_published_one() -> None:
    """But for pairs without a pixel, in whose places the next ones are told."""
    made = checkpoint(**unsure_of_columns_without_a_class())

    expected = published_list(made)
    tracks = told(made)[: len(expected)]

    assert len(expected) > 6
    categories = made.info.categories
    assert [categories[track.label].id for track in tracks] == [column for column, _, _ in expected]
    assert [track.score for track in tracks] == pytest.approx([score for _, score, _ in expected], abs=1e-6)
    for track, (_, _, planes) in zip(tracks, expected, strict=True):
        assert track.masks == {t: plane for t, plane in enumerate(planes) if masks.area(plane)}


def test_a_slot_may_be_told_as_several_classes_with_the_same_masks() -> None:
    tracks = told(checkpoint(**unsure_of_columns_without_a_class()))

    pairs = [(a, b) for a in tracks for b in tracks if a.id < b.id and a.masks == b.masks]
    assert pairs
    assert all(a.label != b.label for a, b in pairs)


def test_a_column_without_a_class_is_never_told() -> None:
    last = RELEASE.decoder_layers - 1
    bias = torch.full((42,), -5.0)
    bias[[0, 41]] = 20.0

    tracks = told(checkpoint(**{f"class_heads.{last}.bias": bias, f"class_heads.{last}.weight": torch.zeros(42, 64)}))

    assert tracks
    assert {round(track.score, 4) for track in tracks} == {0.0067}


def test_slots_without_a_pixel_are_not_told() -> None:
    names = ("controller.layers.2.weight", "controller.layers.2.bias")
    nowhere = {name: torch.zeros_like(msts_twin.network(RELEASE).state_dict()[name]) for name in names}
    nowhere[names[1]][-1] = -1.0  # the last bias is that of the mask's logit

    assert told(checkpoint(**nowhere)) == ()


@pytest.mark.parametrize(("asked", "kept"), [({}, 10), ({"max_instances": 2}, 2), ({"max_instances": 12}, 12)])
def test_masks_are_made_of_slots_that_are_kept_alone(
    asked: dict[str, int], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the benchmark ten of a clip, unless told otherwise."""
    made: list[int] = []
    plainly = Msts.masks

    def counted(self: Msts, queries: Tensor, references: Tensor, features: Tensor) -> Tensor:
        made.append(len(queries))
        return plainly(self, queries, references, features)

    monkeypatch.setattr(Msts, "masks", counted)

    told(checkpoint(replace(RELEASE, queries=14)), **asked)

    assert made == [kept]


@pytest.mark.parametrize(("rules", "seen"), [({}, [7, 7]), (PAPER, [7, 10])], ids=["release", "paper"])
def test_windows_that_overlap_look_once_at_a_frame(rules: dict[str, Any], seen: list[int]) -> None:
    """In the release for backbone and encoder; in the paper the encoder looks at clips."""
    model = load(checkpoint(replace(RELEASE, **rules)), RunOptions(score_floor=0.0))
    assert isinstance(model, ClipSegmenter)
    looked = {"Backbone": 0, "ClipEncoder": 0}

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if (name := type(module).__name__) in looked:
            looked[name] += len(inputs[0]) if name == "Backbone" else len(inputs[0][0])

    hook = nn.modules.module.register_module_forward_pre_hook(count)
    film = frames()

    for begin in (0, 2):
        model.segment(FakeSource.of(FILM).info, film[begin : begin + 5])

    hook.remove()
    assert list(looked.values()) == seen


def test_remembered_frames_say_what_they_say_at_first_sight() -> None:
    film, info = frames(), FakeSource.of(FILM).info
    one, other = (load(checkpoint(), RunOptions(score_floor=0.0)) for _ in range(2))

    one.segment(info, film[:5])

    known, new = one.segment(info, film[2:]), other.segment(info, film[2:])
    assert [(track.label, track.masks) for track in known] == [(track.label, track.masks) for track in new]
    assert [track.score for track in known] == pytest.approx([track.score for track in new], abs=1e-6)


@pytest.mark.parametrize(("geometry", "edge"), [("exact", 45.0), ("stretched", 45 * 90 / 96)])
def test_masks_end_where_they_should_or_as_far_as_the_frame_is_stretched(geometry: Any, edge: float) -> None:
    """A mask up to column 45 of a frame of 60 x 90, whose map covers 64 x 96 pixels."""
    letterbox = Letterbox.fit(SIZE_HW, short_side=SIZE_HW[0])
    centres = torch.arange(24) * 4 + 2.0
    logits = (45 - centres).expand(1, 16, -1)

    patch = next(mask_letterbox(letterbox, replace(RELEASE, mask_geometry=geometry)).undo(logits))

    assert patch.columns.any(1).sum() == pytest.approx(edge, abs=0.51)


@pytest.mark.parametrize("rules", [{}, PAPER], ids=["release", "paper"])
def test_the_probe_gives_what_the_network_says_of_all_slots(rules: dict[str, Any]) -> None:
    made = checkpoint(replace(RELEASE, **rules))
    given = normalised()
    padding = torch.zeros(1, 7, *SIZE_HW, dtype=torch.bool)
    padding[:, :, 50:] = True
    network = msts_twin.network(replace(RELEASE, **rules))

    arrays = probe(made, {"frames": given[0].numpy(), "padding": padding[0].numpy()})
    plain = probe(made, {"frames": given[0].numpy()})

    with torch.no_grad():
        last = network(given, padding).layers[-1]
    assert {name: array.shape for name, array in arrays.items()} == {
        "class_logits": (7, 42),
        "boxes_cxcywh_norm": (7, 7, 4),
        "mask_logits": (7, 7, 16, 24),
    }
    np.testing.assert_allclose(arrays["class_logits"], last.class_logits[0], atol=1e-5)
    np.testing.assert_allclose(arrays["boxes_cxcywh_norm"], last.boxes[0], atol=1e-5)
    assert np.abs(plain["class_logits"] - arrays["class_logits"]).max() > 1e-3


@pytest.mark.parametrize(
    "arrays",
    [
        {"frames": np.zeros((7, 4, 60, 90), np.float32)},
        {"frames": np.zeros((7, 3, 60, 90), np.float32), "padding": np.zeros((7, 60, 91), bool)},
        {"pictures": np.zeros((7, 3, 60, 90), np.float32)},
    ],
    ids=["four colours", "padding of another size", "no frames"],
)
def test_arrays_of_other_shapes_are_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        probe(checkpoint(), arrays)
