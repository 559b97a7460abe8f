"""`mask2former-vis` as the runner drives it, in both modes, against plain computations of what it should say."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from vistool import masks
from vistool.methods import METHODS, Method, chosen_mode
from vistool.methods.clip_inference import fit, prepare
from vistool.methods.mask2former_vis.inference import Mask2FormerModel, load
from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.methods.mask2former_vis.presets import PRESETS
from vistool.ranking import Ranking
from vistool.runner import run
from vistool.testing import CATEGORIES, FakeSource, moving_rectangles
from vistool.types import RunOptions
from vistool.weights.checkpoint import Checkpoint, CheckpointInfo

SIZES = replace(PRESETS["tiny"], num_classes=len(CATEGORIES), queries=8, encoder_layers=1, decoder_layers=3)
TRACKS = moving_rectangles(3, 6)
INFO = CheckpointInfo(
    method="mask2former-vis",
    preset="custom",
    sizes=asdict(SIZES),
    categories=CATEGORIES,
    pixel_mean=(123.675, 116.28, 103.53),
    pixel_std=(58.395, 57.12, 57.375),
    short_side=48,
    conf=0.3,
    training_data="none",
    licence="none",
)


@pytest.fixture(scope="module")
def network() -> Mask2FormerVis:
    """Random weights, with the clear-cut masks and classes of a trained network."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Mask2FormerVis(SIZES).eval()
        for parameter in network.decoder.parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter, std=0.3)
        for norm in [module for module in network.decoder.modules() if isinstance(module, nn.LayerNorm)]:
            nn.init.ones_(norm.weight)
        nn.init.normal_(network.decoder.heads.class_embed.weight, std=0.4)
    return network


def model(network: Mask2FormerVis, **options: Any) -> Mask2FormerModel:
    return load(Checkpoint(INFO, network.state_dict()), RunOptions(**options))


def shuffling(network: Mask2FormerVis) -> Mask2FormerVis:
    """The same network with its queries in another order on every frame after the first."""
    copy = deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    orders = iter(
        [torch.arange(SIZES.queries), *(torch.randperm(SIZES.queries, generator=generator) for _ in TRACKS[0].masks)]
    )

    def shuffle(*_: object) -> None:
        order = next(orders)
        copy.decoder.query_feat.data = network.decoder.query_feat.data[order]
        copy.decoder.query_embed.data = network.decoder.query_embed.data[order]

    copy.register_forward_pre_hook(shuffle)
    return copy


@torch.no_grad()
def minvis(network: Mask2FormerVis) -> tuple[Tensor, list[Tensor]]:
    """Each frame alone, cosine of the normalised queries, one-to-one assignment, class scores averaged over frames.

    → class scores (Q, K), masks bool (Q, H, W) of every frame.
    """
    queries: list[Tensor] = []
    hook = network.decoder.layers[-1].register_forward_hook(lambda _module, _inputs, output: queries.append(output[0]))
    probs, seen = [], []
    order, before = torch.arange(SIZES.queries), None
    for frame in FakeSource.of(TRACKS):
        pictures = prepare([frame.image], fit(frame.image, INFO, RunOptions()), INFO, RunOptions())
        final = network(pictures).final
        looks = network.decoder.heads.norm(queries.pop())
        if before is not None:
            cost = 1 - F.cosine_similarity(before[:, None], looks[None], dim=-1)
            order = torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
        before = looks[order]
        probs.append(final.class_logits[0].softmax(-1)[order, :-1])
        padded = F.interpolate(final.mask_logits[:, order, 0], size=(64, 64), mode="bilinear", align_corners=False)
        seen.append(padded[0, :, :48] > 0)
    hook.remove()
    return torch.stack(probs).mean(0), seen


def test_online_with_a_floor_of_zero_is_minvis(network: Mask2FormerVis) -> None:
    """Also with queries that change places from frame to frame."""
    expected, seen = minvis(network)
    one = Mask2FormerModel(shuffling(network), INFO, RunOptions(score_floor=0.0))

    result = run(FakeSource.of(TRACKS), one, mode="online", window=0, overlap=0, ranking=Ranking(conf=0.0))

    assert sorted(track.id for track in result.tracks) == list(range(1, SIZES.queries + 1))
    for track in result.tracks:
        told = torch.stack([torch.from_numpy(masks.decode(track.masks[index])) for index in range(len(seen))])
        mine = torch.stack([frame[track.id - 1] for frame in seen])
        torch.testing.assert_close(torch.tensor(track.class_scores), expected[track.id - 1], atol=1e-4, rtol=1e-4)
        assert (told & mine).sum() > 0.99 * (told | mine).sum() > 0


def test_the_first_frame_online_is_that_frame_as_a_clip(network: Mask2FormerVis) -> None:
    one = model(network, score_floor=0.2)
    source = FakeSource.of(TRACKS)
    first = next(iter(source))

    told = one.begin(source.info).step(first)

    tracks = one.segment(source.info, [first])
    assert tracks
    assert [track.masks[0] for track in tracks] == list(told.masks)
    assert [track.score for track in tracks] == told.scores.tolist()
    assert [track.label for track in tracks] == told.labels.tolist()


@pytest.mark.parametrize(
    ("name", "trained_on", "mode"),
    [
        ("mask2former-vis", "images", "online"),
        ("mask2former-vis", "videos", "offline"),
        ("ifr", "images", "offline"),
    ],
)
def test_image_weights_run_online_where_the_method_can(name: str, trained_on: Any, mode: str) -> None:
    row: Method = METHODS[name]

    assert chosen_mode(row, replace(INFO, trained_on=trained_on)) == mode
