"""Learning rates, what is decayed, and the average."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import ToyNetwork, ToyPreset, toy_options

from vistool.training.options import TrainOptions
from vistool.training.schedule import (
    AveragedNetwork,
    decayed_parameters,
    learning_rate_factor,
    make_optimiser,
    set_learning_rate,
)


def options(**changes: object) -> TrainOptions:
    return toy_options(Path("data.json"), Path("run"), max_steps=100, **{"warmup": 10, **changes})


def test_the_rate_rises_to_its_peak_over_the_warm_up_and_falls_to_nothing() -> None:
    factors = [learning_rate_factor(step, options()) for step in range(100)]

    assert factors[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.001


def test_the_rate_drops_to_a_tenth_at_each_milestone() -> None:
    steps = options(schedule="steps", milestones=(50, 80))

    assert [learning_rate_factor(step, steps) for step in (10, 49, 50, 79, 80, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_the_polynomial_rate_falls_a_little_slower_than_straight_from_the_end_of_the_warm_up() -> None:
    poly = options(schedule="poly")

    assert [learning_rate_factor(step, poly) for step in (4, 10, 55, 99)] == pytest.approx(
        [0.5, 1, 0.5**0.9, (1 / 90) ** 0.9]
    )
    whole = options(schedule="poly", warmup=0)
    assert [learning_rate_factor(step, whole) for step in (0, 25, 50)] == pytest.approx([1, 0.75**0.9, 0.5**0.9])


class OneOfEach(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
        self.attention = nn.MultiheadAttention(4, 2)
        self.norm = nn.LayerNorm(4)
        self.queries = nn.Embedding(5, 4)
        self.level = nn.Parameter(torch.zeros(3, 4))
        self.head = nn.Linear(4, 2)


def test_only_matrices_and_kernels_are_decayed() -> None:
    assert decayed_parameters(OneOfEach()) == {
        "backbone.0.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "head.weight",
    }


def test_every_parameter_is_in_one_group_and_the_backbone_has_its_own_rate() -> None:
    network = OneOfEach()
    optimiser = make_optimiser(network, options(lr=0.1, backbone_lr=0.25, weight_decay=0.3))
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    set_learning_rate(optimiser, 0.5)

    placed = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert placed.keys() == set(names.values())
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(names)
    assert placed["backbone.0.weight"] == pytest.approx((0.0125, 0.3))
    assert placed["backbone.1.weight"] == pytest.approx((0.0125, 0.0))
    assert placed["head.weight"] == pytest.approx((0.05, 0.3))
    assert placed["level"] == placed["queries.weight"] == placed["head.bias"] == pytest.approx((0.05, 0.0))


def test_frozen_parameters_are_left_out() -> None:
    network = OneOfEach()
    network.backbone.requires_grad_(False)

    optimiser = make_optimiser(network, options())

    assert all(parameter.requires_grad for group in optimiser.param_groups for parameter in group["params"])


def test_the_average_follows_its_law_for_parameters_and_buffers() -> None:
    network = ToyNetwork(ToyPreset(num_classes=2))
    averaged = AveragedNetwork(network, 0.5)
    weight, mean = network.head.weight.detach().clone(), network.backbone[1].running_mean.clone()

    for updates in (1, 2, 3):
        with torch.no_grad():
            network.head.weight += 1.0
            network.backbone[1].running_mean += 2.0
            network.backbone[1].num_batches_tracked += 1
        averaged.update(network, updates)
        decay = min(0.5, (1 + updates) / (10 + updates))
        weight = decay * weight + (1 - decay) * network.head.weight.detach()
        mean = decay * mean + (1 - decay) * network.backbone[1].running_mean

    torch.testing.assert_close(averaged.network.head.weight, weight)
    torch.testing.assert_close(averaged.network.backbone[1].running_mean, mean)
    assert averaged.network.backbone[1].num_batches_tracked == 3


def test_without_decay_the_average_is_the_network() -> None:
    network = ToyNetwork(ToyPreset(num_classes=2))
    averaged = AveragedNetwork(network, 0.0)
    with torch.no_grad():
        network.head.weight.normal_()

    averaged.update(network, 1)

    assert averaged.network.head.weight.equal(network.head.weight)
    assert not averaged.network.training
