"""What is remembered: which frames, and how identities are painted into them."""

from __future__ import annotations

import iai_twin
import pytest
import torch
from torch import Tensor

from vistool.methods.iai.id_bank import ConvolutionBank, PixelBank, as_stacks, paint
from vistool.methods.iai.memory import Memory, Remembered


def frame(number: float) -> Remembered:
    return Remembered(torch.full((1, 2, 3), number), torch.full((1, 2, 3), -number))


def kept(frames: int, *, new_on: tuple[int, ...] = (), most: int | None = None) -> tuple[int, ...]:
    """Numbers of the frames that are held after so many."""
    memory = Memory(interval=3, most=most)
    for number in range(frames):
        memory.add(frame(number), new_objects=number in new_on)
    assert torch.equal(memory.long.keys[0, ::2, 0], torch.tensor(memory.frames, dtype=torch.float32))
    return memory.frames


def test_without_new_objects_every_third_frame_is_kept_after_the_first_and_the_third() -> None:
    assert kept(13) == (0, 2, 5, 8, 11)


def test_a_frame_with_a_new_object_is_kept_and_counting_begins_again() -> None:
    assert kept(11, new_on=(0, 1)) == (0, 1, 4, 7, 10)
    assert kept(8, new_on=(3, 4)) == (0, 2, 3, 4, 7)


def test_with_room_for_some_frames_the_first_and_the_newest_stay() -> None:
    assert kept(13, most=3) == (0, 8, 11)
    assert kept(13, most=1) == (0,)


def test_short_term_memory_is_the_last_frame_whether_it_is_kept_or_not() -> None:
    memory = Memory(interval=3, most=None)
    for number in range(5):
        memory.add(frame(number), new_objects=False)

        assert torch.equal(memory.short.keys, frame(number).keys)


def test_what_is_rewritten_is_read_and_the_rest_stays() -> None:
    memory = Memory(interval=1, most=None)
    for number in range(3):
        memory.add(frame(number), new_objects=False)
    assert memory.long.values.shape == (1, 6, 3)

    memory.rewrite({1: frame(9)}.get)

    assert memory.long.values[0, :, 0].tolist() == [0, 0, -9, -9, -2, -2]


def test_gradients_flow_to_every_frame_that_is_read() -> None:
    memory = Memory(interval=3, most=None)
    frames = [Remembered(torch.randn(1, 2, 3), torch.randn(1, 2, 3, requires_grad=True)) for _ in range(4)]
    for each in frames:
        memory.add(each, new_objects=False)

    (memory.long.values.sum() + memory.short.values.sum()).backward()

    assert [each.values.grad is not None for each in frames] == [True, False, True, True]


def painted(seed: int, channels: int = 5) -> Tensor:
    """A picture of 64x96 pixels with three objects and background."""
    picture = torch.full((64, 96), channels - 1)
    picture[3:40, 10:50], picture[20:64, 60:96], picture[50:60, 5:30] = 0, 2, 1
    return as_stacks(picture.roll(seed, 1)[None], channels)


def test_the_released_bank_has_a_vector_for_each_channel_and_place_of_a_patch() -> None:
    torch.manual_seed(0)
    bank, stack = ConvolutionBank(5, 6), painted(7)
    torch.nn.init.normal_(bank.bias)

    found = bank(stack)

    names = {"lstt.patch_wise_id_bank.weight": bank.weight, "lstt.patch_wise_id_bank.bias": bank.bias}
    torch.testing.assert_close(found[0], iai_twin.embedding(names, stack[0]))


def test_the_printed_bank_has_a_vector_for_each_channel() -> None:
    torch.manual_seed(0)
    bank, stack = PixelBank(5, 6), painted(7)

    found = bank(stack)

    by_pixel = torch.einsum("chw,cd->dhw", stack[0].float(), bank.bank)  # Y transposed times D
    cells = by_pixel.unflatten(2, (3, 32)).unflatten(1, (2, 32)).mean((2, 4))
    torch.testing.assert_close(found[0], cells)


BANKS = pytest.mark.parametrize("bank", [ConvolutionBank(5, 6), PixelBank(5, 6)], ids=["convolution", "pixel"])


@BANKS
def test_where_nothing_is_painted_the_bank_adds_the_same_everywhere(bank: ConvolutionBank | PixelBank) -> None:
    empty = torch.zeros(2, 5, 64, 96, dtype=torch.bool)

    found, bias = bank(empty), getattr(bank, "bias", torch.zeros(6))

    assert torch.equal(found, bias[:, None, None].expand(2, 6, 2, 3))
    assert torch.equal(found, bank.nothing(torch.empty(2, 4, 2, 3)))


@BANKS
def test_renamed_identities_with_renamed_vectors_look_the_same(bank: ConvolutionBank | PixelBank) -> None:
    stack, order = painted(0), torch.tensor([2, 0, 3, 1, 4])
    found = bank(stack)

    with torch.no_grad():
        for vectors in (bank.weight.transpose(0, 1),) if isinstance(bank, ConvolutionBank) else (bank.bank,):
            vectors.copy_(vectors[order].clone())

    torch.testing.assert_close(bank(stack[:, order]), found)


@BANKS
def test_frames_of_a_batch_are_embedded_on_their_own(bank: ConvolutionBank | PixelBank) -> None:
    one, other = painted(0), painted(20)
    other[:, 1] = False

    together = bank(torch.cat([one, other]))

    torch.testing.assert_close(together, torch.cat([bank(one), bank(other)]))


def test_every_pixel_is_painted_once_and_what_is_left_is_background() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, 2:, :2] = True, True

    stack = as_stacks(paint(masks, torch.tensor([3, 0]), 6)[None], 6)[0]

    assert torch.equal(stack[3], masks[0])
    assert torch.equal(stack[0], masks[1])
    assert torch.equal(stack[5], ~masks.any(0))
    assert bool((stack.sum(0) == 1).all())


def test_of_two_masks_that_share_an_identity_the_last_is_painted_and_the_other_is_neither_it_nor_background() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :2], masks[1, 2:, :2] = True, True

    stack = as_stacks(paint(masks, torch.tensor([3, 3]), 6)[None], 6)[0]

    assert torch.equal(stack[3], masks[1])
    assert not stack[:, masks[0]].any()
