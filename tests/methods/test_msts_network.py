"""The network: SeqFormer by a plain reading of its tensors, who sees whom, and what the paper adds."""

from __future__ import annotations

from dataclasses import replace

import msts_twin
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.methods.msts.network import ClipOutput, Msts
from vistool.methods.msts.presets import PAPER, PRESETS

SIZES = msts_twin.SIZES
FULL = replace(SIZES, **PAPER)
CLIPS = {  # frames, size of the tensors, part of it that is not padding
    "three frames": (3, (64, 96), (64, 96)),
    "one frame": (1, (64, 96), (64, 96)),
    "odd sides": (3, (90, 122), (90, 122)),
    "padded": (3, (96, 128), (70, 90)),
}


@pytest.fixture(scope="module")
def released() -> Msts:
    return msts_twin.network()


def padding_of(frames: int, batch_hw: tuple[int, int], visible_hw: tuple[int, int]) -> Tensor | None:
    """bool (1, T, H, W); None where nothing is padded."""
    if batch_hw == visible_hw:
        return None
    (height, width), (rows, columns) = batch_hw, visible_hw
    visible = torch.zeros(1, frames, rows, columns, dtype=torch.bool)
    return F.pad(visible, (0, width - columns, 0, height - rows), value=True)


def clip(name: str) -> tuple[Tensor, Tensor | None]:
    frames, batch_hw, visible_hw = CLIPS[name]
    padding = padding_of(frames, batch_hw, visible_hw)
    noise = torch.randn(1, frames, 3, *batch_hw)
    return (noise if padding is None else noise.masked_fill(padding[:, :, None], 0.0)), padding


def seen(network: Msts, frames: Tensor, padding: Tensor | None = None) -> ClipOutput:
    with torch.no_grad():
        output: ClipOutput = network(frames, padding)
    return output


def all_masks(network: Msts, output: ClipOutput) -> Tensor:
    """Of the last layer of the first clip, (Q, T, h, w)."""
    last = output.layers[-1]
    with torch.no_grad():
        return network.masks(last.queries[0], last.references[0].transpose(0, 1), output.features[0])


def moved(network: Msts) -> Msts:
    """With parts that start as nothing doing something."""
    for name, parameter in network.named_parameters():
        if ".split." in name or ".temporal." in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("name", CLIPS)
def test_the_release_is_seqformer_by_its_published_names(released: Msts, name: str) -> None:
    frames, padding = clip(name)
    plain_padding = torch.zeros(frames.shape[-2:], dtype=torch.bool) if padding is None else padding[0, 0]

    output = seen(released, frames, padding)
    with torch.no_grad():
        logits, boxes, masks = msts_twin.PlainSeqFormer(released)(released.look(frames[0]), plain_padding)

    last = output.layers[-1]
    torch.testing.assert_close(last.class_logits[0], logits, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(last.boxes[0], boxes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(all_masks(released, output), masks, atol=1e-3, rtol=1e-4)
    assert masks.std() > 1
    assert boxes.std(1).min() > 0.01


@pytest.mark.parametrize(
    ("frame_hw", "levels_hw"),
    [
        ((360, 640), [(45, 80), (23, 40), (12, 20), (6, 10)]),
        ((96, 128), [(12, 16), (6, 8), (3, 4), (2, 2)]),
        ((90, 122), [(12, 16), (6, 8), (3, 4), (2, 2)]),
    ],
)
def test_levels_halve_and_round_up(released: Msts, frame_hw: tuple[int, int], levels_hw: list[tuple[int, int]]) -> None:
    with torch.no_grad():
        memory = released.encoder.flatten(released.look(torch.zeros(1, 3, *frame_hw)))[0]

    assert list(memory.sizes_hw) == levels_hw


def test_shuffled_frames_shuffle_boxes_and_masks_and_leave_the_classes(released: Msts) -> None:
    frames, order = torch.randn(1, 3, 3, 64, 96), [2, 0, 1]

    one, other = seen(released, frames), seen(released, frames[:, order])

    torch.testing.assert_close(other.layers[-1].class_logits, one.layers[-1].class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other.layers[-1].boxes, one.layers[-1].boxes[:, order])
    torch.testing.assert_close(all_masks(released, other), all_masks(released, one)[:, order], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("rules", "memory_alike", "boxes_alike"),
    [
        ({}, True, True),
        ({"encoder_attention": True}, False, False),
        ({"decoder_attention": True}, True, False),
    ],
    ids=["release", "split attention", "attention among boxes"],
)
def test_only_the_paper_shows_a_frame_to_another(rules: dict[str, bool], memory_alike: bool, boxes_alike: bool) -> None:
    network = moved(msts_twin.network(replace(SIZES, **rules)))
    frames = torch.randn(1, 3, 3, 64, 96)
    other = frames.clone()
    other[:, 1] = torch.randn(3, 64, 96)

    one, two = seen(network, frames), seen(network, other)

    kept = [0, 2]
    assert all(torch.equal(a[kept], b[kept]) for a, b in zip(one.maps, two.maps, strict=True)) == memory_alike
    assert torch.equal(one.layers[-1].boxes[:, kept], two.layers[-1].boxes[:, kept]) == boxes_alike
    assert not torch.equal(one.layers[-1].class_logits, two.layers[-1].class_logits)


@pytest.mark.parametrize("preset", [SIZES, FULL], ids=["release", "paper"])
def test_a_frame_four_times_says_what_it_says_once(preset: object) -> None:
    network = moved(msts_twin.network(preset))  # type: ignore[arg-type]
    frame = torch.randn(1, 1, 3, 64, 96)

    once, often = seen(network, frame), seen(network, frame.expand(-1, 4, -1, -1, -1))

    torch.testing.assert_close(often.layers[-1].class_logits, once.layers[-1].class_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(often.layers[-1].boxes[:, :1], once.layers[-1].boxes, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("position", ["none", "qk"])
@pytest.mark.parametrize("name", CLIPS)
def test_before_training_the_paper_is_the_release_to_the_bit(name: str, position: str) -> None:
    frames, padding = clip(name)
    released = msts_twin.network()
    paper = msts_twin.network(replace(FULL, position=position))
    missing, unknown = paper.load_state_dict(released.state_dict(), strict=False)

    one, other = seen(released, frames, padding), seen(paper, frames, padding)

    assert unknown == []
    assert all(".split." in key or ".temporal." in key for key in missing)
    for a, b in zip(one.layers, other.layers, strict=True):
        assert torch.equal(a.class_logits, b.class_logits)
        assert torch.equal(a.boxes, b.boxes)
    assert torch.equal(all_masks(released, one), all_masks(paper, other))


def test_after_one_step_of_the_fusion_frames_depend_on_one_another() -> None:
    paper = msts_twin.network(FULL)
    frames = torch.randn(1, 3, 3, 64, 96)
    before = seen(paper, frames)

    paper(frames).layers[-1].class_logits.sum().backward()
    for branch in paper.encoder.split:
        branch.fuse.weight.data -= 0.01 * branch.fuse.weight.grad  # type: ignore[union-attr,operator]

    after = seen(paper, frames)
    other = seen(paper, torch.cat([frames[:, :1], torch.randn(1, 2, 3, 64, 96)], dim=1))
    assert not torch.equal(after.layers[-1].class_logits, before.layers[-1].class_logits)
    assert not torch.equal(other.maps[0][0], after.maps[0][0])


def test_clips_of_a_batch_do_not_see_one_another() -> None:
    network = moved(msts_twin.network(FULL))
    frames = torch.randn(2, 3, 3, 64, 96)
    padding = torch.cat([torch.zeros(1, 3, 64, 96, dtype=torch.bool), padding_of(3, (64, 96), (50, 70))])  # type: ignore[list-item]

    together = seen(network, frames, padding)

    alone = [seen(network, frames[i, None], padding[i, None]) for i in range(2)]
    last = [output.layers[-1] for output in alone]
    torch.testing.assert_close(together.layers[-1].boxes, torch.cat([each.boxes for each in last]))
    torch.testing.assert_close(
        together.layers[-1].references, torch.cat([each.references for each in last]), atol=1e-3, rtol=1e-4
    )
    torch.testing.assert_close(
        together.layers[-1].class_logits, torch.cat([each.class_logits for each in last]), atol=1e-4, rtol=1e-4
    )


def test_one_set_of_split_attention_may_serve_all_layers() -> None:
    shared = moved(msts_twin.network(replace(FULL, share_layers=True)))
    apart = msts_twin.network(FULL)
    first = shared.encoder.split[0].state_dict()
    for branch in apart.encoder.split:
        branch.load_state_dict(first)
    frames = torch.randn(1, 3, 3, 64, 96)

    one, other = shared.remember(shared.look(frames[0]), frames=3), apart.remember(apart.look(frames[0]), frames=3)

    assert (len(shared.encoder.split), len(apart.encoder.split)) == (1, SIZES.encoder_layers)
    torch.testing.assert_close(one.pixels, other.pixels)


def test_masks_of_some_slots_are_those_among_all(released: Msts) -> None:
    output = seen(released, torch.randn(1, 2, 3, 64, 96))
    first, kept = output.layers[0], [4, 1]
    points = first.references[0].transpose(0, 1)

    some = released.masks(first.queries[0, kept], points[kept], output.features[0])

    every = released.masks(first.queries[0], points, output.features[0])
    torch.testing.assert_close(some, every[kept], atol=1e-4, rtol=1e-5)
    assert released.masks(first.queries[0, :0], points[:0], output.features[0]).shape == (0, 2, 16, 24)


@pytest.mark.parametrize("name", ["tiny", "tiny-baseline", "tiny-encoder"])
def test_tiny_checkpoints_stay_under_eight_megabytes(name: str) -> None:
    numbers = sum(parameter.numel() for parameter in Msts(PRESETS[name]).state_dict().values())

    assert 2 * numbers < 8_000_000
