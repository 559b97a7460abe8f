"""MaskDINO as a whole: what it says in evaluation and in training, and the laws that hold for any weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mask_dino_networks import LAYOUTS, SMALL, network
from torch import Tensor, nn

from vistool.nn.boxes import mask_boxes, to_cxcywh
from vistool.nn.denoising import NoisedQueries, blocked_pairs
from vistool.nn.frame_sizes import sides
from vistool.nn.image_model import FrameObjects, LayerOutput, TrainingOutput
from vistool.nn.mask_dino.network import MaskDino
from vistool.nn.mask_dino.sizes import PRESETS, MaskDinoSizes

CLOSE: dict[str, Any] = {"atol": 1e-3, "rtol": 1e-3}
M, GROUPS = 6, 2


def frames(batch: int = 2, height: int = 64, width: int = 96) -> Tensor:
    return torch.randn(batch, 3, height, width)


def training(built: MaskDino) -> MaskDino:
    """In training mode, but for the statistics of the backbone's batch norms."""
    built.train()
    built.backbone.eval()
    return built


def noised_queries(batch: int = 2) -> NoisedQueries:
    """Two groups of three slots, of which the last is padded on the last frame."""
    padded = torch.zeros(batch, M, dtype=torch.bool)
    padded[-1, -1] = True
    return NoisedQueries(
        labels=torch.randint(0, SMALL.num_classes, (batch, M)),
        boxes=torch.rand(batch, M, 4) * 0.5 + 0.2,
        padded=padded,
        blocked=blocked_pairs(GROUPS, M // GROUPS, SMALL.queries),
        objects=torch.arange(M) % (M // GROUPS),
        positive=torch.ones(M, dtype=torch.bool),
        groups=GROUPS,
    )


def assert_same(a: LayerOutput | FrameObjects, b: LayerOutput | FrameObjects) -> None:
    torch.testing.assert_close(a.embeddings, b.embeddings, **CLOSE)
    torch.testing.assert_close(a.class_logits, b.class_logits, **CLOSE)
    torch.testing.assert_close(a.boxes, b.boxes, **CLOSE)


def module_output(module: nn.Module, of: nn.Module, inputs: Tensor) -> Tensor:
    """What `module` gives when `of` is called, the last time."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda *call: seen.append(call[2]))
    of(inputs)
    handle.remove()
    return seen[-1]


@torch.no_grad()
@pytest.mark.parametrize("sizes", LAYOUTS.values(), ids=LAYOUTS)
def test_a_batch_gives_what_single_frames_give(sizes: MaskDinoSizes) -> None:
    built, images = network(sizes), frames()

    together = built(images)

    for number in range(2):
        alone = built(images[number : number + 1])
        torch.testing.assert_close(alone.embeddings[0], together.embeddings[number], **CLOSE)
        torch.testing.assert_close(alone.boxes[0], together.boxes[number], **CLOSE)
        torch.testing.assert_close(alone.pixels[0], together.pixels[number], **CLOSE)


@torch.no_grad()
def test_frames_of_any_size_are_padded_with_zeros_and_boxes_are_shares_of_what_was_given() -> None:
    built, images = network(), frames(1, 50, 70)
    by_hand = F.pad(images, (0, 26, 0, 14))

    given, padded = built(images), built(by_hand)

    torch.testing.assert_close(given.embeddings, padded.embeddings)
    torch.testing.assert_close(given.boxes * sides(images), padded.boxes * sides(by_hand))
    torch.testing.assert_close(given.pixels, padded.pixels[..., :13, :18])
    assert_same(built(images, torch.zeros(1, 50, 70, dtype=torch.bool)), given)


@torch.no_grad()
def test_boxes_of_every_layer_are_shares_of_what_was_given() -> None:
    built, images = training(network()), frames(1, 50, 70)
    by_hand = F.pad(images, (0, 26, 0, 14))

    given, padded = built(images), built(by_hand)

    for a, b in zip([*given.layers, given.selected], [*padded.layers, padded.selected], strict=True):
        torch.testing.assert_close(a.boxes * sides(images), b.boxes * sides(by_hand))


@torch.no_grad()
def test_the_norm_is_applied_to_embeddings_and_again_by_the_heads() -> None:
    built, images = network(), frames()
    raw = module_output(built.decoder.layers[-1], built, images)

    objects = built(images)

    norm, last = built.heads.norm, built.heads.class_embed
    torch.testing.assert_close(objects.embeddings, norm(raw), **CLOSE)
    torch.testing.assert_close(objects.class_logits, last(norm(norm(raw))), **CLOSE)
    torch.testing.assert_close(built.classes(objects.embeddings), objects.class_logits)


@torch.no_grad()
def test_masks_are_kernels_dotted_with_every_pixel() -> None:
    built = network()
    objects = built(frames())
    chosen = objects.embeddings[1, [4, 0]]

    masks = built.masks(chosen, objects.pixels[1])

    assert masks.shape == (2, 16, 24)
    for row, embedding in enumerate(chosen):
        kernel = built.heads.mask_embed(built.heads.norm(embedding))
        for y, x in [(0, 0), (15, 23), (7, 11)]:
            torch.testing.assert_close(masks[row, y, x], kernel @ objects.pixels[1, :, y, x], **CLOSE)


@torch.no_grad()
def test_queries_are_compared_by_their_directions_after_the_heads_norm() -> None:
    built = network()
    objects = built(frames())

    looks = built.association(objects)

    torch.testing.assert_close(looks.norm(dim=-1), torch.ones(2, SMALL.queries))
    normed = built.heads.norm(objects.embeddings)
    torch.testing.assert_close(looks * normed.norm(dim=-1, keepdim=True), normed, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("sizes", LAYOUTS.values(), ids=LAYOUTS)
def test_training_says_the_same_of_the_last_layer(sizes: MaskDinoSizes) -> None:
    built, images = network(sizes), frames()
    expected = built(images)

    output = training(built)(images)

    assert isinstance(output, TrainingOutput)
    assert_same(output.objects, expected)
    assert_same(output.layers[-1], expected)
    assert len(output.layers) == 1 + SMALL.decoder_layers
    assert output.noised == ()


def test_the_decoder_begins_with_what_was_selected_and_passes_nothing_back_to_it() -> None:
    built = training(network(replace(SMALL, anchors="proposal")))
    output = built(frames())
    first, selected = output.layers[0], output.selected

    assert_same(first, selected)
    assert selected.embeddings.requires_grad and selected.boxes.requires_grad
    assert not first.embeddings.requires_grad and not first.boxes.requires_grad


@torch.no_grad()
def test_first_boxes_are_those_of_the_selected_masks() -> None:
    built = training(network(LAYOUTS["r50-hid1024"]))
    output = built(frames())
    first, pixels = output.layers[0], output.objects.pixels

    for number in range(2):
        masks = built.masks(output.selected.embeddings[number], pixels[number]) > 0
        boxes = to_cxcywh(mask_boxes(masks)) * 4 / sides(frames())
        torch.testing.assert_close(first.boxes[number], boxes.clamp(1e-5, 1 - 1e-5))


@torch.no_grad()
def test_matched_queries_do_not_notice_denoising_ones() -> None:
    built, images = training(network()), frames()

    alone, beside = built(images), built(images, None, noised_queries())

    for a, b in zip(alone.layers, beside.layers, strict=True):
        assert_same(a, b)
    assert_same(alone.objects, beside.objects)
    assert len(beside.noised) == SMALL.decoder_layers
    assert all(layer.boxes.shape == (2, M, 4) for layer in beside.noised)


@torch.no_grad()
def test_groups_of_denoising_queries_do_not_notice_each_other() -> None:
    built, images, noised = training(network()), frames(), noised_queries()
    labels, boxes = noised.labels.clone(), noised.boxes.clone()
    labels[:, :3], boxes[:, :3] = (labels[:, :3] + 1) % SMALL.num_classes, 0.5

    before = built(images, None, noised).noised[-1]
    after = built(images, None, replace(noised, labels=labels, boxes=boxes)).noised[-1]

    torch.testing.assert_close(after.embeddings[:, 3:], before.embeddings[:, 3:], **CLOSE)
    assert not torch.allclose(after.embeddings[:, :3], before.embeddings[:, :3], atol=0.1)


@torch.no_grad()
def test_padded_slots_are_the_same_whatever_stands_in_them() -> None:
    built, images, noised = training(network()), frames(), noised_queries()
    labels, boxes = noised.labels.clone(), noised.boxes.clone()
    labels[-1, -1], boxes[-1, -1] = (labels[-1, -1] + 1) % SMALL.num_classes, 0.1

    before, after = (built(images, None, n) for n in (noised, replace(noised, labels=labels, boxes=boxes)))

    assert_same(before.noised[-1], after.noised[-1])


@torch.no_grad()
def test_a_denoising_query_is_its_label_at_its_box() -> None:
    """One label and one box everywhere: as if the query had been selected so."""
    built, images = training(network()), frames(1, 50, 70)
    noised = replace(
        noised_queries(1),
        labels=torch.full((1, M), 3),
        padded=torch.zeros(1, M, dtype=torch.bool),
        blocked=blocked_pairs(M, 1, SMALL.queries),
    )
    seen: list[tuple[Tensor, Tensor]] = []
    handle = built.decoder.register_forward_pre_hook(lambda module, call: seen.append(call[:2]))
    built(images, None, noised)
    handle.remove()
    queries, boxes = seen[0]

    assert torch.equal(queries[:, :M], built.label_embed[3].expand(1, M, -1))
    torch.testing.assert_close(boxes[:, :M], noised.boxes * sides(images) / torch.tensor([96.0, 64.0, 96.0, 64.0]))


def test_every_parameter_learns() -> None:
    built = training(network())
    output = built(frames(), None, noised_queries())
    masks = [built.masks(layer.embeddings[0], output.objects.pixels[0]) for layer in output.layers]
    said = [*output.layers, output.selected, *output.noised]
    sum(layer.class_logits.square().mean() + layer.boxes.square().mean() for layer in said).backward(retain_graph=True)
    sum(mask.square().mean() for mask in masks).backward()

    idle = [name for name, p in built.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


@torch.no_grad()
def test_a_frame_smaller_than_its_queries_is_read() -> None:
    objects = network(replace(SMALL, queries=30))(frames(1, 32, 32))

    assert objects.embeddings.shape == (1, 4 * 4 + 2 * 2 + 1, 64)


def test_classes_begin_at_the_prior_where_there_is_one() -> None:
    assert MaskDino(SMALL).heads.class_embed.bias.sigmoid().tolist() == pytest.approx([0.01] * 5)


def test_the_small_preset_fits_into_eight_megabytes_of_half_precision() -> None:
    with torch.device("meta"):
        tensors = MaskDino(PRESETS["tiny"]).state_dict()

    assert 2 * sum(tensor.numel() for tensor in tensors.values()) < 8e6
