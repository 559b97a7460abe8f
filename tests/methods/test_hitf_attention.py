"""Eq. (1) to (4) beside plain loops, in both norms; and what folding and fused kernels must not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hitf_networks import BATCH, BOTH, attention_by_loops, dots, enliven
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vistool.methods.hitf.attention import InterFrameAttention, IntraFrameAttention, Mixing
from vistool.methods.hitf.axial import FullAttention
from vistool.methods.hitf.layers import map_of, tokens_of
from vistool.methods.hitf.presets import Norm, Preset

CHANNELS = 10
SIZE_HW = (3, 5)
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def mixing(norm: Norm) -> Mixing:
    torch.manual_seed(1)
    made = Mixing(2, 8, 12, norm)
    enliven(made)
    return made.eval()


def logits_of(attention: Mixing, queries: Tensor, keys: Tensor) -> Tensor:
    """What the softmax gets, with nothing folded."""
    products = dots(queries, keys, 2)
    return products / 2 if attention.logit_norm is None else attention.logit_norm(products)  # 2: the root of 8 / 2


def found_by_loops(attention: Mixing, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    found = attention_by_loops(logits_of(attention, queries, keys), values)
    return found if attention.value_norm is None else attention.value_norm(found)


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize(("queries", "keys"), [(3, 7), (7, 3)])
def test_attention_is_a_plain_loop_whichever_side_is_longer(norm: Norm, queries: int, keys: int) -> None:
    attention = mixing(norm)
    q, k, v = torch.randn(2, queries, 8), torch.randn(2, keys, 8), torch.randn(2, keys, 12)

    torch.testing.assert_close(attention(q, k, v), found_by_loops(attention, q, k, v), **CLOSE)


def test_batch_norms_of_logits_see_a_head_as_one_channel_in_training() -> None:
    attention = mixing("batch").train()
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 12)
    found = attention(q, k, v)

    assert attention.logit_norm is not None and attention.value_norm is not None
    logits = dots(q, k, 2)
    for head in range(2):
        of_head = logits[:, head]
        standard = (of_head - of_head.mean()) / (of_head.var(correction=0) + 1e-3).sqrt()
        logits[:, head] = standard * attention.logit_norm.weight[head] + attention.logit_norm.bias[head]
    plain = attention_by_loops(logits, v)
    plain = (plain - plain.mean((0, 1))) / (plain.var((0, 1), correction=0) + 1e-3).sqrt()
    plain = plain * attention.value_norm.weight + attention.value_norm.bias
    torch.testing.assert_close(found, plain, **CLOSE)


def frame() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 4, 16), torch.randn(2, CHANNELS, *SIZE_HW)


def intra(preset: Preset) -> IntraFrameAttention:
    torch.manual_seed(2)
    made = IntraFrameAttention(preset, CHANNELS)
    enliven(made)
    return made.eval()


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_a_frame_looks_at_itself_as_plain_loops_do(preset: Preset) -> None:
    layer, (code, pixels) = intra(preset), frame()
    qe, ke, ve = layer.code_qkv(layer.code_reduce(code))
    qf, kf, vf = layer.pixel_qkv(tokens_of(layer.pixel_reduce(pixels.relu())))

    of_code = found_by_loops(layer.code_attn, qe, torch.cat([ke, kf], 1), torch.cat([ve, vf], 1))  # Eq. (1)
    of_pixels = found_by_loops(layer.pixel_attn, qf, ke, ve)  # Eq. (2)
    code_anew = (code + layer.code_out(of_code)).relu()
    code_anew = (code_anew + layer.ffn(code_anew)).relu()
    added = layer.pixel_out.norm(layer.pixel_out.convolution(map_of(of_pixels.relu(), SIZE_HW)))

    found = layer(code, pixels)
    torch.testing.assert_close(found[0], code_anew, **CLOSE)
    torch.testing.assert_close(found[1], pixels + added, **CLOSE)


def test_shares_over_code_and_pixels_together_sum_to_one() -> None:
    """Each key is given a value of its own: what is found is the shares."""
    attention = Mixing(1, 8, 4 + 15, "layer").eval()
    queries, keys = torch.randn(2, 4, 8), torch.randn(2, 4 + 15, 8)

    shares = attention(queries, keys, torch.eye(4 + 15).expand(2, -1, -1))

    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 4), **CLOSE)
    torch.testing.assert_close(shares, (dots(queries, keys, 1)[:, 0] * 8**-0.5).softmax(-1), **CLOSE)
    assert (shares[..., :4].sum(-1) < 1).all() and (shares[..., 4:].sum(-1) < 1).all()


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_attention_adds_nothing_before_it_is_trained(preset: Preset) -> None:
    code, pixels = frame()
    code = code.relu()
    for layer in (IntraFrameAttention(preset, CHANNELS).eval(), IntraFrameAttention(preset, CHANNELS).train()):
        found = layer(code, pixels)

        assert torch.equal(found[0], code) and torch.equal(found[1], pixels)


def inter(preset: Preset) -> InterFrameAttention:
    torch.manual_seed(3)
    made = InterFrameAttention(preset, CHANNELS)
    enliven(made)
    return made.eval()


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_a_frame_looks_at_its_references_as_plain_loops_do(preset: Preset) -> None:
    layer, (code, pixels) = inter(preset), frame()
    places = torch.randn(4, 16), torch.randn(15, 16)
    past_code, past_pixels = torch.randn(2, 2 * 4, 16), torch.randn(2, 2 * 15, 16)  # of two references
    assert layer.code is not None and layer.pixels is not None and layer.pixel_kv is not None
    (qe,) = layer.code.query(layer.code.reduce(code) + places[0])
    (qf,) = layer.pixels.query(tokens_of(layer.pixels.reduce(pixels.relu())) + places[1])
    (ke, ve), (kf, vf) = layer.code_kv(past_code), layer.pixel_kv(past_pixels)

    of_code = found_by_loops(layer.code.attn, qe, torch.cat([ke, kf], 1), torch.cat([ve, vf], 1))  # Eq. (3)
    of_pixels = found_by_loops(layer.pixels.attn, qf, ke, ve)  # Eq. (4)

    found = layer(code, pixels, places, layer.keys(past_code, past_pixels))
    torch.testing.assert_close(found[0], F.relu(code + layer.code.out(of_code)), **CLOSE)
    torch.testing.assert_close(found[1], pixels + layer.pixels.out(of_pixels, SIZE_HW), **CLOSE)


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_an_age_may_be_added_after_the_projection(preset: Preset) -> None:
    layer = inter(preset)
    code, pixels, age = torch.randn(2, 4, 16), torch.randn(2, 15, 16), torch.randn(1, 16)
    before, after = layer.keys(code + age, pixels + age), layer.aged(layer.keys(code, pixels), age)

    for name in ("code_keys", "code_values", "pixel_keys", "pixel_values"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), **CLOSE)


class Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return made


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_no_matrix_of_pixels_by_pixels_is_made(preset: Preset) -> None:
    attention = FullAttention(preset, CHANNELS).eval()
    pixels = torch.randn(1, CHANNELS, 24, 24)
    with torch.no_grad(), Largest() as largest:
        attention(pixels)

    assert 0 < largest.numbers < (24 * 24) ** 2 / 4


def test_full_attention_of_pixels_is_a_plain_loop() -> None:
    torch.manual_seed(4)
    attention = FullAttention(BATCH, CHANNELS).eval()
    enliven(attention)
    pixels = torch.randn(2, CHANNELS, *SIZE_HW)
    q, k, v = attention.qkv(tokens_of(attention.reduce(pixels.relu())))

    plain = attention.out(found_by_loops(attention.attn, q, k, v), SIZE_HW)

    torch.testing.assert_close(attention(pixels), plain, **CLOSE)
