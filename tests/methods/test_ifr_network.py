"""IFR against a plain reading of its formulas, against Mask2Former, and its laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vistool.methods.ifr.decoder import IfrLayer
from vistool.methods.ifr.network import Ifr, IfrDecoder
from vistool.methods.ifr.presets import Preset
from vistool.methods.ifr.start import with_sigmoid_head
from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.nn.attention import Attention
from vistool.nn.masked_decoder import LevelPyramid
from vistool.nn.pixel_decoder import PixelFeatures
from vistool.nn.presets import Mask2FormerSizes

SMALL = {
    "backbone": "resnet-tiny",
    "num_classes": 3,
    "queries": 5,
    "dim": 32,
    "heads": 4,
    "encoder_layers": 1,
    "encoder_ffn": 32,
    "decoder_layers": 4,
    "decoder_ffn": 48,
    "loss_points": 32,
}
PRESET = Preset(**SMALL)


def features(frames: int, seed: int = 0) -> PixelFeatures:
    random = torch.Generator().manual_seed(seed)
    sizes = ((2, 3), (4, 6), (8, 12))
    levels = tuple(torch.randn(frames, PRESET.dim, *size, generator=random) for size in sizes)
    return PixelFeatures(levels, torch.randn(frames, PRESET.dim, 16, 24, generator=random))


def decoder(preset: Preset = PRESET, *, shaken: bool = False) -> IfrDecoder:
    """A decoder with fixed weights; `shaken` also fills what starts at zero."""
    torch.manual_seed(1)
    made = IfrDecoder(preset).eval()
    if shaken:
        for parameter in made.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def everything(output: object) -> Tensor:
    final = output.final  # type: ignore[attr-defined]
    return torch.cat([final.class_logits.flatten(), output.mask_logits().flatten()])  # type: ignore[attr-defined]


def plain_attention(attention: Attention, q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None = None) -> Tensor:
    """Eq. (1) with the mask as minus infinity, head by head; (L, D) inputs."""
    parts = []
    width = q.shape[1] // attention.heads
    q, k, v = attention.to_q(q), attention.to_k(k), attention.to_v(v)
    for head in range(attention.heads):
        columns = slice(head * width, (head + 1) * width)
        scores = q[:, columns] @ k[:, columns].T / width**0.5
        if blocked is not None:
            scores = scores.masked_fill(blocked, float("-inf"))
        parts.append(scores.softmax(-1) @ v[:, columns])
    return attention.out(torch.cat(parts, dim=1))


def plain_decoder(made: IfrDecoder, given: PixelFeatures, frames: int) -> tuple[Tensor, Tensor]:
    """Section 3.2 of the reading that the paper allows, token by token: 2N queries, first N kept."""
    pyramid = LevelPyramid(given, made.level_embed, frames)
    code, slots = made.query_embed, made.query_embed.shape[0]
    clip = made.query_feat
    masks = [made.heads.kernels(clip) for _ in range(frames)]
    for i, (layer, update) in enumerate(zip(made.layers, made.clip_updates, strict=True)):
        assert isinstance(layer, IfrLayer)
        travelling, visited = clip, []
        for t in range(frames):
            pixels = pyramid.tokens[i % 3][0, t]
            blocked = masks[t] @ pyramid.resized[i % 3][0, t] < 0
            blocked = blocked & ~blocked.all(1, keepdim=True)
            start = clip + made.rho[i] * (travelling - clip)
            z = torch.cat([start, clip])
            codes = torch.cat([code, code])
            seen = plain_attention(
                layer.cross_attn, z + codes, pixels + pyramid.positions[i % 3], pixels, torch.cat([blocked, blocked])
            )
            z = layer.cross_attn_norm(z + seen)
            z = layer.self_attn_norm(z + plain_attention(layer.self_attn, z + codes, z + codes, z))
            travelling = layer.ffn_norm(z[:slots] + layer.ffn(z[:slots]))
            visited.append(travelling)
        pool = update.tca_memory_norm(torch.cat(visited))
        codes = code.repeat(frames, 1)
        base = torch.stack(visited).mean(0)
        base = base + plain_attention(update.tca, update.tca_norm(clip) + code, pool + codes, pool)
        normed = update.csa_norm(base)
        clip = base + plain_attention(update.csa, normed + code, normed + code, normed)
        masks = [made.heads.kernels(x) for x in visited]
    drawn = [F.conv2d(given.mask_features[t][None], masks[t][:, :, None, None])[0] for t in range(frames)]
    return made.heads.classes(clip), torch.stack(drawn, dim=1)


@pytest.mark.parametrize("rho", [0.0, 0.4, 1.0])
@torch.no_grad()
def test_the_decoder_equals_a_plain_reading_of_the_formulas(rho: float) -> None:
    made = decoder(replace(PRESET, rho=rho), shaken=True)
    given = features(3)

    output = made(given, 3)

    classes, masks = plain_decoder(made, given, 3)
    torch.testing.assert_close(output.final.class_logits[0], classes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.mask_logits()[0], masks, atol=1e-4, rtol=1e-4)


def twins(rho: float) -> tuple[Ifr, Mask2FormerVis]:
    """IFR started from a Mask2Former with random weights, and that Mask2Former."""
    torch.manual_seed(2)
    parent = Mask2FormerVis(Mask2FormerSizes(**SMALL)).eval()
    child = Ifr(replace(PRESET, rho=rho, class_head="softmax")).eval()
    child.load_state_dict(parent.state_dict(), strict=False)
    return child, parent


@pytest.mark.parametrize("rho", [0.0, 1.0])
@torch.no_grad()
def test_on_one_frame_the_warm_start_is_mask2former(rho: float) -> None:
    child, parent = twins(rho)
    frames = torch.randn(1, 1, 3, 64, 96)

    ours, theirs = child(frames), parent(frames).final

    torch.testing.assert_close(ours.final.class_logits, theirs.class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.mask_logits(), theirs.mask_logits, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_on_a_static_clip_without_recurrence_every_frame_is_the_image_result() -> None:
    child, parent = twins(rho=0.0)
    frame = torch.randn(1, 1, 3, 64, 96)

    ours, theirs = child(frame.expand(-1, 4, -1, -1, -1)), parent(frame).final

    torch.testing.assert_close(ours.final.class_logits, theirs.class_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.mask_logits(), theirs.mask_logits.expand(-1, -1, 4, -1, -1), atol=1e-3, rtol=1e-4)


def test_the_sigmoid_head_gives_the_softmax_of_a_class_against_no_object() -> None:
    weight, bias, queries = torch.randn(2, 8), torch.randn(2), torch.randn(7, 8)  # one class and no-object
    name = "decoder.heads.class_embed."

    made = with_sigmoid_head({f"{name}weight": weight, f"{name}bias": bias})

    ours = F.linear(queries, made[f"{name}weight"], made[f"{name}bias"]).sigmoid()
    torch.testing.assert_close(ours[:, 0], F.linear(queries, weight, bias).softmax(-1)[:, 0])


@torch.no_grad()
def test_permuted_slots_permute_the_output() -> None:
    made = decoder(shaken=True)
    given, order = features(3), torch.tensor([3, 0, 4, 1, 2])
    before = made(given, 3)

    made.query_feat.data, made.query_embed.data = made.query_feat[order], made.query_embed[order]
    after = made(given, 3)

    torch.testing.assert_close(after.final.class_logits, before.final.class_logits[:, order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.mask_logits(), before.mask_logits()[:, order], atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_a_changed_frame_reaches_earlier_ones_only_from_the_second_layer_on() -> None:
    made = decoder(shaken=True).train()
    given = features(4)
    other = features(4, seed=9)
    changed = PixelFeatures(
        tuple(torch.cat([a[:2], b[2:3], a[3:]]) for a, b in zip(given.levels, other.levels, strict=True)),
        torch.cat([given.mask_features[:2], other.mask_features[2:3], given.mask_features[3:]]),
    )

    before, after = made(given, 4), made(changed, 4)

    first = (before.auxiliary[1].kernels - after.auxiliary[1].kernels).abs().amax((0, 2, 3))
    second = (before.auxiliary[2].kernels - after.auxiliary[2].kernels).abs().amax((0, 2, 3))
    assert (first[:2] == 0).all()
    assert (first[2:] > 1e-4).all()
    assert (second > 1e-4).all()


@torch.no_grad()
def test_a_batch_gives_what_single_clips_give() -> None:
    torch.manual_seed(3)
    network = Ifr(PRESET).eval()
    clips = torch.randn(2, 3, 3, 64, 64)

    together = network(clips)

    alone = [network(clip[None]) for clip in clips]
    torch.testing.assert_close(
        together.final.class_logits, torch.cat([o.final.class_logits for o in alone]), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        together.mask_logits(), torch.cat([o.mask_logits() for o in alone]), atol=1e-3, rtol=1e-3
    )


CHOICES = [
    ("attention_mask", "travelling"),
    ("attention_mask", "clip_open"),
    ("norm", "pre"),
    ("clip_ffn", True),
    ("group_code", True),
    ("temporal_code", "normalised"),
    ("temporal_code", "absolute"),
    ("share_layers", True),
    ("recurrence", "tanh"),
    ("rho", 0.5),
    ("frame_order", "both"),
    ("clip_update", "literal"),
    ("clip_source", "attention"),
]


@pytest.mark.parametrize(("field", "value"), CHOICES, ids=[f"{field}={value}" for field, value in CHOICES])
@torch.no_grad()
def test_every_choice_makes_a_difference(field: str, value: object) -> None:
    usual = decoder(shaken=True)
    chosen = decoder(replace(PRESET, **{field: value}), shaken=True)
    shared = {name: tensor for name, tensor in usual.state_dict().items() if name != "rho"}
    chosen.load_state_dict({name: t for name, t in shared.items() if name in chosen.state_dict()}, strict=False)
    given = features(3)

    difference = (everything(usual(given, 3)) - everything(chosen(given, 3))).abs().max()

    assert difference > 1e-4


@torch.no_grad()
def test_slots_without_a_mask_see_everything_or_skip_the_frame() -> None:
    usual, skipping = decoder(shaken=True), decoder(replace(PRESET, empty_mask="skip"), shaken=True)
    given = features(2)
    given.mask_features[:, 0] = 100.0
    for made in (usual, skipping):
        made.heads.mask_embed.layers[-1].bias.data[0] = -10.0  # every mask is empty
    blind = PixelFeatures(tuple(torch.zeros_like(level) for level in given.levels), given.mask_features)

    seeing = everything(usual(given, 2)) - everything(usual(blind, 2))
    skipped = everything(skipping(given, 2)) - everything(skipping(blind, 2))

    assert seeing.abs().max() > 1e-4
    assert skipped.abs().max() == 0


@pytest.mark.parametrize("field", ["clip_ffn", "group_code"])
@torch.no_grad()
def test_what_starts_at_zero_changes_nothing_at_first(field: str) -> None:
    plain, extended = decoder(), decoder(replace(PRESET, **{field: True}))
    extended.load_state_dict(plain.state_dict(), strict=False)
    given = features(2)

    torch.testing.assert_close(everything(extended(given, 2)), everything(plain(given, 2)))


@torch.no_grad()
def test_a_gate_per_channel_or_number_starts_as_the_constant() -> None:
    plain = decoder(replace(PRESET, rho=0.7))
    given = features(3)

    outputs = []
    for recurrence in ("scalar", "channel"):
        gated = decoder(replace(PRESET, rho=0.7, recurrence=recurrence))
        state = {name: tensor for name, tensor in plain.state_dict().items() if name != "rho"}
        gated.load_state_dict(state, strict=False)
        outputs.append(everything(gated(given, 3)))

    torch.testing.assert_close(outputs[0], everything(plain(given, 3)))
    torch.testing.assert_close(outputs[1], everything(plain(given, 3)))


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(4)
    network: nn.Module = Ifr(replace(PRESET, recurrence="scalar", clip_ffn=True, group_code=True)).train()
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)

    output = network(torch.randn(1, 2, 3, 64, 64))
    (output.final.class_logits.square().sum() + output.mask_logits().square().mean()).backward()

    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
