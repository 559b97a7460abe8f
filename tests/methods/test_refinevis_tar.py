"""`refinevis`: the temporal refinement against its formulas, and what it must not see."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vistool.methods.refinevis.presets import PRESETS, Preset
from vistool.methods.refinevis.tar import TemporalRefinement, refine_online
from vistool.methods.refinevis.tokens import TokenHistory, extended

DIM = 16
PRESET = replace(PRESETS["tiny"], tar_heads=4, tar_ffn=24)
LITERAL = replace(PRESET, norm="post", position="input")
TIMES = torch.tensor([3, 4, 5, 6, 7])
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


def refinement(preset: Preset = PRESET) -> TemporalRefinement:
    """With random weights everywhere, so that nothing hides in a zero."""
    built = TemporalRefinement(preset, DIM).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return built


def tracklets(count: int = 3) -> tuple[Tensor, Tensor]:
    """Tokens (N, 5, D), and where there is one; the second tracklet misses two frames."""
    seen = torch.ones(count, len(TIMES), dtype=torch.bool)
    seen[1, 1:3] = False
    return torch.randn(count, len(TIMES), DIM) * seen[..., None], seen


def everywhere(seen: Tensor) -> Tensor:
    return torch.ones_like(seen)


def code(times: Tensor) -> Tensor:
    """Sine codes (W, D), number by number: sine on even channels, cosine on odd ones."""
    rows = []
    for time in times.tolist():
        angles = [time / 10000 ** (channel // 2 * 2 / DIM) for channel in range(DIM)]
        rows.append([math.sin(angle) if c % 2 == 0 else math.cos(angle) for c, angle in enumerate(angles)])
    return torch.tensor(rows)


def attended(module: TemporalRefinement, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Multi-head attention of one tracklet, head by head; all (W, D)."""
    attention, width = module.attention, DIM // 4
    q, k, v = attention.to_q(queries), attention.to_k(keys), attention.to_v(values)
    heads = []
    for head in range(4):
        part = slice(head * width, (head + 1) * width)
        heads.append((q[:, part] @ k[:, part].T / math.sqrt(width)).softmax(-1) @ v[:, part])
    out: Tensor = attention.out(torch.cat(heads, dim=-1))
    return out


def feed_forward(module: TemporalRefinement, x: Tensor) -> Tensor:
    return F.linear(
        F.relu(F.linear(x, module.ffn.inner.weight, module.ffn.inner.bias)), module.ffn.out.weight, module.ffn.out.bias
    )


@torch.no_grad()
def test_the_residual_form_equals_a_plain_reading() -> None:
    module, (tokens, seen) = refinement(), tracklets()

    found = module(tokens, TIMES, everywhere(seen), seen)

    expected = []
    for x in tokens:
        normed = module.norm1(x)
        a = x + attended(module, normed + code(TIMES), normed + code(TIMES), normed)
        expected.append(a + feed_forward(module, module.norm2(a)))
    torch.testing.assert_close(found, torch.stack(expected), **TOLERANCE)


@torch.no_grad()
def test_the_literal_form_equals_a_plain_reading() -> None:
    module, (tokens, seen) = refinement(LITERAL), tracklets()

    found = module(tokens, TIMES, everywhere(seen), seen)

    expected = []
    for x in tokens:
        z = x + code(TIMES)
        z = module.norm1(z + attended(module, z, z, z))
        expected.append(module.norm2(z + feed_forward(module, z)))
    torch.testing.assert_close(found, torch.stack(expected), **TOLERANCE)


@torch.no_grad()
def test_the_residual_form_starts_as_the_identity_to_the_bit() -> None:
    tokens, seen = tracklets()

    found = TemporalRefinement(PRESET, DIM)(tokens, TIMES, everywhere(seen), seen)

    assert torch.equal(found, tokens)


@torch.no_grad()
def test_the_literal_form_does_not_start_as_the_identity() -> None:
    tokens, seen = tracklets()

    assert not torch.allclose(TemporalRefinement(LITERAL, DIM)(tokens, TIMES, everywhere(seen), seen), tokens)


def test_at_the_identity_the_output_layers_learn_and_the_rest_follows() -> None:
    module, (tokens, seen) = TemporalRefinement(PRESET, DIM), tracklets()

    (module(tokens, TIMES, everywhere(seen), seen) * torch.randn(3, 5, DIM)).sum().backward()

    learns = {
        name
        for name, each in module.named_parameters()
        if each.grad is not None and each.grad.count_nonzero() and "bias" not in name
    }
    assert learns == {"attention.out.weight", "ffn.out.weight"}


@pytest.mark.parametrize("preset", [PRESET, LITERAL], ids=["residual", "literal"])
@torch.no_grad()
def test_shuffled_tracklets_are_refined_as_before(preset: Preset) -> None:
    module, (tokens, seen) = refinement(preset), tracklets(6)
    order = torch.randperm(6)

    found = module(tokens, TIMES, everywhere(seen), seen)

    shuffled = module(tokens[order], TIMES, everywhere(seen), seen[order])
    torch.testing.assert_close(shuffled, found[order], **TOLERANCE)


@torch.no_grad()
def test_a_tracklet_does_not_see_another() -> None:
    module, (tokens, seen) = refinement(), tracklets()
    changed = tokens.clone()
    changed[0] = torch.randn(5, DIM)

    before = module(tokens, TIMES, everywhere(seen), seen)

    assert torch.equal(module(changed, TIMES, everywhere(seen), seen)[1:], before[1:])


@torch.no_grad()
def test_a_missing_frame_depends_on_its_neighbours() -> None:
    module, (tokens, seen) = refinement(), tracklets()
    changed = tokens.clone()
    changed[1, 4] = torch.randn(DIM)

    before = module(tokens, TIMES, everywhere(seen), seen)

    assert not torch.allclose(module(changed, TIMES, everywhere(seen), seen)[1, 1], before[1, 1])


@torch.no_grad()
def test_frames_that_do_not_exist_have_no_say() -> None:
    module, (tokens, seen) = refinement(), tracklets()
    exists = everywhere(seen)
    exists[:, :2] = False
    other = tokens.clone()
    other[:, :2] = torch.randn(3, 2, DIM)

    found = module(tokens, TIMES, exists, seen)[:, 2:]

    assert torch.equal(module(other, TIMES, exists, seen)[:, 2:], found)
    short = module(tokens[:, 2:], TIMES[2:], exists[:, 2:], seen[:, 2:])
    torch.testing.assert_close(found, short, **TOLERANCE)


@torch.no_grad()
def test_of_the_last_frame_alone_the_same_is_told() -> None:
    module, (tokens, seen) = refinement(), tracklets()

    last = module(tokens, TIMES, everywhere(seen), seen, last=1)

    torch.testing.assert_close(last, module(tokens, TIMES, everywhere(seen), seen)[:, -1:], **TOLERANCE)


@pytest.mark.parametrize(("keys", "sees"), [("attended", True), ("masked", False)])
@torch.no_grad()
def test_tokens_of_missing_frames_are_looked_at_unless_masked(keys: str, sees: bool) -> None:
    module, (tokens, seen) = refinement(replace(PRESET, missing_keys=keys)), tracklets()  # type: ignore[arg-type]
    other = tokens.clone()
    other[1, 1:3] = torch.randn(2, DIM)

    before = module(tokens, TIMES, everywhere(seen), seen)[1, [0, 3, 4]]

    after = module(other, TIMES, everywhere(seen), seen)[1, [0, 3, 4]]
    assert torch.equal(after, before) != sees


@torch.no_grad()
def test_a_tracklet_seen_nowhere_stays_finite() -> None:
    module = refinement(replace(PRESET, missing_keys="masked"))
    nowhere = torch.zeros(2, 5, dtype=torch.bool)

    assert module(torch.zeros(2, 5, DIM), TIMES, nowhere, nowhere).isfinite().all()


@pytest.mark.parametrize(("times", "same"), [("absolute", False), ("relative", True)])
@torch.no_grad()
def test_only_relative_times_forget_when_a_clip_begins(times: str, same: bool) -> None:
    module, (tokens, seen) = refinement(replace(PRESET, times=times)), tracklets()  # type: ignore[arg-type]

    first = module(tokens, TIMES, everywhere(seen), seen)

    assert torch.allclose(module(tokens, TIMES + 40, everywhere(seen), seen), first, atol=1e-5) == same


@torch.no_grad()
def test_relative_times_count_from_the_first_frame_of_each_tracklet() -> None:
    module, (tokens, seen) = refinement(replace(PRESET, times="relative")), tracklets()
    exists = everywhere(seen)
    exists[0, :2] = False

    found = module(tokens, TIMES, exists, seen)[0, 2:]

    alone = module(tokens[:1, 2:], torch.arange(3), exists[:1, 2:], seen[:1, 2:])[0]
    torch.testing.assert_close(found, alone, **TOLERANCE)


@torch.no_grad()
def test_every_tracklet_may_have_times_of_its_own() -> None:
    module, (tokens, seen) = refinement(), tracklets()
    own = TIMES + torch.tensor([[0], [20], [50]])

    found = module(tokens, own, everywhere(seen), seen)

    alone = [module(tokens[n : n + 1], own[n], everywhere(seen)[:1], seen[n : n + 1])[0] for n in range(3)]
    torch.testing.assert_close(found, torch.stack(alone), **TOLERANCE)


def test_no_tracklets_are_no_failure() -> None:
    module, none = TemporalRefinement(PRESET, DIM), torch.zeros(0, 5, dtype=torch.bool)

    assert module(torch.zeros(0, 5, DIM), TIMES, none, none, last=1).shape == (0, 1, DIM)


def test_the_paper_has_one_attention_layer_and_one_feed_forward_layer_of_these_sizes() -> None:
    module = TemporalRefinement(PRESETS["r50"], 256)

    widths = {name: each.out_features for name, each in module.named_modules() if isinstance(each, nn.Linear)}
    attention = {f"attention.{name}": 256 for name in ("to_q", "to_k", "to_v", "out")}
    assert widths == attention | {"ffn.inner": 1024, "ffn.out": 256}


@pytest.mark.parametrize("write_back", [True, False], ids=["written back", "left empty"])
@pytest.mark.parametrize("window", [2, 3, 10])
def test_frames_one_by_one_are_refined_as_the_tracker_does(window: int, write_back: bool) -> None:
    module = refinement(replace(PRESET, window=window, write_back=write_back))
    tokens, seen = tracklets()
    seen[2, 0] = False  # it begins later
    tokens[2, 0] = 0

    refined, told = refine_online(module, tokens, TIMES.expand(3, -1), seen)

    assert told.tolist() == [[True] * 5, [True] * 5, [False] + [True] * 4]
    for row in range(3):
        history = TokenHistory(window)
        for t, time in enumerate(TIMES.tolist()):
            if not told[row, t]:
                continue
            past = history.past([row], tokens)
            now = extended(past, tokens[row, t][None], time, seen[row, t][None])
            found = module(now.tokens, now.times, now.exists, now.seen, last=1)[:, 0]
            left = seen[row, t][None] | write_back
            history.keep([row], extended(past, found * left[:, None], time, left))
            torch.testing.assert_close(refined[row, t], found[0], **TOLERANCE)
