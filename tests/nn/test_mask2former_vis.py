"""`mask2former-vis` as a method: losses, recipe, conversion and probe."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vistool.errors import InputError, WeightsError
from vistool.methods.mask2former_vis.checkpoint import convert
from vistool.methods.mask2former_vis.inference import probe
from vistool.methods.mask2former_vis.loss import losses
from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.methods.mask2former_vis.presets import PRESETS
from vistool.methods.mask2former_vis.recipe import Mask2FormerRecipe
from vistool.nn.masked_decoder import ClipOutput, Prediction
from vistool.nn.published import to_published
from vistool.nn.targets import ClipTargets
from vistool.types import Category
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.foreign import Foreign

TINY = PRESETS["tiny"]
SMALL = replace(TINY, queries=6, decoder_layers=3, encoder_layers=1, loss_points=200)
RECIPE = Mask2FormerRecipe()


def squares(count: int, frames: int) -> ClipTargets:
    """`count` squares side by side, standing still."""
    masks = torch.zeros(count, frames, 64, 96, dtype=torch.bool)
    for n in range(count):
        masks[n, :, 20:44, 30 * n + 4 : 30 * n + 26] = True
    return ClipTargets(torch.arange(count), masks)


def checkpoint() -> Checkpoint:
    """A converted network with random weights."""
    network = Mask2FormerVis(SMALL)
    return convert(Foreign(to_published(network.state_dict(), "detectron2-mask2former")), "auto")


def test_the_tiny_preset_is_small_enough_to_ship() -> None:
    network = Mask2FormerVis(TINY)

    assert sum(parameter.numel() for parameter in network.parameters()) < 4_000_000


def test_every_parameter_of_the_network_is_trained() -> None:
    network = Mask2FormerVis(SMALL).train()

    terms = RECIPE.losses(network, torch.randn(2, 2, 3, 64, 96), [squares(2, 2), squares(3, 2)])
    torch.stack(list(terms.values())).sum().backward()

    assert set(terms) == {"class", "bce", "dice"}
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_some_steps_on_one_clip_lower_every_term() -> None:
    network = Mask2FormerVis(SMALL).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    frames, targets = torch.randn(2, 1, 3, 64, 96), [squares(2, 1), squares(3, 1)]
    history = []
    for _ in range(25):
        terms = RECIPE.losses(network, frames, targets)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        history.append({name: term.item() for name, term in terms.items()})

    assert [name for name, value in history[-1].items() if value > 0.8 * history[0][name]] == []


def output_of(classes: Tensor, masks: Tensor, layers: int) -> ClipOutput:
    prediction = Prediction(classes, masks)
    return ClipOutput(prediction, (prediction,) * (layers - 1), embeddings=torch.zeros(0))


def test_the_loss_sums_over_predictions_and_frames() -> None:
    """Exact up to the random points: masks are even, so that every point says the same."""
    classes = torch.randn(1, 6, TINY.num_classes + 1)
    masks = torch.full((1, 6, 1, 8, 8), -2.0)
    masks[:, 0] = 2.0
    target = ClipTargets(torch.tensor([0]), torch.zeros(1, 1, 32, 32, dtype=torch.bool))
    still = losses(output_of(classes, masks, 1), [target], SMALL)

    four = losses(output_of(classes, masks, 4), [target], SMALL)
    clip = ClipTargets(target.labels, target.masks.expand(-1, 3, -1, -1))
    three_frames = losses(output_of(classes, masks.expand(-1, -1, 3, -1, -1), 1), [clip], SMALL)

    torch.testing.assert_close(four["class"], 4 * still["class"])
    torch.testing.assert_close(four["dice"], 4 * still["dice"], atol=0, rtol=0.05)
    torch.testing.assert_close(three_frames["bce"], 3 * still["bce"], atol=0, rtol=0.05)
    torch.testing.assert_close(three_frames["class"], still["class"])


def test_mask_terms_are_divided_by_the_number_of_objects() -> None:
    classes, masks = torch.zeros(2, 6, TINY.num_classes + 1), torch.full((2, 6, 1, 16, 24), -2.0)
    one = squares(1, 1)

    alone = losses(output_of(classes[:1], masks[:1], 1), [one], replace(SMALL, loss_points=20_000))
    twice = losses(output_of(classes, masks, 1), [one, one], replace(SMALL, loss_points=20_000))

    torch.testing.assert_close(twice["bce"], alone["bce"], atol=0, rtol=0.05)
    torch.testing.assert_close(twice["dice"], alone["dice"], atol=0, rtol=0.05)


def test_clips_without_objects_still_teach_the_classes() -> None:
    network = Mask2FormerVis(SMALL).train()

    terms = RECIPE.losses(network, torch.randn(1, 1, 3, 64, 96), [squares(0, 1)])

    assert terms["class"] > 0
    assert (terms["bce"], terms["dice"]) == (0, 0)


def test_a_child_takes_everything_from_a_parent_with_as_many_classes() -> None:
    parent = checkpoint()

    assert RECIPE.start(SMALL, parent).keys() == parent.tensors.keys()


def test_a_child_with_other_classes_learns_its_class_head_anew() -> None:
    parent = checkpoint()

    tensors = RECIPE.start(replace(SMALL, num_classes=3), parent)

    assert parent.tensors.keys() - tensors.keys() == {
        f"decoder.heads.class_embed.{kind}" for kind in ("weight", "bias")
    }


def test_a_parent_of_another_method_is_refused() -> None:
    parent = checkpoint()
    stranger = Checkpoint(replace(parent.info, method="hitf"), parent.tensors, name="hitf-r50")

    with pytest.raises(WeightsError, match=r"`hitf-r50` .*`hitf`"):
        RECIPE.start(SMALL, stranger)


def test_a_parent_of_other_sizes_is_refused_by_tensor() -> None:
    parent = checkpoint()

    with pytest.raises(WeightsError, match=r"`decoder\.query_feat` \(6, 64\) instead of \(9, 64\)"):
        RECIPE.start(replace(SMALL, queries=9), parent)


def test_a_converted_checkpoint_says_what_it_needs() -> None:
    info = checkpoint().info

    sized = {name: info.sizes[name] for name in ("backbone", "queries", "decoder_layers", "num_classes")}
    assert sized == {"backbone": "resnet-tiny", "queries": 6, "decoder_layers": 3, "num_classes": 8}
    assert info.categories[:2] == (Category(1, "class_0"), Category(2, "class_1"))
    assert (info.method, info.preset, info.short_side) == ("mask2former-vis", "custom", 360)


@pytest.mark.parametrize("name", ["r50", "swin-t"])
def test_published_sizes_go_by_their_preset(name: str) -> None:
    with torch.device("meta"):
        published = to_published(Mask2FormerVis(PRESETS[name]).state_dict(), "detectron2-mask2former")
        info = convert(Foreign(published), "auto").info

    assert info.preset == name
    assert info.sizes == asdict(PRESETS[name])


def network_of(weights: Checkpoint) -> Mask2FormerVis:
    network = Mask2FormerVis(SMALL).eval()
    network.load_state_dict(dict(weights.tensors))
    return network


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((frames, 3, 70, 90)).astype(np.float32)


def test_a_probe_returns_what_the_network_says() -> None:
    weights, frames = checkpoint(), noise(2)

    arrays = probe(weights, {"frames": frames}, "offline")

    with torch.no_grad():
        final = network_of(weights)(torch.from_numpy(frames)[None]).final
    assert arrays["mask_logits"].shape == (6, 2, 24, 24)  # a quarter of 96 x 96
    np.testing.assert_array_equal(arrays["class_logits"], final.class_logits[0].numpy())
    np.testing.assert_array_equal(arrays["mask_logits"], final.mask_logits[0].numpy())


def test_an_online_probe_returns_what_the_network_says_of_every_frame_alone() -> None:
    weights, frames = checkpoint(), noise(3)

    arrays = probe(weights, {"frames": frames}, "online")

    with torch.no_grad():
        final = network_of(weights)(torch.from_numpy(frames)[:, None]).final  # a batch of clips of one frame
    assert arrays["mask_logits"].shape == (3, 6, 24, 24)
    np.testing.assert_allclose(arrays["class_logits"], final.class_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(arrays["mask_logits"], final.mask_logits[:, :, 0].numpy(), atol=1e-3)


def test_one_frame_is_probed_alike_in_both_modes() -> None:
    weights, frames = checkpoint(), noise(1)

    offline, online = (probe(weights, {"frames": frames}, mode) for mode in ("offline", "online"))

    np.testing.assert_array_equal(online["class_logits"][0], offline["class_logits"])
    np.testing.assert_array_equal(online["mask_logits"][0], offline["mask_logits"][:, 0])


def test_embeddings_are_what_the_heads_read() -> None:
    network = network_of(checkpoint())

    with torch.no_grad():
        output = network(torch.from_numpy(noise(2))[None])

    classes = network.decoder.heads.class_embed(output.embeddings)
    torch.testing.assert_close(classes, output.final.class_logits)


@pytest.mark.parametrize(
    "arrays", [{}, {"frames": np.zeros((3, 64, 64))}, {"frames": np.zeros((2, 64, 64, 3))}], ids=["none", "3-D", "last"]
)
def test_a_probe_without_frames_is_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="expected an array `frames`"):
        probe(checkpoint(), arrays, "offline")
