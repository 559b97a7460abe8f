"""A checkpoint fits a network exactly, or the message names what does not."""

from __future__ import annotations

import pytest
import torch
from checkpoint_samples import INFO
from torch import nn

from vistool.errors import WeightsError
from vistool.weights.checkpoint import Checkpoint
from vistool.weights.fitting import check_fit, load_into


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def test_a_network_gets_the_weights_it_is_given() -> None:
    given, receiver = network(), network()

    load_into(receiver, Checkpoint(INFO, given.state_dict()))

    inputs = torch.randn(4, 2)
    torch.testing.assert_close(receiver(inputs), given(inputs))


def test_every_kind_of_fault_is_named_with_its_tensors() -> None:
    tensors = network().state_dict()
    tensors["extra.weight"] = tensors.pop("1.bias")
    tensors["0.weight"] = torch.zeros(5, 2)

    with pytest.raises(WeightsError) as caught:
        load_into(network(), Checkpoint(INFO, tensors, name="mine"))

    assert caught.value.message == (
        "weights do not fit: `mine` (1 missing: `1.bias`; 1 not wanted: `extra.weight`; "
        "1 misshaped: `0.weight` (5, 2) instead of (3, 2))"
    )


def test_a_network_is_left_alone_by_weights_that_do_not_fit() -> None:
    receiver = network()
    before = {name: tensor.clone() for name, tensor in receiver.state_dict().items()}
    tensors = {**network().state_dict(), "1.bias": torch.zeros(7)}

    with pytest.raises(WeightsError):
        load_into(receiver, Checkpoint(INFO, tensors))

    assert all(torch.equal(tensor, before[name]) for name, tensor in receiver.state_dict().items())


def test_only_the_first_three_of_many_are_named() -> None:
    many = {f"layer{number}": torch.zeros(1) for number in range(9)}

    with pytest.raises(WeightsError, match=r"9 missing: `layer0`, `layer1`, `layer2`, …\)"):
        check_fit(many, {}, name="mine")
