"""The discriminator of MS-STS: what it looks at, and who learns from what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vistool.methods.msts.discriminator import Discriminator, adversarial_losses
from vistool.methods.msts.learning import LearningRules
from vistool.nn.training_only import kept

D, F = 8, 3
RULES = LearningRules(adv_weight=0.5, l1_weight=2.0)
SIZES = {
    (360, 640): [(45, 80), (23, 40), (12, 20)],
    (96, 160): [(12, 20), (6, 10), (3, 5)],
    (90, 122): [(12, 16), (6, 8), (3, 4)],
}


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discriminator(dim: int = D) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(dim)


def features(size_hw: tuple[int, int] = (96, 160), *, dim: int = D) -> list[Tensor]:
    return [torch.randn(F, dim, *size, generator=random(1)).requires_grad_() for size in SIZES[size_hw]]


def frames(size_hw: tuple[int, int] = (96, 160)) -> Tensor:
    return torch.randn(F, 3, *size_hw, generator=random(2))


def masks(size_hw: tuple[int, int] = (96, 160), *, seed: int = 3) -> Tensor:
    """Logits at stride 4."""
    size = (-(-size_hw[0] // 4), -(-size_hw[1] // 4))
    return torch.randn(F, *size, generator=random(seed)).requires_grad_()


def test_at_the_width_of_the_paper_it_has_the_parameters_of_the_released_one() -> None:
    assert sum(weight.numel() for weight in Discriminator(256).parameters()) == 2_891_008


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_it_answers_for_every_pixel_of_the_coarse_level(size_hw: tuple[int, int]) -> None:
    fine, *_, coarse = SIZES[size_hw]
    pictures = torch.zeros(F, 3, *fine), torch.zeros(F, 1, *fine)

    logits = discriminator()(pictures[0], features(size_hw), pictures[1])

    assert logits.shape == (F, *coarse)


def test_it_equals_a_plain_reading_of_the_layers() -> None:
    own, maps = discriminator(), features()
    frame, mask = torch.randn(F, 3, 12, 20), torch.rand(F, 1, 12, 20)
    pool = nn.MaxPool2d(3, 2, 1)

    def norm(x: Tensor, scale: nn.Module) -> Tensor:
        normal = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return normal * scale.weight[:, None, None] + scale.bias[:, None, None]

    x = pool(own.fine(torch.cat([frame, maps[0], mask], dim=1))) + maps[1]
    x = own.coarse[0](pool(own.middle(x)) + maps[2])
    for convolution, scale in zip(own.coarse[1:4], own.norms, strict=True):
        x = norm(convolution(nn.functional.leaky_relu(x, 0.2)), scale)
    x = own.coarse[4](nn.functional.leaky_relu(x, 0.2))

    torch.testing.assert_close(own(frame, maps, mask), x[:, 0])


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_the_terms_are_those_of_the_formulas(size_hw: tuple[int, int]) -> None:
    own, maps = discriminator(), features(size_hw)
    predicted, true = masks(size_hw).sigmoid(), (masks(size_hw, seed=4) > 0).float()
    fine = SIZES[size_hw][0]

    found = adversarial_losses(own, frames(size_hw), maps, predicted, true, RULES)

    def shrunk(picture: Tensor, stride: int) -> Tensor:
        """Means of squares, of which those beyond the edges are zeros."""
        whole = torch.zeros(*picture.shape[:-2], fine[0] * stride, fine[1] * stride)
        whole[..., : picture.shape[-2], : picture.shape[-1]] = picture
        return whole.unflatten(-1, (-1, stride)).unflatten(-3, (-1, stride)).mean((-3, -1))

    small = shrunk(frames(size_hw), 8)
    says = [own(small, maps, shrunk(mask, 2)[:, None]).sigmoid() for mask in (true, predicted)]
    wanted = {
        "discriminator": -(says[0].log().mean() + (1 - says[1]).log().mean()),
        "adversarial": -says[1].log().mean(),
        "adversarial_l1": 2.0 * (says[0] - says[1]).abs().mean(),
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], 0.5 * value)


def test_its_own_term_moves_it_alone_and_the_others_all_but_it() -> None:
    own, maps, logits = discriminator(), features(), masks()
    true = (masks(seed=4) > 0).float()
    found = adversarial_losses(own, frames(), maps, logits.sigmoid(), true, RULES)

    found.pop("discriminator").backward()

    assert all(weight.grad is not None and weight.grad.any() for weight in own.parameters())
    assert [each.grad for each in (*maps, logits)] == [None] * 4

    own.zero_grad()
    for term in found.values():
        for each in (*maps, logits):
            each.grad = None
        term.backward(retain_graph=True)
        assert all(each.grad is not None and each.grad.any() for each in (*maps, logits))
        assert all(weight.grad is None for weight in own.parameters())


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_saturated_answers_and_masks_have_finite_losses_and_gradients(scale: float) -> None:
    own, maps = discriminator(), features()
    nn.init.constant_(own.coarse[4].weight, scale)
    logits = (1e4 * masks()).detach().requires_grad_()

    found = adversarial_losses(own, frames(), maps, logits.sigmoid(), torch.ones_like(logits).detach(), RULES)
    torch.stack(list(found.values())).sum().backward()

    assert all(value.isfinite() for value in found.values())
    assert all(each.grad.isfinite().all() for each in (*maps, logits, *own.parameters()))


def test_without_the_weight_of_the_difference_there_is_no_such_term() -> None:
    found = adversarial_losses(
        discriminator(), frames(), features(), masks().sigmoid(), masks().sigmoid(), replace(RULES, l1_weight=0.0)
    )

    assert found.keys() == {"discriminator", "adversarial"}


def test_it_learns_to_tell_masks_apart_whatever_stands_beside_them() -> None:
    own, maps = discriminator(32), [each.detach() for each in features(dim=32)]
    true, predicted = (masks(seed=4) > 0).float(), masks(seed=5).sigmoid().detach()
    optimiser = torch.optim.AdamW(own.parameters(), lr=1e-3)
    seen = []

    for _ in range(40):
        term = adversarial_losses(own, frames(), maps, predicted, true, RULES)["discriminator"]
        optimiser.zero_grad()
        term.backward()
        optimiser.step()
        seen.append(float(term.detach()))

    assert seen[-1] < 0.2 * seen[0]


@pytest.mark.parametrize("dim", [8, 64, 256])
def test_a_fresh_one_hears_the_mask_as_much_as_all_the_rest(dim: int) -> None:
    own = discriminator(dim)
    rest, mask = torch.randn(4, 3 + dim, 12, 20), torch.randn(4, 1, 12, 20)

    of_rest = own.fine(torch.cat([rest, torch.zeros_like(mask)], dim=1)).std()
    of_mask = own.fine(torch.cat([torch.zeros_like(rest), mask], dim=1)).std()

    assert 0.7 < of_mask / of_rest < 1.4


def test_no_checkpoint_holds_it() -> None:
    network = nn.ModuleDict({"discriminator": discriminator(), "discriminators": nn.Linear(2, 2)})

    assert kept(network).keys() == {"discriminators.weight", "discriminators.bias"}
