"""The association block: local attention and the block against plain readings, and what parts of it cost."""

from __future__ import annotations

from dataclasses import replace

import iai_twin
import pytest
import torch
from iai_fakes import fill
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vistool.methods.iai.association import ChannelGate, DropPath, HybridAssociation, NoAssociation
from vistool.methods.iai.layout import released
from vistool.methods.iai.local_attention import LocalAttention
from vistool.methods.iai.memory import Memory, Remembered
from vistool.methods.iai.presets import Preset
from vistool.nn.backbones import Backbone

CHANNELS, DIM = 40, 16
PRESET = Preset(image={}, backbone="none", max_ids=6, dim=DIM, ffn=32, local_window=5)


def block(**rules: object) -> HybridAssociation:
    made = HybridAssociation(replace(PRESET, **rules), CHANNELS).eval()
    fill(made)
    return made


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def memory_of(*frames: Remembered) -> Memory:
    memory = Memory(interval=1, most=None)
    for frame in frames:
        memory.add(frame, new_objects=False)
    return memory


def some_memory(clips: int, places: int, frames: int) -> Memory:
    return memory_of(
        *(
            Remembered(tokens(clips, places, DIM, seed=t), tokens(clips, places, DIM, seed=50 + t))
            for t in range(frames)
        )
    )


@pytest.mark.parametrize("window", [1, 3, 5, 15])
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 7), (9, 4), (17, 3)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_local_attention_equals_a_loop_over_windows(size_hw: tuple[int, int], window: int) -> None:
    attention = LocalAttention(8, heads=2, window=window)
    fill(attention)
    q, k, v = (tokens(2, size_hw[0] * size_hw[1], 8, seed=seed) for seed in range(3))

    found = attention(q, k, v, size_hw)

    parts = (attention.relative.weight, attention.relative.bias, attention.place_values)
    rows = zip(q, k, v, strict=True)
    expected = attention.out(torch.stack([iai_twin.local_attention(*row, *parts, size_hw) for row in rows]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_fresh_local_attention_looks_where_it_stands() -> None:
    """Among things that look alike: not the mean of the window, which says nothing of where something is."""
    torch.manual_seed(0)
    attention = LocalAttention(8, heads=2, window=5)
    attention.out = nn.Identity()
    q, v = (tokens(1, 63, 8, seed=seed) for seed in range(2))

    found = attention(0.1 * q, 0.1 * q, v, (7, 9))

    torch.testing.assert_close(found, v, rtol=0, atol=0.1)


@pytest.mark.parametrize("id_bank", ["convolution", "pixel"])
def test_with_fresh_weights_it_is_heard_who_is_remembered(id_bank: str) -> None:
    """Two identities change places in memory: what the block makes of the frame is another where they stand."""
    torch.manual_seed(0)
    fresh = HybridAssociation(replace(PRESET, id_bank=id_bank), CHANNELS).eval()
    c5 = tokens(1, CHANNELS, 4, 6)
    masks = torch.zeros(1, PRESET.max_ids + 1, 128, 192, dtype=torch.bool)
    masks[:, 0, 20:60, 20:60], masks[:, 1, 64:120, 120:190] = True, True
    swapped = masks[:, [1, 0, *range(2, PRESET.max_ids + 1)]]

    heard = [fresh(c5, memory_of(fresh.remember(fresh(c5, None).tokens, stack))).mixed[0] for stack in (masks, swapped)]

    change = (heard[0] - heard[1]).abs().mean(0)
    share = {"convolution": 0.02, "pixel": 0.2}[id_bank]  # of what can be heard at all
    assert change[1, 1] > share * heard[0].abs().mean()
    assert change[1, 1] > 2 * change[0, 3]  # a place where nobody stands


def test_windows_that_were_made_to_look_serve_to_learn() -> None:
    attention = LocalAttention(8, heads=2, window=3)
    x = tokens(1, 35, 8)
    with torch.inference_mode():
        attention(x, x, x, (5, 7))

    attention(x, x, x, (5, 7)).sum().backward()

    assert attention.relative.weight.grad is not None


@pytest.mark.parametrize("size_hw", [(12, 20), (24, 40)], ids=["12x20", "24x40"])
def test_local_attention_costs_less_than_the_last_stage_of_the_backbone(size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    with torch.device("meta"):
        attention, stage = LocalAttention(256, 2, 15), Backbone("resnet-50").body.encoder.stages[-1]
        tokens_of_map, finer = torch.empty(1, height * width, 256), torch.empty(1, 1024, 2 * height, 2 * width)

    with FlopCounterMode(display=False) as local:
        attention(tokens_of_map, tokens_of_map, tokens_of_map, size_hw)
    with FlopCounterMode(display=False) as last:
        stage(finer)

    assert 0 < 4 * local.get_total_flops() < last.get_total_flops()


@pytest.mark.parametrize("association", ["both", "global", "local"])
@pytest.mark.parametrize("known", [False, True], ids=["first frame", "later frame"])
def test_the_block_equals_a_plain_reading(association: str, known: bool) -> None:
    one = block(association=association)
    c5 = tokens(2, CHANNELS, 3, 4)
    memory = some_memory(2, 12, frames=3) if known else None

    seen = one(c5, memory)

    plain = iai_twin.block(released(one.state_dict()), c5, memory, heads=2, association=association)
    torch.testing.assert_close(seen.mixed, plain.mixed, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.c5, plain.c5, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.queries, plain.queries, rtol=1e-4, atol=1e-5)


def test_clips_of_a_batch_do_not_meet() -> None:
    one, c5, memory = block(), tokens(2, CHANNELS, 3, 4), some_memory(2, 12, frames=2)
    alone = memory_of(*(Remembered(*(part[1:] for part in frame)) for frame in memory_frames(memory)))

    together, second = one(c5, memory), one(c5[1:], alone)

    torch.testing.assert_close(together.c5[1:], second.c5)


def memory_frames(memory: Memory) -> list[Remembered]:
    keys, values = (part.unflatten(1, (-1, 12)).unbind(1) for part in memory.long)
    return [Remembered(*pair) for pair in zip(keys, values, strict=True)]


def test_the_order_of_long_term_memory_does_not_matter() -> None:
    one, c5, memory = block(association="global"), tokens(1, CHANNELS, 3, 4), some_memory(1, 12, frames=4)

    turned = one(c5, memory_of(*reversed(memory_frames(memory))))

    torch.testing.assert_close(one(c5, memory).mixed, turned.mixed)


def test_what_a_frame_leaves_in_memory_does_not_depend_on_what_it_read() -> None:
    one, c5 = block(), tokens(1, CHANNELS, 2, 3)
    stack = iai_twin.one_hot([[0, 1, 6], [2, 6, 6]], channels=7)

    first_pass = one(c5, None)
    once = one.remember(first_pass, stack)
    again = one.remember(one(c5, memory_of(once)), stack)

    assert torch.equal(once.keys, again.keys)
    assert torch.equal(once.values, again.values)
    assert torch.equal(once.keys, first_pass.queries)


def test_the_first_frame_reads_itself_with_nothing_painted() -> None:
    one, c5 = block(), tokens(1, CHANNELS, 2, 3)
    bare = torch.zeros(1, 7, 64, 96, dtype=torch.bool)

    seen = one(c5, None)

    torch.testing.assert_close(seen.mixed, one(c5, memory_of(one.remember(seen, bare))).mixed)


@pytest.mark.parametrize(
    ("rules", "channels"),
    [({}, CHANNELS), ({"class_projector": False}, 2 * DIM), ({"class_channels": 5}, 2 * DIM + 5)],
    ids=["as wide as C5", "without the projection", "of another width"],
)
def test_what_replaces_c5_has_the_channels_that_it_says(rules: dict[str, object], channels: int) -> None:
    one = block(**rules)

    seen = one(tokens(1, CHANNELS, 3, 4), None)

    assert seen.c5.shape == (1, channels, 3, 4)
    assert one.out_channels == channels


def test_without_an_association_c5_stays_and_nothing_is_remembered() -> None:
    one, c5 = NoAssociation(replace(PRESET, association="none"), CHANNELS), tokens(2, CHANNELS, 3, 4)

    seen = one(c5, None)
    kept = one.remember(seen, torch.zeros(2, 7, 96, 128))

    assert torch.equal(seen.c5, c5)
    assert sum(each.numel() for each in (*kept, seen.mixed, *one.parameters())) == 0


def test_parts_that_are_not_used_are_not_there() -> None:
    names = {part: set(block(association=part).state_dict()) for part in ("both", "global", "local")}

    assert {name.split(".")[0] for name in names["both"] - names["global"]} == {"local_attention"}
    assert {name.split(".")[0] for name in names["both"] - names["local"]} == {"global_out"}


def test_gates_of_channels_start_as_the_identity() -> None:
    x = tokens(2, 6, 3, 4)

    assert torch.equal(ChannelGate(6)(x), x)


@pytest.mark.parametrize(("of", "whole"), [("tokens", (0, 2)), ("clips", (1, 2))])
def test_what_is_left_out_in_training_are_places_of_all_clips_or_whole_clips(of: str, whole: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.ones(40, 50, 3)

    kept = DropPath(0.25, of).train()(x)

    assert torch.equal(kept.amax(whole), kept.amin(whole))
    assert set(kept.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert torch.equal(DropPath(0.25, of).eval()(x), x)
