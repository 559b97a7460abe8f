"""Looking back: cached equals uncached, ages, order, and what is switched off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hitf_networks import BATCH, BOTH, LAYER, film, network, same_outputs

from vistool.methods.hitf.network import FrameOutput, Hitf
from vistool.methods.hitf.presets import Preset

SWITCHES = [(True, True), (True, False), (False, True), (False, False)]


def last_of(made: Hitf, count: int, *, cached: bool = False) -> FrameOutput:
    """What is said of the last frame of a film, with so many references."""
    *past, now = [made.encode(frame) for frame in film(count + 1).split(1)]
    references = [each.reference for each in reversed(past)]
    if cached:
        return made.recall(now, [made.remember(each) for each in references])
    return made.fuse(now, references)


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
@pytest.mark.parametrize(("inter_code", "inter_pixels"), SWITCHES)
def test_cached_keys_and_values_change_nothing(preset: Preset, inter_code: bool, inter_pixels: bool) -> None:
    made = network(replace(preset, inter_code=inter_code, inter_pixels=inter_pixels))

    assert same_outputs(last_of(made, 3), last_of(made, 3, cached=True))


@pytest.mark.parametrize(("inter_code", "inter_pixels"), SWITCHES)
def test_references_count_where_something_looks_at_them(inter_code: bool, inter_pixels: bool) -> None:
    made = network(replace(LAYER, inter_code=inter_code, inter_pixels=inter_pixels))
    frames = [made.encode(frame) for frame in film(3).split(1)]
    one, other = (made.fuse(frames[0], [past.reference]) for past in frames[1:])

    assert same_outputs(one, other) is not (inter_code or inter_pixels)


def test_with_looking_back_switched_off_a_reference_has_no_numbers() -> None:
    reference = network(replace(LAYER, inter_code=False, inter_pixels=False)).encode(film(1)).reference

    assert reference.code.numel() == reference.pixels.numel() == 0


def test_how_long_ago_a_frame_was_matters() -> None:
    made = network(LAYER)
    now, *past = [made.encode(frame) for frame in film(3).split(1)]
    references = [each.reference for each in past]

    assert not same_outputs(made.fuse(now, references), made.fuse(now, references[::-1]))


def test_without_ages_the_order_of_references_would_not_matter() -> None:
    """So that it is the age, and nothing else, that tells them apart."""
    made = network(BATCH)
    assert made.temporal.positions is not None
    with torch.no_grad():
        made.temporal.positions.time.zero_()
    now, *past = [made.encode(frame) for frame in film(4).split(1)]
    references = [each.reference for each in past]

    assert same_outputs(made.fuse(now, references), made.fuse(now, references[::-1]))


def test_a_first_frame_is_its_own_reference() -> None:
    made = network(LAYER)
    encoded = made.encode(film(1))

    assert same_outputs(made.fuse(encoded, ()), made.fuse(encoded, [encoded.reference]))


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_slots_have_no_order_but_their_code_and_place(preset: Preset) -> None:
    order = torch.tensor([2, 0, 3, 1])
    made, permuted = network(preset), network(preset)
    assert permuted.temporal.positions is not None
    with torch.no_grad():
        for table in (permuted.encoder.code, permuted.temporal.positions.slot):
            table[:4] = table[order]
    one, other = last_of(made, 2), last_of(permuted, 2)

    torch.testing.assert_close(one.class_logits[:, order], other.class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.mask_logits[:, order], other.mask_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
def test_a_batch_of_clips_gives_what_single_clips_give(preset: Preset) -> None:
    made = network(preset)
    clips = torch.stack([film(3, seed=seed) for seed in (1, 2)])
    *past, now = [made.encode(clips[:, t]) for t in range(3)]
    together = made.fuse(now, [each.reference for each in reversed(past)])
    for clip in range(2):
        *past, now = [made.encode(clips[clip, t : t + 1]) for t in range(3)]
        alone = made.fuse(now, [each.reference for each in reversed(past)])

        torch.testing.assert_close(together.mask_logits[clip], alone.mask_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.class_logits[clip], alone.class_logits[0], atol=1e-5, rtol=1e-5)


def test_more_references_than_ages_are_refused() -> None:
    made = network(LAYER)
    encoded = made.encode(film(1))

    with pytest.raises(ValueError, match="4 references, where there are 1 to 3 ages"):
        made.fuse(encoded, [encoded.reference] * 4)


@pytest.mark.parametrize("rounds", [1, 3])
def test_as_many_rounds_as_the_preset_says(rounds: int) -> None:
    made = network(replace(LAYER, rounds=rounds))

    assert len(made.temporal.inter) == len(made.temporal.intra) == rounds
    assert same_outputs(last_of(made, 2), last_of(made, 2, cached=True))
