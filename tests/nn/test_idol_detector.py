"""IDOL's detector: masks against their plain formula, and what every image model promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import deformable_twin
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.nn import backbones
from vistool.nn.dynamic_masks import aligned_bilinear
from vistool.nn.idol_detector.names import from_published
from vistool.nn.idol_detector.network import IdolDetector
from vistool.nn.idol_detector.sizes import PRESETS
from vistool.nn.image_model import FrameObjects, TrainingOutput

SIZES = deformable_twin.SIZES


@pytest.fixture(scope="module", autouse=True)
def small_resnet() -> Iterator[None]:
    """A ResNet of the published kind, but small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.RESNETS, SIZES.backbone, deformable_twin.BOTTLENECKS)
        yield


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """All tensors of a small detector, filled, as a file of IDOL has them."""
    return deformable_twin.as_published(deformable_twin.twin()) | deformable_twin.rest_published()


@pytest.fixture(scope="module")
def network(published: dict[str, Tensor]) -> IdolDetector:
    sizes, tensors = from_published(published)
    network = IdolDetector(sizes).eval()
    network.load_state_dict(tensors)
    return network


@pytest.fixture
def frames() -> Tensor:
    return torch.randn(2, 3, 70, 90)


def seen(network: IdolDetector, frames: Tensor, padding: Tensor | None = None) -> FrameObjects:
    with torch.no_grad():
        objects = network(frames, padding)
    assert isinstance(objects, FrameObjects)
    return objects


def plain_mask(published: dict[str, Tensor], memory: list[Tensor], query: Tensor, point: tuple[float, float]) -> Tensor:
    """Of one object at a point x, y in pixels, from memory (D, h, w) at strides 8, 16, 32, by the published names."""

    def convolved(name: str, x: Tensor) -> Tensor:
        head = f"detr.mask_head.{name}."
        return F.relu(F.conv2d(x, published[head + "weight"], published[head + "bias"], padding=1))

    def enlarged(x: Tensor, like: Tensor) -> Tensor:
        rows, columns = (torch.arange(n) * m // n for n, m in zip(like.shape[1:], x.shape[1:], strict=True))
        return x[:, rows][:, :, columns]

    fine, middle, coarse = memory
    x = convolved("lay3", coarse)
    x = convolved("lay4", middle + enlarged(x, middle))
    x = convolved("lay2", convolved("lay1", convolved("dcn", fine + enlarged(x, fine))))
    numbers = query
    for layer in range(3):
        head = f"detr.controller.layers.{layer}."
        numbers = F.linear(numbers, published[head + "weight"], published[head + "bias"])
        numbers = F.relu(numbers) if layer < 2 else numbers
    rows, columns = fine.shape[1:]
    dx = point[0] - (8 * torch.arange(columns) + 4)
    dy = point[1] - (8 * torch.arange(rows) + 4)
    x = torch.cat([dx.expand(1, rows, -1), dy[:, None].expand(1, -1, columns), x])
    inputs, hidden = 2 + SIZES.mask_features, SIZES.mask_hidden
    w0, w1, w2, b0, b1, b2 = numbers.split([inputs * hidden, hidden * hidden, hidden, hidden, hidden, 1])
    x = F.relu(F.conv2d(x, w0.view(hidden, inputs, 1, 1), b0))
    x = F.relu(F.conv2d(x, w1.view(hidden, hidden, 1, 1), b1))
    return aligned_bilinear(F.conv2d(x, w2.view(1, hidden, 1, 1), b2), 2)[0]


@pytest.mark.parametrize("frame_hw", [(64, 96), (70, 90)], ids=["as it is", "padded by the network"])
def test_masks_are_those_of_the_published_tensors(
    published: dict[str, Tensor], network: IdolDetector, frame_hw: tuple[int, int]
) -> None:
    frames = torch.randn(1, 3, *frame_hw)
    memory = []
    handle = network.encoder.register_forward_hook(lambda _module, _inputs, output: memory.extend(output.maps()[:3]))
    objects = seen(network, frames)
    handle.remove()
    points = objects.references[0] * torch.tensor([frame_hw[1], frame_hw[0]])

    with torch.no_grad():
        masks = network.masks(objects.embeddings[0], objects.pixels[0], objects.references[0])

    expected = [
        plain_mask(published, [m[0] for m in memory], query, (float(x), float(y)))
        for query, (x, y) in zip(objects.embeddings[0], points, strict=True)
    ]
    height, width = (-(-side // 4) for side in frame_hw)
    torch.testing.assert_close(masks, torch.stack(expected)[:, :height, :width], atol=1e-3, rtol=1e-4)
    assert masks.std() > 1


def test_masks_are_a_quarter_of_the_frame(network: IdolDetector, frames: Tensor) -> None:
    objects = seen(network, frames)

    masks = network.masks(objects.embeddings[0, :3], objects.pixels[0], objects.references[0, :3])

    assert masks.shape == (3, 18, 23)
    assert network.masks(objects.embeddings[0, :0], objects.pixels[0], objects.references[0, :0]).shape == (0, 18, 23)


def test_a_mask_without_a_point_is_refused(network: IdolDetector, frames: Tensor) -> None:
    objects = seen(network, frames)

    with pytest.raises(ValueError, match="references"):
        network.masks(objects.embeddings[0], objects.pixels[0])


def test_frames_of_a_batch_do_not_see_one_another(network: IdolDetector, frames: Tensor) -> None:
    together = seen(network, frames)

    alone = seen(network, frames[1:])

    torch.testing.assert_close(together.boxes[1:], alone.boxes)
    torch.testing.assert_close(together.class_logits[1:], alone.class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.pixels[1:], alone.pixels, atol=1e-5, rtol=1e-5)


def test_boxes_and_references_are_shares_of_the_given_frame_with_its_padding(
    network: IdolDetector, frames: Tensor
) -> None:
    """70 x 90 pixels in a tensor of 96 x 96: what our own padding does, done by the caller."""
    padding = F.pad(torch.zeros(2, 70, 90, dtype=torch.bool), (0, 6, 0, 26), value=True)

    given = seen(network, F.pad(frames, (0, 6, 0, 26)), padding)

    own = seen(network, frames)
    share = torch.tensor([90 / 96, 70 / 96])
    torch.testing.assert_close(given.boxes, own.boxes * share.repeat(2))
    torch.testing.assert_close(given.references, own.references * share)
    torch.testing.assert_close(
        network.masks(given.embeddings[0], given.pixels[0], given.references[0])[:, :18, :23],
        network.masks(own.embeddings[0], own.pixels[0], own.references[0]),
        atol=1e-3,
        rtol=1e-4,
    )


def test_a_multiple_of_one_pads_nothing(network: IdolDetector) -> None:
    small = IdolDetector(replace(SIZES, multiple=1)).eval()
    small.load_state_dict(network.state_dict())

    pixels = seen(small, torch.randn(1, 3, 70, 90)).pixels

    assert pixels.shape[-2:] == (9, 12)


def test_classes_and_association_are_heads_on_the_embeddings(network: IdolDetector, frames: Tensor) -> None:
    objects = seen(network, frames)

    with torch.no_grad():
        assert torch.equal(network.classes(objects.embeddings), objects.class_logits)
        association = network.association(objects)

    assert association.shape == objects.embeddings.shape
    assert association.norm(dim=-1).std() > 0.01  # not of length one


def test_training_gives_every_layer_and_what_its_masks_are_drawn_from(frames: Tensor) -> None:
    network = IdolDetector(PRESETS["tiny"]).train()
    padding = torch.zeros(2, 70, 90, dtype=torch.bool)
    padding[1, :, 45:] = True

    output = network(frames, padding)

    assert isinstance(output, TrainingOutput)
    references = network.layer_references(output.layers, padding)
    assert len(output.layers) == len(references) == 4
    assert torch.equal(output.layers[-1].class_logits, output.objects.class_logits)
    assert torch.equal(references[-1], output.objects.references)
    first = network.decoder.first_references()
    torch.testing.assert_close(references[0], torch.stack([first, first * torch.tensor([0.5, 1.0])]))


def test_every_parameter_is_trained(frames: Tensor) -> None:
    network = IdolDetector(PRESETS["tiny"]).train()
    output = network(frames)
    objects = output.objects
    references = network.layer_references(output.layers)

    masks = network.masks(objects.embeddings[0], objects.pixels[0], references[-1][0])
    layers = sum(layer.class_logits.sum() + layer.boxes.sum() for layer in output.layers)
    (masks.sum() + layers + network.association(objects).sum()).backward()

    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_classes_begin_at_one_per_cent() -> None:
    network = IdolDetector(PRESETS["tiny"])

    assert network.classes(torch.zeros(64)).sigmoid().tolist() == pytest.approx([0.01] * 8)


def test_denoising_queries_are_refused(network: IdolDetector, frames: Tensor) -> None:
    with pytest.raises(ValueError, match="denoising"):
        network(frames, noised=object())
