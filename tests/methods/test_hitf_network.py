"""What is said of a frame: sizes, masks, places, precision; every weight is of use; presets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hitf_networks import BATCH, BOTH, LAYER, enliven, film, network

from vistool.methods.hitf.decoder import Aspp
from vistool.methods.hitf.grid import MASK_STRIDE, aligned
from vistool.methods.hitf.network import Hitf
from vistool.methods.hitf.presets import PRESETS, Preset

SIZES = [(41, 58), (1, 1), (16, 17), (65, 33), (37, 100)]


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("preset", [LAYER, replace(LAYER, output_stride=32, aspp="none")], ids=["16", "32"])
def test_a_frame_of_any_size_has_a_mask_for_every_pixel(preset: Preset, size_hw: tuple[int, int]) -> None:
    made = network(preset)
    said = made.fuse(made.encode(film(2, size_hw)), ())
    covered = [(cells - 1) * MASK_STRIDE + 1 for cells in said.mask_logits.shape[-2:]]

    assert said.class_logits.shape == (2, 4, 4) and said.semantic_logits is None
    assert said.mask_logits.shape[:2] == (2, 4)
    assert all(have >= need for have, need in zip(covered, size_hw, strict=True))
    assert said.mask_logits.shape[-2:] == said.features.shape[-2:]
    torch.testing.assert_close(said.features.norm(dim=1), torch.ones_like(said.features[:, 0]))


def test_padding_on_the_right_and_below_is_what_the_network_pads_with() -> None:
    made, frames = network(LAYER), film(1, (41, 58))
    one, other = (made.fuse(made.encode(each), ()) for each in (frames, aligned(frames, 16)))

    assert aligned(frames, 16).shape[-2:] == (49, 65)
    torch.testing.assert_close(one.mask_logits, other.mask_logits)


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_nearly_every_slot_of_an_untrained_network_is_empty(preset: Preset) -> None:
    torch.manual_seed(0)
    made = Hitf(replace(preset, num_classes=40)).eval()
    probs = made.fuse(made.encode(film(1)), ()).class_logits.softmax(-1)

    torch.testing.assert_close(probs[..., -1], torch.full((1, 4), 0.9), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inter_code": False},
        {"inter_pixels": False},
        {"inter_code": False, "inter_pixels": False},
        {"pixel_attention": "full"},
        {"pixel_attention": "none"},
        {"aspp": "dense"},
        {"aspp": "none", "output_stride": 32},
    ],
    ids=str,
)
@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_every_weight_learns_in_every_form(preset: Preset, changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    made = Hitf(replace(preset, **changes)).train()
    enliven(made)
    *past, now = [made.encode(film(2, seed=t)) for t in range(3)]
    said = made.fuse(now, [each.reference for each in reversed(past)])
    assert said.semantic_logits is not None
    terms = (said.class_logits, said.mask_logits, said.features, said.semantic_logits)
    torch.stack([(term * torch.randn(term.shape)).sum() for term in terms]).sum().backward()
    idle = [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()]

    assert idle == []


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_a_batch_of_one_frame_can_be_learned_from(preset: Preset) -> None:
    made = Hitf(preset).train()

    assert made.fuse(made.encode(film(1)), ()).mask_logits.isfinite().all()


def test_masks_and_features_are_in_single_precision_under_autocast() -> None:
    made = network(BATCH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = made.fuse(made.encode(film(1)), ())

    assert said.mask_logits.dtype == said.features.dtype == torch.float32


def test_rings_of_the_pyramid_are_half_as_wide_at_half_the_cells() -> None:
    def reach(stride: Any) -> list[int]:
        """How far an impulse in the middle spreads in each ring."""
        made = Aspp(replace(LAYER, output_stride=stride, aspp="dense"), 3)
        impulse = torch.zeros(1, 3, 41, 41)
        impulse[..., 20, 20] = 1
        spread = [ring[0](impulse)[0].abs().sum((0, 1)).nonzero() for ring in made.rings]
        return [int(columns.max() - columns.min()) // 2 for columns in spread]

    assert reach(16) == [6, 12, 18] and reach(32) == [3, 6, 9]


def test_the_tiny_network_fits_into_eight_megabytes_at_half_precision() -> None:
    with torch.device("meta"):
        made = Hitf(PRESETS["tiny"])

    assert sum(weight.numel() for weight in made.state_dict().values()) <= 3_900_000


def test_the_network_of_the_paper_has_the_sizes_of_its_parts() -> None:
    """Millions of weights, as summed by hand from the widths."""
    with torch.device("meta"):
        made = Hitf(PRESETS["r50-ytvis2019"])
    parts = {
        "backbone": (made.encoder.backbone, 23.5),
        "code layers": (made.encoder.intra, 7.5),
        "pixel attention": (made.encoder.pixel_attn, 4.0),
        "inter": (made.temporal.inter, 2.9),
        "intra": (made.temporal.intra, 5.0),
        "pyramid": (made.decoder.aspp, 3.0),
    }
    counted = {name: sum(weight.numel() for weight in part.parameters()) / 1e6 for name, (part, _) in parts.items()}

    assert counted == {name: pytest.approx(expected, abs=0.06) for name, (_, expected) in parts.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": 7}, "more slots than rows of the code: 7 of 6"),
        ({"naming": "motion"}, "`motion` needs a `slot_gap`"),
        ({"heads": 3}, "widths are no multiples of the heads"),
        ({"rounds": 0}, "1 or more"),
        ({"ref_stride": 0}, "1 or more"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(LAYER, **changes)
