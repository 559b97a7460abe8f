"""The feature pyramid against loops over its pixels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vistool.nn.fpn import Fpn

CHANNELS, DIM = (3, 5, 4), 6
ODD = ((9, 13), (5, 7), (3, 4))  # as a backbone makes them of 66 x 98 pixels, rounding up


def filled(fpn: Fpn) -> Fpn:
    for parameter in fpn.parameters():
        nn.init.normal_(parameter, std=0.3)
    return fpn


def maps(sides: tuple[tuple[int, int], ...] = ODD) -> list[Tensor]:
    return [torch.randn(2, channels, *side) for channels, side in zip(CHANNELS, sides, strict=True)]


def seen_from_above(fpn: Fpn, inputs: list[Tensor]) -> list[Tensor]:
    """Every lateral plus, pixel by pixel, the nearest one of the coarser sum."""
    sums: list[Tensor] = []
    for lateral, x in reversed(list(zip(fpn.lateral, inputs, strict=True))):
        y = lateral(x).detach().clone()
        for i in range(y.shape[2] if sums else 0):
            for j in range(y.shape[3]):
                above = sums[-1]
                y[:, :, i, j] += above[:, :, i * above.shape[2] // y.shape[2], j * above.shape[3] // y.shape[3]]
        sums.append(y)
    return sums[::-1]


@torch.no_grad()
def test_every_level_sees_all_coarser_ones() -> None:
    fpn, inputs = filled(Fpn(CHANNELS, DIM, coarser="convolutions")), maps()

    levels = fpn(inputs)

    for level, output, x in zip(levels, fpn.output, seen_from_above(fpn, inputs), strict=False):
        torch.testing.assert_close(level, output(x))


@torch.no_grad()
def test_convolutions_go_on_from_the_last_output() -> None:
    fpn = filled(Fpn(CHANNELS, DIM, coarser="convolutions"))

    levels = fpn(maps())

    (w6, b6), (w7, b7) = ((step.weight, step.bias) for step in fpn.coarser)
    p6 = F.conv2d(F.pad(levels[2], (1, 1, 1, 1)), w6, b6, stride=2)
    p7 = F.conv2d(F.pad(p6.clamp(min=0), (1, 1, 1, 1)), w7, b7, stride=2)
    assert len(levels) == 5
    torch.testing.assert_close(levels[3], p6)
    torch.testing.assert_close(levels[4], p7)
    assert [tuple(level.shape[-2:]) for level in levels[3:]] == [(2, 2), (1, 1)]


@torch.no_grad()
def test_pooling_goes_on_with_every_second_pixel() -> None:
    fpn = filled(Fpn(CHANNELS, DIM, coarser="pool"))

    levels = fpn(maps())

    assert len(levels) == 4
    assert torch.equal(levels[3], levels[2][..., ::2, ::2])


@torch.no_grad()
def test_the_deepest_map_is_read_through_one_matrix_alone() -> None:
    """A map that is mixed before and unmixed in the lateral changes nothing."""
    fpn, inputs = filled(Fpn(CHANNELS, DIM, coarser="convolutions")), maps()
    before = fpn(inputs)
    mixing = torch.linalg.qr(torch.randn(4, 4)).Q
    inputs[2] = torch.einsum("ij,bjhw->bihw", mixing, inputs[2])
    fpn.lateral[2].weight.copy_(torch.einsum("dj,ij->di", fpn.lateral[2].weight[:, :, 0, 0], mixing)[..., None, None])

    after = fpn(inputs)

    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_it_begins_without_biases_and_with_weights_of_one_variance() -> None:
    fpn = Fpn((64, 64), 64, coarser="convolutions")

    assert all(not parameter.any() for name, parameter in fpn.named_parameters() if name.endswith("bias"))
    for module in (fpn.lateral[0], fpn.output[1], fpn.coarser[0]):
        fan = 64 * module.weight[0, 0].numel()
        assert float(module.weight.detach().var()) == pytest.approx(1 / fan, rel=0.15)  # Xavier: 2 / (fan in + fan out)
