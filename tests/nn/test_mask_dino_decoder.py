"""MaskDINO's decoder against its equations, head by head and layer by layer, and the laws of its gradients."""

from __future__ import annotations

import math

import pytest
import torch
from mask_dino_networks import SMALL, randomised
from torch import Tensor

from vistool.nn.attention import Attention
from vistool.nn.mask_dino.decoder import BoxDecoder, box_code
from vistool.nn.mask_dino.encoder import EncodedFrames
from vistool.nn.mask_dino.heads import QueryHeads

SIZES_HW = ((6, 8), (3, 4), (2, 2))
PIXELS = 64


@pytest.fixture
def decoder() -> BoxDecoder:
    return randomised(BoxDecoder(SMALL))


@pytest.fixture
def heads() -> QueryHeads:
    return randomised(QueryHeads(SMALL.dim, 5, None))


def encoded(batch: int = 2) -> EncodedFrames:
    return EncodedFrames(torch.randn(batch, PIXELS, SMALL.dim), SIZES_HW, torch.zeros(batch, SMALL.dim, 1, 1))


def code_of(box: list[float]) -> list[float]:
    """Of one box cx cy w h: y, x, w, h; a sine and a cosine of 16 wave lengths each."""
    code = []
    for number in (box[1], box[0], box[2], box[3]):
        for octave in range(16):
            angle = number * 2 * math.pi / 10000 ** (2 * octave / 32)
            code += [math.sin(angle), math.cos(angle)]
    return code


def attended(attention: Attention, coded: Tensor, values: Tensor, blocked: Tensor) -> Tensor:
    """Self-attention of one frame, query by query and head by head; coded and values (Q, D), blocked (Q, Q)."""
    q, k, v = attention.to_q(coded), attention.to_k(coded), attention.to_v(values)
    size = coded.shape[1] // attention.heads
    rows = []
    for query in range(len(coded)):
        mixed = []
        for head in range(attention.heads):
            part = slice(head * size, (head + 1) * size)
            seen = [other for other in range(len(coded)) if not blocked[query, other]]
            logits = torch.stack([q[query, part] @ k[other, part] / math.sqrt(size) for other in seen])
            weights = logits.exp() / logits.exp().sum()
            mixed.append(sum(weight * v[other, part] for weight, other in zip(weights, seen, strict=True)))
        rows.append(torch.cat(mixed))
    return attention.out(torch.stack(rows))


def logit(shares: Tensor) -> Tensor:
    return torch.log(shares / (1 - shares))


def test_the_code_of_a_box_is_y_x_w_h_by_sines() -> None:
    boxes = torch.rand(2, 3, 4)

    code = box_code(boxes, 64)

    expected = [[code_of(box.tolist()) for box in frame] for frame in boxes]
    torch.testing.assert_close(code, torch.tensor(expected), atol=1e-5, rtol=0)


@torch.no_grad()
def test_every_layer_is_its_equations(decoder: BoxDecoder, heads: QueryHeads) -> None:
    queries, boxes, memory = torch.randn(2, 6, 64), torch.rand(2, 6, 4) * 0.8 + 0.1, encoded()
    blocked = (torch.rand(6, 6) < 0.4) & ~torch.eye(6, dtype=torch.bool)

    layers = decoder(queries, boxes, memory, heads, blocked)

    assert len(layers) == SMALL.decoder_layers
    for layer, found in zip(decoder.layers, layers, strict=True):
        hidden = decoder.position.layers[0](torch.tensor([[code_of(box.tolist()) for box in frame] for frame in boxes]))
        position = decoder.position.layers[1](hidden.relu())
        attention = torch.stack(
            [attended(layer.self_attn, x + p, x, blocked) for x, p in zip(queries, position, strict=True)]
        )
        queries = layer.self_attn_norm(queries + attention)
        on_levels = boxes[:, :, None].expand(-1, -1, 3, -1)
        around = layer.cross_attn(queries + position, on_levels, memory.memory, SIZES_HW)
        queries = layer.cross_attn_norm(queries + around)
        queries = layer.ffn_norm(queries + layer.ffn.out(layer.ffn.inner(queries).relu()))
        normed = heads.norm(queries)
        torch.testing.assert_close(found.embeddings, normed, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            found.boxes, (heads.box_embed(normed) + logit(boxes)).sigmoid(), atol=1e-4, rtol=1e-4
        )
        boxes = (heads.box_embed(queries) + logit(boxes)).sigmoid()


@torch.no_grad()
def test_the_box_that_is_reported_is_not_the_one_that_is_looked_at(decoder: BoxDecoder, heads: QueryHeads) -> None:
    """Else the test above could not tell one from the other."""
    queries, boxes, memory = torch.randn(1, 6, 64), torch.rand(1, 6, 4), encoded(1)
    first, second = decoder(queries, boxes, memory, heads)
    decoder.layers = decoder.layers[1:]

    chained = decoder(queries, first.boxes, memory, heads)[-1]

    assert not torch.allclose(chained.boxes, second.boxes, atol=1e-3)


@torch.no_grad()
def test_a_permutation_of_the_queries_permutes_what_is_said_of_them(decoder: BoxDecoder, heads: QueryHeads) -> None:
    queries, boxes, memory = torch.randn(2, 9, 64), torch.rand(2, 9, 4), encoded()
    order = torch.randperm(9)

    plain = decoder(queries, boxes, memory, heads)[-1]
    permuted = decoder(queries[:, order], boxes[:, order], memory, heads)[-1]

    torch.testing.assert_close(permuted.embeddings, plain.embeddings[:, order], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(permuted.boxes, plain.boxes[:, order], atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_what_a_query_may_not_see_does_not_change_it(decoder: BoxDecoder, heads: QueryHeads) -> None:
    queries, boxes, memory = torch.randn(1, 6, 64), torch.rand(1, 6, 4), encoded(1)
    blocked = torch.zeros(6, 6, dtype=torch.bool)
    blocked[2:, :2] = True  # the last four do not see the first two
    others = torch.cat([torch.randn(1, 2, 64), queries[:, 2:]], dim=1)

    before, after = (decoder(x, boxes, memory, heads, blocked)[-1].embeddings for x in (queries, others))

    torch.testing.assert_close(after[:, 2:], before[:, 2:], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(after[:, :2], before[:, :2], atol=1e-2)


def test_no_gradient_goes_through_where_a_layer_looks(decoder: BoxDecoder, heads: QueryHeads) -> None:
    decoder(torch.randn(1, 6, 64), torch.rand(1, 6, 4), encoded(1), heads)[-1].embeddings.sum().backward()

    assert all(parameter.grad is None for parameter in heads.box_embed.parameters())


def test_the_reported_box_teaches_the_layer_before_too(decoder: BoxDecoder, heads: QueryHeads) -> None:
    torch.nn.init.zeros_(decoder.layers[1].ffn_norm.weight)  # the second layer's output is now a constant

    second = decoder(torch.randn(1, 6, 64), torch.rand(1, 6, 4), encoded(1), heads)[1]
    second.boxes.sum().backward()

    taught = decoder.layers[0].ffn.out.weight.grad
    assert taught is not None and taught.abs().max() > 0
