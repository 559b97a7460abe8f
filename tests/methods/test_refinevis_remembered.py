"""A frozen image model looks at a frame once, and what is remembered is what it would say."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from vistool.methods.refinevis.remembered import RememberedFrames
from vistool.nn.image_model import FrameObjects

Q, D, K = 3, 4, 2


class Counting(nn.Module):
    """Says of a frame what follows from its pixels, and counts how many frames it was shown."""

    def __init__(self, with_references: bool) -> None:
        super().__init__()
        self.with_references, self.shown = with_references, 0

    def forward(self, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
        self.shown += len(frames)
        mean = frames.mean((1, 2, 3))[:, None, None]
        parts = [mean.expand(-1, Q, width) + torch.arange(width) for width in (D, K, 4, 2)]
        return FrameObjects(
            *parts[:3], pixels=frames[:, :, ::4, ::4], references=parts[3] if self.with_references else None
        )


def same(a: FrameObjects, b: FrameObjects) -> None:
    for part in fields(FrameObjects):
        mine, other = getattr(a, part.name), getattr(b, part.name)
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, rtol=0, atol=0)


@pytest.mark.parametrize("with_references", [False, True])
def test_a_frame_that_comes_again_is_not_looked_at_again(with_references: bool) -> None:
    image, frames = Counting(with_references), torch.randn(4, 3, 8, 8)
    remembered = RememberedFrames(10**6)

    first = remembered.look(image, frames)
    again = remembered.look(image, frames[[2, 0, 0, 3]])

    assert image.shown == 4
    same(first, image(frames))
    same(again, image(frames[[2, 0, 0, 3]]))


def test_a_frame_that_differs_in_one_pixel_is_another() -> None:
    image, frame = Counting(False), torch.randn(1, 3, 8, 8)
    other = frame.clone()
    other[0, 0, 0, 0] += 1
    remembered = RememberedFrames(10**6)

    remembered.look(image, frame)
    said = remembered.look(image, other)

    assert image.shown == 2
    same(said, image(other))


def test_the_oldest_are_forgotten_and_said_anew() -> None:
    image, frames = Counting(False), torch.randn(5, 3, 8, 8)
    one_frame = sum(
        getattr(image(frames[:1]), name).untyped_storage().nbytes() for name in ("embeddings", "class_logits", "boxes")
    )
    image.shown = 0
    remembered = RememberedFrames(3 * one_frame)

    remembered.look(image, frames)
    shown = image.shown
    remembered.look(image, frames[4:])
    assert image.shown == shown
    same(remembered.look(image, frames[:1]), image(frames[:1]))
    assert image.shown > shown + 1
