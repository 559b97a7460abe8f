"""MaskDINO up to its queries: order of levels, first boxes and the selection, token by token."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from mask_dino_networks import LAYOUTS, SMALL, randomised
from torch import Tensor

from vistool.nn.mask_dino.encoder import EncodedFrames, PyramidEncoder
from vistool.nn.mask_dino.heads import QueryHeads
from vistool.nn.mask_dino.selection import QuerySelection, level_proposals, mask_anchors
from vistool.nn.mask_dino.sizes import PRESETS, MaskDinoSizes
from vistool.nn.positional import sine_2d

CHANNELS = (8, 12, 16, 24)
STRIDES_SEEN_BY_THE_DECODER = {
    "r50-hid1024": (8, 16, 32),
    "r50-hid2048": (64, 32, 16, 8),
    "swin-l": (64, 32, 16, 8, 4),
    "swin-l-unenhanced": (64, 32, 16, 8, 4),
    "tiny": (8, 16, 32),
}


def maps(height: int = 128, width: int = 192) -> tuple[Tensor, ...]:
    return tuple(torch.randn(2, c, height // 2 ** (i + 2), width // 2 ** (i + 2)) for i, c in enumerate(CHANNELS))


@pytest.mark.parametrize("name", PRESETS)
def test_levels_lie_in_the_published_order_and_first_boxes_double_along_it(name: str) -> None:
    sizes, expected = PRESETS[name], STRIDES_SEEN_BY_THE_DECODER[name]
    small = replace(SMALL, **{f: getattr(sizes, f) for f in ("finest_stride", "extra_level", "coarse_first")})
    encoded = PyramidEncoder(CHANNELS, small)(maps())

    assert encoded.sizes_hw == tuple((128 // stride, 192 // stride) for stride in expected)
    proposals = level_proposals(encoded.sizes_hw, torch.device("cpu"))
    row = 0
    for level, stride in enumerate(expected):
        for y in range(128 // stride):
            for x in range(192 // stride):
                cell = [(x + 0.5) * stride / 192, (y + 0.5) * stride / 128, 0.05 * 2**level, 0.05 * 2**level]
                assert proposals[row].tolist() == pytest.approx(cell)
                row += 1
    assert row == len(proposals) == encoded.memory.shape[1]


@pytest.mark.parametrize("sizes", LAYOUTS.values(), ids=LAYOUTS)
def test_the_encoder_is_its_equations(sizes: MaskDinoSizes) -> None:
    encoder = randomised(PyramidEncoder(CHANNELS, sizes))
    images = maps()
    order = STRIDES_SEEN_BY_THE_DECODER[next(name for name, s in LAYOUTS.items() if s == sizes)][::-1]

    levels = []
    for number, stride in enumerate(order):
        convolution, norm = encoder.input_projections[number]
        inputs = images[[4, 8, 16, 32].index(min(stride, 32))]
        step = 2 if stride == 64 else 1
        padding = 1 if stride == 64 else 0
        projected = F.conv2d(inputs, convolution.weight, convolution.bias, stride=step, padding=padding)
        levels.append(F.group_norm(projected, 32, norm.weight, norm.bias))
    sizes_hw = [(level.shape[2], level.shape[3]) for level in levels]
    tokens = torch.cat([level.flatten(2).mT for level in levels], dim=1)
    codes = [sine_2d(size, sizes.dim) + encoder.level_embed[number] for number, size in enumerate(sizes_hw)]
    references = torch.tensor([[(x + 0.5) / w, (y + 0.5) / h] for h, w in sizes_hw for y in range(h) for x in range(w)])
    for layer in encoder.layers:
        attended = layer.self_attn(tokens + torch.cat(codes), references[None, :, None], tokens, sizes_hw)
        tokens = layer.self_attn_norm(tokens + attended)
        tokens = layer.ffn_norm(tokens + layer.ffn.out(layer.ffn.inner(tokens).relu()))
    parts = tokens.split([h * w for h, w in sizes_hw], dim=1)
    finest = order.index(min(order))
    lateral, norm = encoder.adapter
    fine = F.group_norm(F.conv2d(images[0], lateral.weight), 32, norm.weight, norm.bias)
    fine = fine + F.interpolate(parts[finest].mT.unflatten(2, sizes_hw[finest]), size=(32, 48), mode="bilinear")
    smooth, norm, _ = encoder.smooth
    fine = F.group_norm(F.conv2d(fine, smooth.weight, padding=1), 32, norm.weight, norm.bias).relu()
    pixels = F.conv2d(fine, encoder.mask_projection.weight, encoder.mask_projection.bias)

    encoded = encoder(images)
    torch.testing.assert_close(encoded.memory, torch.cat(parts[::-1], dim=1))
    torch.testing.assert_close(encoded.pixels, pixels)


def test_selection_takes_the_tokens_with_the_greatest_class_logit_and_none_but_the_border_is_blind() -> None:
    sizes_hw = ((60, 3), (5, 4))  # cells of the first row and last row of level 0 lie within 0.01 of the border
    memory = torch.randn(2, 200, 64)
    selection, heads = randomised(QuerySelection(64)), randomised(QueryHeads(64, 5, None))

    selected = selection(EncodedFrames(memory, sizes_hw, torch.zeros(2, 64, 1, 1)), heads, 9)

    proposals = level_proposals(sizes_hw, memory.device)
    for frame in range(2):
        rows = []
        for token, proposal in zip(memory[frame], proposals, strict=True):
            inside = all(0.01 < number < 0.99 for number in proposal.tolist())
            state = F.layer_norm(
                selection.project(token if inside else torch.zeros(64)),
                (64,),
                selection.norm.weight,
                selection.norm.bias,
            )
            best = F.linear(state, heads.class_embed.weight, heads.class_embed.bias).max().item()
            moved = heads.box_embed(state) + torch.log(proposal / (1 - proposal))
            rows.append((best, state, moved.sigmoid() if inside else torch.ones(4)))
        rows.sort(key=lambda row: row[0], reverse=True)
        torch.testing.assert_close(selected.embeddings[frame], torch.stack([row[1] for row in rows[:9]]))
        torch.testing.assert_close(selected.boxes[frame], torch.stack([row[2] for row in rows[:9]]))


def test_tokens_at_the_border_count_as_zeros_and_their_boxes_are_whole_frames_without_a_gradient() -> None:
    selection, heads = randomised(QuerySelection(64)), randomised(QueryHeads(64, 5, None))
    encoded = EncodedFrames(torch.randn(1, 60, 64), ((60, 1),), torch.zeros(1, 64, 1, 1))

    selected = selection(encoded, heads, 60)
    selected.boxes.sum().backward()

    blind = (selected.boxes == 1).all(-1)
    assert blind.sum() == 2
    assert torch.equal(*selected.embeddings[blind])
    assert all(p.grad.isfinite().all() for p in heads.box_embed.parameters() if p.grad is not None)


def test_a_frame_with_fewer_tokens_than_queries_gives_them_all() -> None:
    encoded = EncodedFrames(torch.randn(1, 6, 64), ((3, 2),), torch.zeros(1, 64, 1, 1))

    assert QuerySelection(64)(encoded, QueryHeads(64, 5, None), 30).boxes.shape == (1, 6, 4)


@pytest.mark.parametrize("spelling", ["bitmask", "mask2box"])
def test_first_boxes_of_masks_by_looking_at_every_pixel(spelling: str) -> None:
    masks = torch.rand(2, 20, 7, 9) < 0.06
    last = 1 if spelling == "bitmask" else 0

    found = mask_anchors(masks, spelling)  # type: ignore[arg-type]

    for mask, box in zip(masks.flatten(0, 1), found.flatten(0, 1), strict=True):
        pixels = [(x, y) for y in range(7) for x in range(9) if mask[y, x]]
        if not pixels:
            expected = [0.0] * 4 if last else [1.0, 1.0, 0.0, 0.0]
        else:
            x0, x1 = min(x for x, _ in pixels), max(x for x, _ in pixels) + last
            y0, y1 = min(y for _, y in pixels), max(y for _, y in pixels) + last
            expected = [(x0 + x1) / 18, (y0 + y1) / 14, (x1 - x0) / 9, (y1 - y0) / 7]
        clamped = [min(max(number, 1e-5), 1 - 1e-5) for number in expected]
        assert box.tolist() == pytest.approx(clamped, abs=2e-6)
        assert all(math.isfinite(math.log(number / (1 - number))) for number in box.tolist())


def test_a_whole_mask_is_a_whole_frame() -> None:
    whole = torch.ones(1, 1, 6, 8, dtype=torch.bool)

    torch.testing.assert_close(
        mask_anchors(whole, "bitmask"), torch.tensor([[[0.5, 0.5, 1.0, 1.0]]]), atol=2e-5, rtol=0
    )
