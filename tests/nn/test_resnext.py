"""ResNeXt: its numbers, its strides, its frozen norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vistool.nn import resnext
from vistool.nn.resnext import ResNeXt


def test_the_published_network_has_as_many_numbers_as_its_makers_say() -> None:
    with torch.device("meta"):
        network = ResNeXt("resnext-101-32x8d")

    classifier = 2048 * 1000 + 1000
    assert sum(parameter.numel() for parameter in network.parameters()) == 88_791_336 - classifier


def test_maps_lie_at_the_strides_of_a_resnet() -> None:
    with torch.device("meta"):
        maps = ResNeXt("resnext-101-32x8d")(torch.empty(1, 3, 96, 128))

    assert [tuple(m.shape[1:]) for m in maps] == [(256, 24, 32), (512, 12, 16), (1024, 6, 8), (2048, 3, 4)]


def test_all_norms_keep_their_statistics_where_they_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(resnext.RESNEXTS, "small", ("resnet-50", 4))
    with torch.device("meta"):
        network = ResNeXt("small", frozen_norms=True).train()

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
