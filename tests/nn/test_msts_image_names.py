"""Deformable DETR's files as a SeqFormer: from its makers, from transformers in memory, and from the hub."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import deformable_twin
import pytest
import torch
from torch import Tensor

from vistool.errors import WeightsError
from vistool.methods.msts.checkpoint import convert
from vistool.methods.msts.network import Msts
from vistool.methods.msts.presets import Preset
from vistool.weights.foreign import Foreign, read_foreign

Tensors = dict[str, Tensor]

D2_TO_TORCHVISION = [
    (r"backbone\.0\.backbone\.stem\.conv1\.norm\.", "backbone.0.body.bn1."),
    (r"backbone\.0\.backbone\.stem\.conv1\.", "backbone.0.body.conv1."),
    (r"backbone\.0\.backbone\.res2\.", "backbone.0.body.layer1."),
    (r"backbone\.0\.backbone\.res3\.", "backbone.0.body.layer2."),
    (r"backbone\.0\.backbone\.res4\.", "backbone.0.body.layer3."),
    (r"backbone\.0\.backbone\.res5\.", "backbone.0.body.layer4."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", r".downsample.1."),
    (r"\.shortcut\.", r".downsample.0."),
]


def differing(a: Tensors, b: Tensors) -> list[str]:
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


@cache
def of_its_makers() -> Tensors:
    """The weights of transformers' Deformable DETR as the files of its makers have them."""
    named = {}
    for key, tensor in deformable_twin.as_published(deformable_twin.twin()).items():
        name = key.removeprefix("detr.detr.")
        for pattern, other in D2_TO_TORCHVISION:
            name = re.sub(pattern, other, name)
        named[name] = tensor
    return named


@cache
def of_transformers() -> Tensors:
    return dict(deformable_twin.twin().state_dict())


@cache
def of_an_early_file() -> Tensors:
    """As `save_pretrained` wrote them with a backbone that had torchvision's names, the box heads once."""
    body = {k.removeprefix("backbone.0.body."): t for k, t in of_its_makers().items() if k.startswith("backbone.0.")}
    named = {f"model.backbone.conv_encoder.model.{key}": tensor for key, tensor in body.items()}
    for key, tensor in of_transformers().items():
        if not key.startswith(("model.backbone.", "bbox_embed.")):
            named[key.replace(".mlp.fc", ".fc").replace(".o_proj.", ".out_proj.")] = tensor
    return named


FILES = {
    "its makers": (of_its_makers, "deformable-detr"),
    "transformers": (of_transformers, "transformers-deformable-detr"),
    "the hub": (of_an_early_file, "transformers-deformable-detr"),
}


@pytest.mark.parametrize("origin", FILES)
def test_on_one_frame_deformable_detr_says_what_it_says_in_transformers(origin: str) -> None:
    tensors, layout = FILES[origin]
    made = convert(Foreign(tensors()), layout)
    network = Msts(Preset(**made.info.sizes)).eval()
    network.load_state_dict(made.tensors)
    frames = torch.randn(2, 3, 64, 96)

    with torch.no_grad():
        theirs = deformable_twin.twin()(frames)
        once = network(frames[:, None]).layers[-1]
        often = network(frames[:, None].expand(-1, 3, -1, -1, -1)).layers[-1]

    torch.testing.assert_close(once.class_logits, theirs.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(once.boxes[:, 0], theirs.pred_boxes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(often.class_logits, once.class_logits, atol=1e-5, rtol=1e-5)


def test_what_the_library_saves_is_read(tmp_path: Path) -> None:
    deformable_twin.twin().save_pretrained(tmp_path)

    saved = convert(read_foreign(tmp_path), "transformers-deformable-detr")

    in_memory = convert(Foreign(of_transformers()), "transformers-deformable-detr")
    assert differing(dict(saved.tensors), dict(in_memory.tensors)) == []


@pytest.mark.parametrize("origin", FILES)
def test_what_deformable_detr_lacks_is_said_and_the_same_each_time(origin: str) -> None:
    tensors, layout = FILES[origin]
    first, second = (convert(Foreign(tensors()), layout) for _ in range(2))

    assert differing(dict(first.tensors), dict(second.tensors)) == []
    assert first.info.trained_on == "images"
    assert first.info.untrained == "what makes masks is random"
    assert first.tensors["controller.layers.2.weight"].abs().max() > 0


def test_boxes_that_are_not_refined_from_layer_to_layer_are_said_to_be_so() -> None:
    alone = {k: t for k, t in of_its_makers().items() if not k.startswith("transformer.decoder.bbox_embed.")}

    assert "not refined" in convert(Foreign(alone), "deformable-detr").info.untrained


@pytest.mark.parametrize("origin", FILES)
def test_left_over_tensors_of_deformable_detr_are_named(origin: str) -> None:
    tensors, layout = FILES[origin]

    with pytest.raises(WeightsError, match=r"unknown tensors: `enc_output\.weight`"):
        convert(Foreign(tensors() | {"enc_output.weight": torch.zeros(1)}), layout)
