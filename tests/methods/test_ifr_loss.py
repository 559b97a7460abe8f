"""The losses of IFR: the cross-frame term of Eq. (7), and what they share with Mask2Former's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vistool.methods.ifr import loss as ifr_loss
from vistool.methods.ifr.loss import class_probs, cross_frame_weights
from vistool.methods.ifr.network import IfrOutput, Prediction
from vistool.methods.ifr.presets import Preset
from vistool.methods.mask2former_vis import loss as mask2former_loss
from vistool.nn import losses as nn_losses
from vistool.nn import masked_decoder
from vistool.nn.targets import ClipTargets

B, T, Q, K, D, L = 2, 3, 6, 4, 8, 3
PRESET = Preset(backbone="resnet-tiny", num_classes=K, queries=Q, dim=D, loss_points=64)


@pytest.fixture(autouse=True)
def one_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are read in the middle only: the planes here are flat, but a point near the edge also reads beyond it."""
    monkeypatch.setattr(nn_losses, "uncertain_points", lambda logits, count: torch.full((len(logits), count, 2), 0.5))


def losses(made: IfrOutput, wanted: list[ClipTargets], preset: Preset) -> dict[str, torch.Tensor]:
    """The losses with the same points for matching every time."""
    torch.manual_seed(0)
    return ifr_loss.losses(made, wanted, preset)


def output(preset: Preset = PRESET, *, seed: int = 0) -> IfrOutput:
    """Predictions whose masks are the same at every pixel of a plane."""
    random = torch.Generator().manual_seed(seed)
    logits = K + (preset.class_head == "softmax")
    predictions = [
        Prediction(torch.randn(B, Q, logits, generator=random), torch.randn(B, T, Q, D, generator=random))
        for _ in range(L)
    ]
    pixels = torch.randn(B, T, D, 1, 1, generator=random).expand(-1, -1, -1, 4, 6)
    return IfrOutput(predictions[-1], tuple(predictions[:-1]), pixels)


def targets(*, still: bool = False) -> list[ClipTargets]:
    random = torch.Generator().manual_seed(5)
    made = []
    for objects in (2, 3):
        seen = torch.rand(objects, 1 if still else T, generator=random) > 0.4
        masks = seen.expand(-1, T)[:, :, None, None].expand(-1, -1, 16, 24)
        made.append(ClipTargets(torch.randint(K, (objects,), generator=random), masks))
    return made


def test_without_the_cross_frame_term_the_loss_is_mask2formers() -> None:
    preset = replace(PRESET, class_head="softmax", cross_frame_weight=0.0)
    ours = output(preset)
    theirs = [
        masked_decoder.Prediction(p.class_logits, torch.einsum("btqd,btdhw->bqthw", p.kernels, ours.pixels))
        for p in (*ours.auxiliary, ours.final)
    ]

    found = losses(ours, targets(), preset)

    torch.manual_seed(0)
    clip = masked_decoder.ClipOutput(theirs[-1], tuple(theirs[:-1]), embeddings=torch.zeros(0))
    expected = mask2former_loss.losses(clip, targets(), preset)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("layers", ["all", "last"])
def test_on_identical_frames_the_cross_frame_term_is_the_main_term(layers: str) -> None:
    still = output()
    same = IfrOutput(
        Prediction(still.final.class_logits, still.final.kernels[:, :1].expand(-1, T, -1, -1)),
        tuple(Prediction(p.class_logits, p.kernels[:, :1].expand(-1, T, -1, -1)) for p in still.auxiliary),
        still.pixels[:, :1].expand(-1, T, -1, -1, -1),
    )
    none = replace(PRESET, cross_frame_weight=0.0)
    weight = replace(PRESET, cross_frame_weight=0.5, cross_frame_layers=layers)
    last = IfrOutput(same.final, (), same.pixels)

    main, extended = losses(same, targets(still=True), none), losses(same, targets(still=True), weight)

    initial = losses(IfrOutput(same.auxiliary[0], (), same.pixels), targets(still=True), none)
    final = losses(last, targets(still=True), none)
    for name in ("bce", "dice"):
        carried = main[name] - initial[name] if layers == "all" else final[name]
        torch.testing.assert_close(extended[name], main[name] + 0.5 * (T - 1) * carried)
    torch.testing.assert_close(extended["class"], main["class"])


def test_the_initial_queries_never_carry_the_cross_frame_term() -> None:
    weights = cross_frame_weights(L, T, PRESET)

    assert torch.equal(weights[0, 0], torch.eye(T))
    assert torch.equal(weights[1, 0].diagonal(), torch.ones(T))
    assert weights[1, 0, 0, 1] == pytest.approx(PRESET.cross_frame_weight)


def test_an_object_absent_on_a_frame_asks_for_an_empty_mask_there() -> None:
    made = output()
    absent = [replace_masks(target, False) for target in targets()]
    present = [replace_masks(target, True) for target in targets()]
    low = IfrOutput(made.final, made.auxiliary, made.pixels * 0 - 1)

    assert losses(low, absent, PRESET)["bce"] != losses(low, present, PRESET)["bce"]


def replace_masks(target: ClipTargets, value: bool) -> ClipTargets:
    masks = target.masks.clone()
    masks[:, 1] = value
    return ClipTargets(target.labels, masks)


def test_a_clip_without_objects_still_teaches_classes() -> None:
    empty = ClipTargets(torch.zeros(0, dtype=torch.long), torch.zeros(0, T, 16, 24, dtype=torch.bool))

    found = losses(output(), [empty, empty], PRESET)

    assert found["class"] > 0
    assert found["bce"] == found["dice"] == 0


def test_class_probabilities_leave_no_object_out() -> None:
    logits = torch.randn(Q, K + 1)

    assert class_probs(logits, replace(PRESET, class_head="softmax")).shape == (Q, K)
    torch.testing.assert_close(class_probs(logits[:, :K], PRESET), logits[:, :K].sigmoid())
