"""Mask2Former for frames against Mask2Former for clips of one frame, and the boxes of its masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vistool.nn.frame_sizes import sides
from vistool.nn.image_model import TrainingOutput
from vistool.nn.mask2former_image import Mask2FormerImage
from vistool.nn.masked_decoder import ClipOutput, MaskedDecoder
from vistool.nn.presets import TINY, Mask2FormerSizes
from vistool.nn.trunk import FrameTrunk

SIZES = Mask2FormerSizes(**{**TINY, "num_classes": 5, "queries": 7, "encoder_layers": 1, "decoder_layers": 4})
CLOSE: dict[str, Any] = {"atol": 1e-3, "rtol": 1e-3}


@pytest.fixture
def network() -> Mask2FormerImage:
    return Mask2FormerImage(SIZES).eval()


def of_clips(network: Mask2FormerImage, frames: torch.Tensor, *, training: bool = False) -> ClipOutput:
    """What the network for clips says of clips of one frame, with the same weights."""
    clips = nn.ModuleDict({"trunk": FrameTrunk(SIZES), "decoder": MaskedDecoder(SIZES)}).eval()
    clips.load_state_dict(network.state_dict())
    clips["decoder"].train(training)
    output: ClipOutput = clips["decoder"](clips["trunk"](frames[:, None]), 1)
    return output


@torch.no_grad()
def test_classes_and_masks_are_those_of_a_clip_of_one_frame(network: Mask2FormerImage) -> None:
    frames = torch.randn(2, 3, 64, 96)
    expected = of_clips(network, frames)

    objects = network(frames)

    exponents = expected.final.class_logits.exp()
    either = exponents[..., :-1] + exponents[..., -1:]  # this class or no object
    torch.testing.assert_close(objects.class_logits.sigmoid(), exponents[..., :-1] / either, **CLOSE)
    torch.testing.assert_close(network.classes(objects.embeddings), objects.class_logits)
    for number in range(2):
        masks = network.masks(objects.embeddings[number], objects.pixels[number])
        torch.testing.assert_close(masks, expected.final.mask_logits[number, :, 0], **CLOSE)
    torch.testing.assert_close(network.association(objects), F.normalize(expected.embeddings, dim=-1), **CLOSE)


@torch.no_grad()
def test_training_says_what_every_layer_says(network: Mask2FormerImage) -> None:
    frames = torch.randn(2, 3, 64, 96)
    expected = of_clips(network, frames, training=True)
    network.decoder.train()
    network.training = True

    output = network(frames)

    assert isinstance(output, TrainingOutput) and output.selected is None and output.noised == ()
    class_logits, mask_logits = expected.stacked()
    assert len(output.layers) == len(class_logits) == 1 + SIZES.decoder_layers
    for layer, classes, masks in zip(output.layers, class_logits, mask_logits, strict=True):
        torch.testing.assert_close(layer.class_logits, classes[..., :-1] - classes[..., -1:], **CLOSE)
        found = torch.stack(
            [network.masks(*each) for each in zip(layer.embeddings, output.objects.pixels, strict=True)]
        )
        torch.testing.assert_close(found, masks[:, :, 0], **CLOSE)


@torch.no_grad()
def test_boxes_are_tight_around_masks_as_shares_of_the_frame_that_was_given(network: Mask2FormerImage) -> None:
    frames = torch.randn(1, 3, 50, 70)
    objects = network(frames)
    masks = network.masks(objects.embeddings[0], objects.pixels[0]) > 0

    assert masks.shape[1:] == (13, 18)
    for mask, box in zip(masks, objects.boxes[0] * sides(frames), strict=True):
        rows, columns = (mask.any(axis).nonzero().flatten().tolist() or [0, -1] for axis in (1, 0))
        x0, x1, y0, y1 = 4 * columns[0], 4 * (columns[-1] + 1), 4 * rows[0], 4 * (rows[-1] + 1)
        assert box.tolist() == pytest.approx([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], abs=1e-3)
