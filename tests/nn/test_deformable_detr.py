"""Deformable DETR stage by stage against transformers, and the laws of padding and of box refinement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import deformable_twin
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DeformableDetrForObjectDetection

from vistool.nn import backbones
from vistool.nn.deformable import DeformableAttention
from vistool.nn.deformable_detr import DeformableEncoder, Levels, RefiningDecoder
from vistool.nn.idol_detector.names import from_published
from vistool.nn.idol_detector.network import IdolDetector
from vistool.nn.positional import sine_2d, sine_2d_within

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
LAYERS = deformable_twin.SIZES.decoder_layers
STAGES = ["memory", "points", *(f"{part}.{i}" for part in ("queries", "classes", "boxes") for i in range(LAYERS))]
CASES = {  # size of the batch, sizes of the two frames in it
    "no padding": ((64, 96), [(64, 96), (64, 96)]),
    "one smaller frame": ((96, 128), [(96, 128), (70, 90)]),
    "two smaller frames": ((96, 128), [(41, 128), (70, 33)]),
    "odd sides": ((70, 90), [(70, 90), (70, 90)]),
}

Pair = tuple[IdolDetector, DeformableDetrForObjectDetection]


def padding_of(batch_hw: tuple[int, int], frames_hw: list[tuple[int, int]]) -> Tensor:
    """bool (B, H, W), true below and to the right of frames of these sizes."""
    padding = torch.ones(len(frames_hw), *batch_hw, dtype=torch.bool)
    for mask, (height, width) in zip(padding, frames_hw, strict=True):
        mask[:height, :width] = False
    return padding


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Our network and theirs, with the same weights, moved by the converter that users run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.RESNETS, deformable_twin.SIZES.backbone, deformable_twin.BOTTLENECKS)
        theirs = deformable_twin.twin()
        sizes, tensors = from_published(deformable_twin.as_published(theirs) | deformable_twin.rest_published())
        ours = IdolDetector(sizes).eval()
        ours.load_state_dict(tensors)
        yield ours, theirs


def our_stages(network: IdolDetector, frames: Tensor, padding: Tensor | None) -> dict[str, Tensor]:
    """The parts by themselves, on frames whose sides need no more padding."""
    memory = network.encoder(network.backbone(frames)[1:], padding)
    refinements = network.decoder(memory)
    stages = {"memory": memory.pixels, "points": refinements[0].references}
    for i, (head, layer) in enumerate(zip(network.class_heads, refinements, strict=True)):
        stages |= {f"queries.{i}": layer.queries, f"classes.{i}": head(layer.queries), f"boxes.{i}": layer.boxes}
    return stages


def their_stages(model: DeformableDetrForObjectDetection, frames: Tensor, padding: Tensor) -> dict[str, Tensor]:
    output = model(frames, pixel_mask=(~padding).long())
    stages = {"memory": output.encoder_last_hidden_state, "points": output.init_reference_points}
    for i, (head, queries) in enumerate(
        zip(model.class_embed, output.intermediate_hidden_states.unbind(1), strict=True)
    ):
        boxes = output.intermediate_reference_points[:, i]
        stages |= {f"queries.{i}": queries, f"classes.{i}": head(queries), f"boxes.{i}": boxes}
    return stages | {f"classes.{LAYERS - 1}": output.logits, f"boxes.{LAYERS - 1}": output.pred_boxes}


@pytest.fixture(scope="module", params=CASES)
def compared(pair: Pair, request: pytest.FixtureRequest) -> dict[str, tuple[Tensor, Tensor]]:
    """Stage → our tensor and theirs, of two frames whose batch is padded to a multiple of 32."""
    ours, theirs = pair
    (height, width), frames_hw = CASES[request.param]
    padding = padding_of((height + -height % 32, width + -width % 32), frames_hw)
    noise = torch.randn(2, 3, *padding.shape[1:], generator=torch.Generator().manual_seed(2))
    frames = noise.masked_fill(padding[:, None], 0.0)
    with torch.no_grad():
        mine = our_stages(ours, frames, padding if padding.any() else None)
        yours = their_stages(theirs, frames, padding)
    return {stage: (mine[stage], yours[stage]) for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_agrees_with_transformers(compared: dict[str, tuple[Tensor, Tensor]], stage: str) -> None:
    ours, theirs = compared[stage]

    torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_the_comparison_is_worth_something(pair: Pair) -> None:
    """Queries, layers and masks of padding differ by far more than the tolerance."""
    frames, padding = torch.randn(2, 3, 96, 128), padding_of((96, 128), [(96, 128), (70, 90)])

    with torch.no_grad():
        masked, blind = our_stages(pair[0], frames, padding), our_stages(pair[0], frames, None)

    assert masked["boxes.2"].std(1).min() > 0.01
    assert (masked["boxes.2"] - masked["boxes.1"]).abs().max() > 0.01
    assert (masked["classes.2"] - blind["classes.2"])[1].abs().max() > 0.01


def test_padding_that_the_network_adds_is_masked_too(pair: Pair) -> None:
    ours, theirs = pair
    frames = torch.randn(2, 3, 70, 90)

    with torch.no_grad():
        objects = ours(frames)
        output = their_stages(theirs, F.pad(frames, (0, 6, 0, 26)), padding_of((96, 96), [(70, 90)] * 2))

    torch.testing.assert_close(objects.class_logits, output[f"classes.{LAYERS - 1}"], **TOLERANCE)
    torch.testing.assert_close(objects.boxes, output[f"boxes.{LAYERS - 1}"], **TOLERANCE)
    torch.testing.assert_close(objects.references, output[f"boxes.{LAYERS - 2}"][..., :2], **TOLERANCE)


SIZES_HW = ((6, 8), (3, 4), (2, 2), (1, 1))
PIXELS = sum(h * w for h, w in SIZES_HW)


def random_levels(padding: Tensor | None = None) -> Levels:
    """Two frames; padding bool (2, PIXELS)."""
    return Levels(torch.randn(2, PIXELS, 32), SIZES_HW, padding, torch.rand(1, 4, 2) * 0.5 + 0.5)


def randomised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def decoder(layers: int = 3) -> RefiningDecoder:
    return RefiningDecoder(queries=5, dim=32, heads=4, hidden=16, layers=layers, points=2)


def test_attention_reads_nothing_of_the_padding() -> None:
    attention = randomised(DeformableAttention(32, heads=4, levels=4, points=3))
    padding = torch.rand(2, PIXELS) > 0.6
    queries, references, memory = torch.randn(2, 5, 32), torch.rand(2, 5, 4, 4), torch.randn(2, PIXELS, 32)
    other = torch.where(padding[..., None], torch.randn_like(memory), memory)

    read = attention(queries, references, memory, SIZES_HW, padding)

    torch.testing.assert_close(attention(queries, references, other, SIZES_HW, padding), read)
    assert (attention(queries, references, other, SIZES_HW) - read).abs().max() > 0.01


def test_attention_without_padding_is_the_same_with_a_mask_and_without() -> None:
    attention = randomised(DeformableAttention(32, heads=4, levels=4, points=3))
    queries, references, memory = torch.randn(2, 5, 32), torch.rand(2, 5, 4, 2), torch.randn(2, PIXELS, 32)
    nowhere = torch.zeros(2, PIXELS, dtype=torch.bool)

    masked = attention(queries, references, memory, SIZES_HW, nowhere)

    torch.testing.assert_close(masked, attention(queries, references, memory, SIZES_HW))


def test_frames_of_a_batch_do_not_see_one_another() -> None:
    encoder = randomised(DeformableEncoder([8, 16, 24], dim=32, heads=4, hidden=16, layers=2, points=2))
    network = randomised(decoder())
    maps = [torch.randn(2, 8, 12, 16), torch.randn(2, 16, 6, 8), torch.randn(2, 24, 3, 4)]
    padding = padding_of((96, 128), [(96, 128), (50, 70)])

    together = network(encoder(maps, padding))[-1].boxes

    alone = [network(encoder([m[i, None] for m in maps], padding[i, None]))[-1].boxes[0] for i in range(2)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_boxes_begin_small_at_the_learned_points() -> None:
    network = decoder()

    refinements = network(random_levels())

    small = torch.full((2, 5, 2), 1 / (1 + math.exp(2)))
    expected = torch.cat([network.first_references().expand(2, -1, -1), small], dim=-1)
    for refinement in refinements:
        torch.testing.assert_close(refinement.boxes, expected)


def test_each_layer_starts_from_the_centres_of_the_layer_before() -> None:
    refinements = randomised(decoder())(random_levels())

    boxes = torch.stack([refinement.boxes for refinement in refinements])
    starts = torch.stack([refinement.references for refinement in refinements])
    assert torch.equal(starts[1:], boxes[:-1, ..., :2])
    assert (boxes[1:] - boxes[:-1]).abs().amax((1, 2, 3)).min() > 0.01


def test_a_loss_on_one_box_does_not_train_the_layers_before_through_their_boxes() -> None:
    network = randomised(decoder())

    network(random_levels())[-1].boxes.sum().backward()

    assert [head.layers[0].weight.grad is None for head in network.box_heads] == [True, True, False]


def test_levels_are_pictures_again() -> None:
    levels = random_levels()

    maps = levels.maps()

    assert [tuple(m.shape) for m in maps] == [(2, 32, h, w) for h, w in SIZES_HW]
    assert torch.equal(torch.cat([m.flatten(2) for m in maps], dim=-1).transpose(1, 2), levels.pixels)


def test_points_and_boxes_of_the_visible_part_are_smaller_in_the_whole_level() -> None:
    levels = replace(random_levels(), valid=torch.tensor([[[0.5, 1.0]] * 4]))

    boxes = levels.on_every_level(torch.tensor([[[0.4, 0.6, 0.2, 0.8]]]))

    torch.testing.assert_close(boxes, torch.tensor([[[[0.2, 0.6, 0.1, 0.8]] * 4]]))
    torch.testing.assert_close(levels.on_every_level(torch.tensor([[[0.4, 0.6]]])), boxes[..., :2])


def test_codes_of_pixels_count_from_a_half() -> None:
    codes = sine_2d((3, 5), 8, before=0.5).view(3, 5, 8)

    rows = (torch.arange(3) + 0.5) / 3 * 2 * math.pi
    columns = (torch.arange(5) + 0.5) / 5 * 2 * math.pi
    torch.testing.assert_close(codes[:, 0, 0], rows.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(codes[:, 0, 1], rows.cos(), atol=1e-5, rtol=0)
    torch.testing.assert_close(codes[0, :, 6], (columns / 100).sin(), atol=1e-5, rtol=0)


def test_codes_within_the_visible_part_are_those_of_a_frame_of_its_size() -> None:
    padding = padding_of((6, 9), [(6, 9), (4, 5)])

    codes = sine_2d_within(padding, 8, before=0.5).view(2, 6, 9, 8)

    torch.testing.assert_close(codes[0], sine_2d((6, 9), 8, before=0.5).view(6, 9, 8))
    torch.testing.assert_close(codes[1, :4, :5], sine_2d((4, 5), 8, before=0.5).view(4, 5, 8))
