"""What HITF can be started from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hitf_fakes import BACKBONE, SMALL, K, L, info, network, talkative

from vistool.errors import WeightsError
from vistool.methods.hitf.layers import resized
from vistool.methods.hitf.loss import look
from vistool.methods.hitf.network import Hitf
from vistool.methods.hitf.presets import Preset
from vistool.methods.hitf.recipe import HitfRecipe
from vistool.methods.hitf.start import start
from vistool.weights.checkpoint import Checkpoint

CLASSES = ("heads.cls.1", "semantic.classes")


def checkpoint(own: Hitf, **changes: Any) -> Checkpoint:
    return Checkpoint(info(own.preset, **changes), own.state_dict(), name="parent")


def fresh(preset: Preset, parent: Checkpoint) -> set[str]:
    """Names of the tensors that `parent` has nothing for; what it has fits."""
    tensors, wanted = start(preset, parent), Hitf(preset).state_dict()
    assert tensors.keys() <= wanted.keys()
    assert all(torch.equal(tensor, parent.tensors[name]) for name, tensor in tensors.items())
    assert all(tensor.shape == wanted[name].shape for name, tensor in tensors.items())
    return wanted.keys() - tensors.keys()


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, set()),
        (
            {"num_classes": K + 2},
            {"heads.cls.1.bias", "heads.cls.1.weight", "semantic.classes.bias", "semantic.classes.weight"},
        ),
        ({"slots": L + 1}, set()),
        ({"references": 2}, {"temporal.positions.time"}),
        ({"rounds": 1, "inter_code": False, "overlap": 0.2, "supervised": 4}, set()),
    ],
    ids=str,
)
def test_what_has_another_shape_starts_fresh(changes: dict[str, object], left: set[str]) -> None:
    assert fresh(replace(SMALL, **changes), checkpoint(network())) == left  # type: ignore[arg-type]


def test_another_round_starts_fresh() -> None:
    left = fresh(replace(SMALL, rounds=3), checkpoint(network()))

    assert {".".join(name.split(".")[:3]) for name in left} == {"temporal.inter.2", "temporal.intra.2"}


@pytest.mark.parametrize(("theirs", "ours"), [(81, 161), (161, 81)], ids=["longer", "shorter"])
def test_weights_of_another_long_side_say_what_they_said(theirs: int, ours: int) -> None:
    """Of a frame that both tables reach across; places are straight lines between those of the smaller table."""
    parent, own = (talkative(replace(SMALL, long_side=side), seed=1) for side in (theirs, ours))
    if theirs > ours:
        space = parent.temporal.positions.space  # type: ignore[union-attr]
        space.data = resized(resized(space.data[None], (6, 6)), (11, 11))[0]
    frames = torch.randn(3, 1, 3, 64, 80, generator=torch.Generator().manual_seed(0))

    own.load_state_dict(dict(start(own.preset, checkpoint(parent))))

    with torch.no_grad():
        for old, new in zip(*(look(each, frames.transpose(0, 1), 3) for each in (parent, own)), strict=True):
            torch.testing.assert_close(new.class_logits, old.class_logits, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(new.mask_logits, old.mask_logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rows", [L + 7, L - 2], ids=["more", "fewer"])
def test_slots_of_the_parent_are_kept_and_fresh_ones_come_after_them(rows: int) -> None:
    parent = network(seed=1)
    kept = min(rows, SMALL.max_slots)

    tensors = start(replace(SMALL, slots=rows, max_slots=rows), checkpoint(parent))

    for name in ("encoder.code", "temporal.positions.slot"):
        theirs = parent.state_dict()[name]
        assert len(tensors[name]) == rows
        assert torch.equal(tensors[name][:kept], theirs[:kept])
        assert all(0.5 < float(row.std() / theirs.std()) < 2 for row in tensors[name][kept:])


def test_fresh_slots_are_those_of_the_seed() -> None:
    """Whatever the order in which the parent holds its tensors."""
    parent, more = checkpoint(network(seed=1)), replace(SMALL, max_slots=9)
    turned = replace(parent, tensors=dict(reversed(parent.tensors.items())))
    drawn = []
    for each in (parent, turned):
        torch.manual_seed(3)
        drawn.append(start(more, each))

    assert all(torch.equal(tensor, drawn[1][name]) for name, tensor in drawn[0].items())
    torch.manual_seed(3)
    first = torch.nn.init.trunc_normal_(torch.empty(3, SMALL.dim), std=1.0)
    assert torch.equal(drawn[0]["encoder.code"][6:], first)


def is_backbone(name: str) -> bool:
    return name.startswith("encoder.backbone.")


def test_of_a_converted_resnet_the_backbone_is_taken() -> None:
    """Its other parts are fresh ones, always the same; here the seed of the run decides."""
    tensors = start(SMALL, checkpoint(network(), untrained="all but the backbone"))

    assert tensors.keys() == {name for name in network().state_dict() if is_backbone(name)}


def test_another_method_gives_its_backbone() -> None:
    own = network(seed=3).state_dict()
    theirs = {f"trunk.{name.removeprefix('encoder.')}": tensor for name, tensor in own.items() if is_backbone(name)}
    parent = Checkpoint(info(method="ifr", sizes={"backbone": "resnet"}), {**theirs, "head": torch.zeros(3)}, name="p")

    tensors = start(SMALL, parent)

    assert tensors.keys() == {name for name in own if is_backbone(name)}
    assert all(torch.equal(tensor, own[name]) for name, tensor in tensors.items())


def test_a_network_runs_with_what_it_was_given() -> None:
    recipe, parent = HitfRecipe(), network(seed=5)
    learner = recipe.build(SMALL)

    learner.load_state_dict(dict(recipe.start(SMALL, checkpoint(parent))))

    assert all(torch.equal(a, b) for a, b in zip(learner.parameters(), parent.parameters(), strict=True))


def test_another_backbone_is_refused() -> None:
    wider = replace(SMALL, backbone_sizes={**BACKBONE, "hidden_sizes": [8, 12, 16, 32]})

    with pytest.raises(WeightsError, match="do not fit"):
        start(wider, checkpoint(network()))


def test_a_backbone_of_the_same_shapes_and_other_strides_is_refused() -> None:
    with pytest.raises(WeightsError, match="resnet-msra"):
        start(SMALL, checkpoint(network(), sizes={"backbone": "resnet-msra"}))


def test_a_parent_without_any_backbone_is_refused() -> None:
    parent = Checkpoint(info(method="videomt", sizes={}), {"layers.0.weight": torch.zeros(1)}, name="vit")

    with pytest.raises(WeightsError, match=r"`vit` .it belongs to `videomt`"):
        start(SMALL, parent)


def test_a_damaged_parent_is_refused() -> None:
    whole = checkpoint(network())
    damaged = replace(whole, tensors={name: t for name, t in whole.tensors.items() if name != "heads.cls.1.bias"})

    with pytest.raises(WeightsError, match="missing"):
        start(SMALL, damaged)
