"""Split attention against loops over pixels and a dense matrix of tokens; its windows, and what padding cannot do."""

from __future__ import annotations

import math
from dataclasses import replace

import msts_twin
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vistool.methods.msts.decoder import TemporalAttention
from vistool.methods.msts.presets import PAPER, PRESETS
from vistool.methods.msts.split_attention import SplitAttention, TokenBlock, windows
from vistool.nn.attention import Attention
from vistool.nn.deformable_detr import Levels
from vistool.nn.positional import sine, sine_1d

PRESET = replace(msts_twin.SIZES, **PAPER, dim=16, split_heads=4, split_mlp_ratio=2, dropout=0.0)
SIZES_HW = ((5, 7), (3, 4), (2, 2), (1, 1))
AREAS = [h * w for h, w in SIZES_HW]
FRAMES, CLIPS = 3, 2


def randomised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def branch(**others: object) -> SplitAttention:
    made = randomised(SplitAttention(replace(PRESET, **others)))  # type: ignore[arg-type]
    assert isinstance(made, SplitAttention)
    return made


def levels(padding: Tensor | None = None) -> Levels:
    pixels = torch.randn(CLIPS * FRAMES, sum(AREAS), PRESET.dim)
    return Levels(pixels, SIZES_HW, padding, torch.ones(1, 4, 2))


def bottom_and_right() -> Tensor:
    """Padding of the second clip, (B·T, P)."""
    masks = []
    for height, width in SIZES_HW:
        mask = torch.zeros(CLIPS, height, width, dtype=torch.bool)
        mask[1, -(-height * 2 // 3) :] = True
        mask[1, :, -(-width * 3 // 4) :] = True
        masks.append(mask.flatten(1))
    return torch.cat(masks, dim=1).repeat_interleave(FRAMES, dim=0)


def explicit(attention: Attention, queries: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """Softmax over a written out matrix; queries, values (L, D), seen bool (L,) → (L, D)."""
    heads = []
    for q, k, v in zip(
        *(linear.chunk(attention.heads, dim=1) for linear in (attention.to_q(queries), attention.to_k(queries))),
        attention.to_v(values).chunk(attention.heads, dim=1),
        strict=True,
    ):
        scores = (q @ k.T / math.sqrt(q.shape[1])).masked_fill(~seen, float("-inf"))
        heads.append(scores.softmax(1) @ v)
    out: Tensor = attention.out(torch.cat(heads, dim=1))
    return out


def block(module: TokenBlock, tokens: Tensor, code: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
    """The two formulas: Y = SA(LN(Z)) + Z, then MLP(LN(Y)) + Y; tokens (L, D)."""
    normed = module.attn_norm(tokens)
    seen = torch.ones(len(tokens), dtype=torch.bool) if seen is None else seen
    y = tokens + explicit(module.attn, normed if code is None else normed + code, normed, seen)
    out: Tensor = y + module.mlp(module.mlp_norm(y))
    return out


def plainly(module: SplitAttention, given: Levels, position: Tensor) -> Tensor:
    """The branch of the first level on, clip by clip, pixel by pixel, level by level."""
    padding = torch.zeros(CLIPS * FRAMES, sum(AREAS), dtype=torch.bool) if given.padding is None else given.padding
    time = sine_1d(FRAMES, PRESET.dim, normalise=False)
    clips = []
    for clip in range(CLIPS):
        rows = slice(clip * FRAMES, (clip + 1) * FRAMES)
        raw = given.pixels[rows].masked_fill(padding[rows, :, None], 0.0)
        codes = (position[rows] if len(position) > 1 else position.expand(FRAMES, -1, -1)) + time[:, None]
        within = torch.stack(
            [block(module.intra, raw[:, p], codes[:, p] if module.coded else None) for p in range(sum(AREAS))], dim=1
        )
        own, inputs = within.split(AREAS, dim=1), raw.split(AREAS, dim=1)
        across = []
        for level, (height, width) in enumerate(SIZES_HW):
            last = level == len(SIZES_HW) - 1
            coarse = inputs[level] if last else own[level + 1]
            size = SIZES_HW[level if last else level + 1]
            planes = coarse.transpose(1, 2).unflatten(2, size)
            planes = F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
            merged = module.merge(torch.cat([own[level], planes.flatten(2).transpose(1, 2)], dim=2)).flatten(0, 1)
            seen = ~padding[rows].split(AREAS, dim=1)[level].flatten()
            code = codes.split(AREAS, dim=1)[level].flatten(0, 1) if module.coded else None
            seen = seen | ~seen.any()
            across.append(block(module.inter, merged, code, seen).view(FRAMES, height * width, -1))
        clips.append(module.fuse(torch.cat(across, dim=1)))
    return torch.cat(clips)


@pytest.mark.parametrize("position", ["none", "qk"])
@pytest.mark.parametrize("padded", [False, True], ids=["no padding", "padding"])
def test_split_attention_is_that_of_loops_and_dense_matrices(padded: bool, position: str) -> None:
    module = branch(position=position)
    given = levels(bottom_and_right() if padded else None)
    code = torch.randn(CLIPS * FRAMES if padded else 1, sum(AREAS), PRESET.dim)

    with torch.no_grad():
        found, expected = module(given, code, FRAMES), plainly(module, given, code)

    seen = torch.ones_like(found, dtype=torch.bool) if given.padding is None else ~given.padding
    torch.testing.assert_close(found[seen], expected[seen], atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1


def test_one_head_weighs_by_the_root_of_the_width() -> None:
    module = branch(split_heads=1)
    tokens = torch.randn(6, PRESET.dim)

    with torch.no_grad():
        found, expected = module.intra(tokens[None])[0], block(module.intra, tokens)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_branch_starts_as_nothing_and_learns_from_its_last_layer_on() -> None:
    module = SplitAttention(PRESET)

    found = module(levels(), torch.zeros(1, sum(AREAS), PRESET.dim), FRAMES)
    found.sum().backward()

    assert torch.equal(found, torch.zeros_like(found))
    assert module.fuse.weight.grad is not None and module.fuse.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("ratio", "numbers"), [(4, 1_776_640), (2, 1_251_328)])
def test_a_branch_of_published_width_has_so_many_numbers(ratio: int, numbers: int) -> None:
    module = SplitAttention(replace(PRESETS["r50-paper"], split_mlp_ratio=ratio))

    assert sum(parameter.numel() for parameter in module.parameters()) == numbers


def test_attention_among_boxes_of_published_width_has_so_many_numbers() -> None:
    module = TemporalAttention(PRESETS["r50-paper"])

    assert sum(parameter.numel() for parameter in module.parameters()) == 263_680


def test_what_stands_in_the_padding_has_no_say() -> None:
    module, padding = branch(), bottom_and_right()
    given = levels(padding)
    other = replace(given, pixels=torch.where(padding[..., None], torch.randn_like(given.pixels), given.pixels))
    code = torch.zeros(1, sum(AREAS), PRESET.dim)

    with torch.no_grad():
        one, two = module(given, code, FRAMES), module(other, code, FRAMES)
        blind = module(replace(other, padding=None), code, FRAMES)

    assert torch.equal(one, two)
    assert (one - blind)[~padding].abs().max() > 0.01


def test_a_window_full_of_padding_is_no_number_less() -> None:
    module = branch(inter_scale_window=FRAMES)

    with torch.no_grad():
        found = module(levels(bottom_and_right()), torch.zeros(1, sum(AREAS), PRESET.dim), FRAMES)

    assert found.isfinite().all()


@pytest.mark.parametrize("kept", [1, 3])
def test_levels_that_are_left_out_get_nothing_and_change_nothing(kept: int) -> None:
    module, given = branch(split_levels=kept), levels()
    first = sum(AREAS[: 4 - kept])
    other = given.pixels.clone()
    other[:, :first] = torch.randn(CLIPS * FRAMES, first, PRESET.dim)
    code = torch.zeros(1, sum(AREAS), PRESET.dim)

    with torch.no_grad():
        one, two = module(given, code, FRAMES), module(replace(given, pixels=other), code, FRAMES)

    assert torch.equal(one[:, :first], torch.zeros_like(one[:, :first]))
    assert torch.equal(one, two)


CASES = [(5, (7, 9), 20), (5, (7, 9), 5), (5, (7, 9), 3), (1, (45, 80), 1000), (3, (2, 50), 60), (2, (3, 4), 24)]


@pytest.mark.parametrize(("frames", "size_hw", "most"), CASES)
def test_windows_hold_every_token_once_and_no_more_than_asked(frames: int, size_hw: tuple[int, int], most: int) -> None:
    times = torch.zeros(frames, *size_hw)

    for place in windows(frames, size_hw, most):
        times[place] += 1
        assert times[place].numel() <= most

    assert torch.equal(times, torch.ones_like(times))


@pytest.mark.parametrize("most", [None, 5 * 7 * 9, 1000])
def test_a_window_that_holds_all_is_one(most: int | None) -> None:
    assert list(windows(5, (7, 9), most)) == [(slice(0, 5), slice(0, 7), slice(0, 9))]


def test_a_window_keeps_all_frames_of_its_patch_where_they_fit() -> None:
    assert all(place[0] == slice(0, 5) for place in windows(5, (45, 80), 2000))


def test_windows_that_hold_all_change_nothing_and_smaller_ones_part_tokens() -> None:
    whole, given = branch(), levels()
    code = torch.zeros(1, sum(AREAS), PRESET.dim)
    parted = branch(inter_scale_window=FRAMES * 12)
    wide = branch(inter_scale_window=FRAMES * AREAS[0])
    for module in (parted, wide):
        module.load_state_dict(whole.state_dict())
    far = given.pixels.clone()
    far[:, AREAS[0] - 1] += 1.0  # the last pixel of the finest level, which the levels above know nothing of

    with torch.no_grad():
        all_of_it = whole(given, code, FRAMES)
        reached = (whole(replace(given, pixels=far), code, FRAMES) - all_of_it)[:, 0].abs().max()
        kept_away = (parted(replace(given, pixels=far), code, FRAMES) - parted(given, code, FRAMES))[:, 0].abs().max()

    assert torch.equal(wide(given, code, FRAMES), all_of_it)
    assert reached > 1e-4
    assert kept_away == 0


@pytest.mark.parametrize("place", [False, True], ids=["anywhere", "place"])
@pytest.mark.parametrize("position", ["none", "qk"])
def test_boxes_of_an_instance_look_at_one_another_over_the_frames(position: str, place: bool) -> None:
    module = randomised(TemporalAttention(replace(PRESET, heads=4, position=position, temporal_place=place)))
    assert isinstance(module, TemporalAttention)
    boxes, centres = torch.randn(CLIPS, FRAMES, 5, PRESET.dim), torch.rand(CLIPS, FRAMES, 5, 2)
    frames = sine_1d(FRAMES, PRESET.dim, normalise=False)
    code = frames if position == "qk" else torch.zeros(FRAMES, PRESET.dim)

    with torch.no_grad():
        found = module(boxes, centres)

    for clip in range(CLIPS):
        for query in range(5):
            tokens = module.norm(boxes[clip, :, query])
            if module.place is not None:
                x, y = (sine(2 * math.pi * axis, PRESET.dim // 2) for axis in centres[clip, :, query].unbind(-1))
                tokens = tokens + torch.cat([frames, x, y], dim=-1) @ module.place.weight.T
            every = torch.ones(FRAMES, dtype=torch.bool)
            expected = explicit(module.attn, tokens + code, tokens, every)
            torch.testing.assert_close(found[clip, :, query], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("place", [False, True])
def test_attention_among_boxes_starts_as_nothing(place: bool) -> None:
    boxes, centres = torch.randn(CLIPS, FRAMES, 5, PRESET.dim), torch.rand(CLIPS, FRAMES, 5, 2)
    module = TemporalAttention(replace(PRESET, heads=4, temporal_place=place))

    assert torch.equal(module(boxes, centres), torch.zeros_like(boxes))
