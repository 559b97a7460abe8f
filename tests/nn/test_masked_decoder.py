"""Laws of the masked-attention decoder, and the joint space-time decoder computed a second way."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vistool.nn.masked_decoder import ClipOutput, LevelPyramid, MaskedDecoder, MaskedDecoderLayer
from vistool.nn.pixel_decoder import PixelFeatures
from vistool.nn.positional import sine_2d
from vistool.nn.presets import Mask2FormerSizes
from vistool.nn.published import to_published

SIZES = Mask2FormerSizes(
    backbone="resnet-tiny", num_classes=3, queries=6, dim=32, heads=8, decoder_layers=5, decoder_ffn=48, encoder_ffn=48
)
LEVELS_HW = [(2, 3), (4, 6), (8, 12)]
MASKS_HW = (16, 24)


def features(frames: int) -> PixelFeatures:
    levels = tuple(torch.randn(frames, SIZES.dim, *size) for size in LEVELS_HW)
    return PixelFeatures(levels, torch.randn(frames, SIZES.dim, *MASKS_HW))


def taken(source: PixelFeatures, rows: Tensor) -> PixelFeatures:
    return PixelFeatures(tuple(level[rows] for level in source.levels), source.mask_features[rows])


@pytest.fixture
def decoder() -> MaskedDecoder:
    """Weights large enough that every part of the network matters."""
    decoder = MaskedDecoder(SIZES).eval()
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return decoder


@torch.no_grad()
def run(decoder: MaskedDecoder, source: PixelFeatures, frames: int) -> ClipOutput:
    output: ClipOutput = decoder(source, frames)
    return output


@pytest.mark.parametrize("level", range(3), ids=["1/32", "1/16", "1/8"])
def test_masks_at_the_size_of_a_level_are_the_resized_full_masks(decoder: MaskedDecoder, level: int) -> None:
    source = features(2 * 3)
    kernels = torch.randn(2, SIZES.queries, SIZES.dim)

    pyramid = LevelPyramid(source, decoder.level_embed.detach(), 3)

    full = torch.einsum("bqd,btdhw->bqthw", kernels, pyramid.mask_features).flatten(0, 1)
    direct = torch.einsum("bqd,btdp->bqtp", kernels, pyramid.resized[level])
    resized_after = F.interpolate(full, size=LEVELS_HW[level], mode="bilinear", align_corners=False)
    torch.testing.assert_close(direct.flatten(0, 1), resized_after.flatten(2), atol=1e-5, rtol=1e-5)


def test_each_layer_is_blocked_by_the_full_masks_of_the_prediction_before(decoder: MaskedDecoder) -> None:
    blocked: list[Tensor] = []
    for layer in decoder.layers:
        layer.register_forward_pre_hook(lambda _module, inputs: blocked.append(inputs[4]))

    output = run(decoder.train(), features(2 * 3), 3)

    resized = [
        F.interpolate(prediction.mask_logits.flatten(0, 1), size=LEVELS_HW[number % 3], mode="bilinear")
        for number, prediction in enumerate(output.auxiliary)
    ]
    expected = [(small.sigmoid() < 0.5).flatten(1).view(2, SIZES.queries, -1) for small in resized]
    assert all(map(torch.equal, blocked, expected))
    assert len(blocked) == SIZES.decoder_layers


def test_a_query_that_sees_nothing_sees_everything() -> None:
    layer = MaskedDecoderLayer(32, heads=4, hidden=48)
    queries, code, memory = torch.randn(1, 2, 32), torch.randn(2, 32), torch.randn(1, 7, 32)
    blocked = torch.ones(1, 2, 7, dtype=torch.bool)

    closed = layer(queries, code, memory, memory, blocked)

    torch.testing.assert_close(closed, layer(queries, code, memory, memory, torch.zeros_like(blocked)))


def test_permuted_queries_permute_the_outputs(decoder: MaskedDecoder) -> None:
    source = features(3)
    order = torch.randperm(SIZES.queries)
    before = run(decoder, source, 3).final

    with torch.no_grad():
        decoder.query_feat.copy_(decoder.query_feat[order].clone())
        decoder.query_embed.copy_(decoder.query_embed[order].clone())
    after = run(decoder, source, 3).final

    torch.testing.assert_close(after.class_logits, before.class_logits[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after.mask_logits, before.mask_logits[:, order], atol=1e-5, rtol=1e-5)


def test_a_batch_of_clips_gives_what_each_clip_gives(decoder: MaskedDecoder) -> None:
    source = features(2 * 3)

    together = run(decoder, source, 3).final

    alone = [run(decoder, taken(source, torch.arange(3) + 3 * clip), 3).final for clip in range(2)]
    classes, masks = torch.cat([a.class_logits for a in alone]), torch.cat([a.mask_logits for a in alone])
    torch.testing.assert_close(together.class_logits, classes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.mask_logits, masks, atol=1e-5, rtol=1e-5)


def test_a_clip_of_equal_frames_gives_what_the_image_gives(decoder: MaskedDecoder) -> None:
    image = features(1)

    still = run(decoder, image, 1).final
    clip = run(decoder, taken(image, torch.zeros(4, dtype=torch.long)), 4).final

    torch.testing.assert_close(clip.class_logits, still.class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(clip.mask_logits, still.mask_logits.expand(-1, -1, 4, -1, -1), atol=1e-5, rtol=1e-5)


def test_only_training_computes_the_predictions_in_between(decoder: MaskedDecoder) -> None:
    source = features(3)

    trained, used = run(decoder.train(), source, 3), run(decoder.eval(), source, 3)

    assert (len(trained.auxiliary), len(used.auxiliary)) == (SIZES.decoder_layers, 0)
    torch.testing.assert_close(trained.final.mask_logits, used.final.mask_logits)
    assert [len(stack) for stack in trained.stacked()] == [SIZES.decoder_layers + 1] * 2


def turns(share: float, channels: int) -> Tensor:
    angles = [2 * math.pi * share / 10000 ** (2 * (c // 2) / channels) for c in range(channels)]
    return torch.tensor([math.cos(a) if c % 2 else math.sin(a) for c, a in enumerate(angles)])


class PlainClipDecoder:
    """The joint space-time decoder for one clip from PyTorch's own parts, under the published names."""

    def __init__(self, weights: dict[str, Tensor], heads: int) -> None:
        self.weights = {key.removeprefix("sem_seg_head.predictor."): value for key, value in weights.items()}
        self.heads = heads

    def predict(self, source: PixelFeatures, layers: int) -> tuple[Tensor, Tensor]:
        """Class logits (Q, K + 1) and mask logits (Q, T, h, w) of a clip."""
        w = self.weights
        queries, position = w["query_feat.weight"], w["query_embed.weight"]
        frames, dim = source.mask_features.shape[:2]
        times = torch.stack([turns((t + 1) / frames, dim) for t in range(frames)])
        for i in range(layers):
            level = source.levels[i % 3]
            size = level.shape[-2:]
            values = torch.cat([frame.flatten(1).T for frame in level]) + w["level_embed.weight"][i % 3]
            places = torch.cat([sine_2d((size[0], size[1]), dim) + time for time in times])
            masks = F.interpolate(self._masks(queries, source), size=size, mode="bilinear", align_corners=False)
            blocked = masks.flatten(1).sigmoid() < 0.5
            for row in blocked:
                row &= not row.all()
            name = f"transformer_cross_attention_layers.{i}"
            seen = self._attend(f"{name}.multihead_attn", queries + position, values + places, values, blocked)
            queries = self._norm(f"{name}.norm", queries + seen)
            name = f"transformer_self_attention_layers.{i}"
            mixed = self._attend(f"{name}.self_attn", queries + position, queries + position, queries, None)
            queries = self._norm(f"{name}.norm", queries + mixed)
            name = f"transformer_ffn_layers.{i}"
            grown = self._linear(f"{name}.linear2", self._linear(f"{name}.linear1", queries).relu())
            queries = self._norm(f"{name}.norm", queries + grown)
        return self._linear("class_embed", self._norm("decoder_norm", queries)), self._masks(queries, source)

    def _masks(self, queries: Tensor, source: PixelFeatures) -> Tensor:
        x = self._norm("decoder_norm", queries)
        x = self._linear("mask_embed.layers.0", x).relu()
        x = self._linear("mask_embed.layers.1", x).relu()
        kernels = self._linear("mask_embed.layers.2", x)
        return torch.stack([torch.tensordot(kernels, frame, 1) for frame in source.mask_features], dim=1)

    def _attend(self, name: str, queries: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None) -> Tensor:
        attention = nn.MultiheadAttention(queries.shape[-1], self.heads)
        attention.load_state_dict(
            {k.removeprefix(name + "."): v for k, v in self.weights.items() if k.startswith(name + ".")}
        )
        return attention(queries, keys, values, attn_mask=blocked, need_weights=False)[0]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


@pytest.mark.parametrize("frames", [1, 3])
def test_the_clip_decoder_agrees_with_one_made_of_plain_parts(decoder: MaskedDecoder, frames: int) -> None:
    source = features(frames)
    named = {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    plain = PlainClipDecoder(to_published(named, "detectron2-mask2former"), SIZES.heads)

    with torch.no_grad():
        classes, masks = plain.predict(source, SIZES.decoder_layers)
    output = run(decoder, source, frames).final

    torch.testing.assert_close(output.class_logits[0], classes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.mask_logits[0], masks, atol=1e-5, rtol=1e-5)


def test_levels_are_visited_from_coarse_to_fine_again_and_again() -> None:
    decoder = MaskedDecoder(replace(SIZES, decoder_layers=7))
    pixels: list[int] = []
    for layer in decoder.layers:
        layer.register_forward_pre_hook(lambda _module, inputs: pixels.append(inputs[2].shape[1]))

    run(decoder, features(1), 1)

    assert pixels == [6, 24, 96, 6, 24, 96, 6]
