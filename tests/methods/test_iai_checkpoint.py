"""Published files as an IAI: names and shapes by hand, strict both ways, and image models that stay what they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import iai_networks
import numpy as np
import pytest
import torch
from iai_networks import BACKBONE, SIZES, condinst, enliven, image_file, network, released_file
from torch import Tensor, nn

from vistool.errors import InputError, WeightsError
from vistool.methods.iai.checkpoint import convert, preset_name
from vistool.methods.iai.inference import build, probe
from vistool.methods.iai.layout import released
from vistool.methods.iai.network import Iai
from vistool.methods.iai.presets import PRESETS, Preset
from vistool.nn.backbones import MSRA, Backbone
from vistool.nn.detector import Detections
from vistool.nn.mask_rcnn import names as mask_rcnn_names
from vistool.nn.mask_rcnn.network import MaskRcnn
from vistool.nn.mask_rcnn.sizes import MaskRcnnSizes
from vistool.weights.categories import category_list
from vistool.weights.foreign import Foreign

LAYER = "lstt.LSTT.layers.0."
CHANNELS = tuple(BACKBONE["hidden_sizes"])


def association_shapes(ids: int, channels: int = 2048) -> dict[str, tuple[int, ...]]:
    """What stands in released files beside backbone and image model, by hand."""
    linear = [f"self_attn.{name}" for name in ("linear_Q", "linear_K", "linear_V", "projection")]
    linear += ["linear_Q", "linear_V", "long_term_attn.projection", "short_term_attn.fc"]
    weights: dict[str, tuple[int, ...]] = {
        "encoder_projector": (256, channels, 1, 1),
        "backbone_projector": (channels - 512, channels, 1, 1),
        "lstt.patch_wise_id_bank": (256, ids + 1, 33, 33),
        **{LAYER + name: (256, 256) for name in linear},
        f"{LAYER}short_term_attn.relative_emb": (450, 128, 1, 1),
        f"{LAYER}linear1": (1024, 256),
        f"{LAYER}linear2": (256, 1024),
        **{f"{LAYER}norm{number}": (256,) for number in (1, 2, 3)},
        f"{LAYER}activation.gn": (1024,),
        "lstt.LSTT.decoder_norms.0": (256,),
    }
    shapes = {f"{name}.weight": shape for name, shape in weights.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in weights.items()}
    shapes |= {f"{LAYER}activation.GCT.{part}": (1, 1024, 1, 1) for part in ("alpha", "beta", "gamma")}
    return shapes | {
        f"{LAYER}short_term_attn.V_bias": (1, 2, 128, 225, 1),
        f"{LAYER}activation.conv.weight": (1024, 1, 5, 5),
    }


@pytest.mark.parametrize("name", ["r50-ytvis2019", "r50-ovis"])
def test_a_released_file_has_the_names_and_shapes_that_are_written_down(name: str) -> None:
    with torch.device("meta"):
        made = Iai(PRESETS[name])
    tensors = {key: tuple(tensor.shape) for key, tensor in released(made.association.state_dict()).items()}

    assert tensors == association_shapes(PRESETS[name].max_ids)
    assert len([key for key in tensors if key.startswith("lstt.")]) == 39


def test_a_released_file_becomes_the_network_it_was_and_back() -> None:
    published = released_file(network())

    converted = convert(Foreign(published), "iai")
    again = released_file(build(converted))

    assert again.keys() == published.keys()
    assert [key for key in published if not torch.equal(again[key], published[key])] == []
    assert Preset(**converted.info.sizes) == iai_networks.PRESET
    assert converted.info.pixel_mean == (123.68, 116.779, 103.939)
    assert converted.info.pixel_std == (58.393, 57.12, 57.375)
    assert (converted.info.short_side, converted.info.untrained) == (360, "")


def test_a_projection_of_another_width_is_read_off_the_file() -> None:
    made = Iai(replace(iai_networks.PRESET, class_channels=5))

    sizes = convert(Foreign(released_file(made)), "iai").info.sizes

    assert sizes["class_channels"] == 5


def given(name: str, *shape: int) -> Callable[[dict[str, Tensor]], None]:
    """Puts a tensor of this shape into a file."""
    return lambda file: file.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.pop(LAYER + "linear1.weight"), f"misses tensors: `{LAYER}linear1.weight`"),
        (given("lstt.LSTT.layers.1.x", 1), "has unknown tensors: `lstt.LSTT.layers.1.x`"),
        (given("extra", 1), "has unknown tensors: `extra`"),
        (given("encoder_projector.bias", 3), "`encoder_projector.bias` (has shape (3,)"),
        (given(LAYER + "short_term_attn.V_bias", 3), "V_bias` (has shape (3,)"),
        (given("lstt.patch_wise_id_bank.weight", 16, 7, 33, 33), "has 6 and the background"),
        (given("neck.lateral_convs.2.conv.weight", 64, 47, 1, 1), "the pyramid reads 47"),
    ],
    ids=["missing", "a second layer", "left over", "misshaped", "no windows", "identities", "widths"],
)
def test_a_file_that_does_not_fit_is_refused(change: Callable[[dict[str, Tensor]], object], told: str) -> None:
    published = released_file(network())
    change(published)

    with pytest.raises(WeightsError) as error:
        convert(Foreign(published), "iai")

    assert told in error.value.message


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(WeightsError, match="unknown layout"):
        convert(Foreign({}), "seqformer")


def same_detections(one: Detections, other: Detections) -> None:
    names = ("class_scores", "quality", "boxes", "levels", "handles")
    for name in names:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "bias", "backbone"),
    [("iai", False, "resnet"), ("mmdet-condinst", True, "resnet"), ("adelaidet-condinst", True, "resnet" + MSRA)],
    ids=["iai", "mmdet", "adelaidet"],
)
@pytest.mark.parametrize("dim", [32, 64], ids=["narrower than C5", "wider than C5"])
def test_a_converted_image_model_detects_what_it_did(layout: str, bias: bool, backbone: str, dim: int) -> None:
    torch.manual_seed(1)
    sizes = replace(SIZES, num_ids=0, tower_bias=bias, dim=dim)
    backbone_sizes = {**BACKBONE, "hidden_sizes": [16, 24, 32, 80]}
    image = condinst(sizes, Backbone(backbone, sizes=backbone_sizes), (16, 24, 32, 80))
    frame = torch.randn(1, 3, 128, 160)

    converted = convert(Foreign(image_file(image, layout)), layout)
    made = build(converted)

    with torch.inference_mode():
        own = image["detector"].detect(image["backbone"](frame), (128, 160))
        *finer, c5 = made.look(frame)
        same_detections(made.detector.detect((*finer, made.associate(c5, None).c5), (128, 160)), own)
    assert converted.info.sizes["identities"] == "overlap"
    assert "overlap" in converted.info.untrained
    assert (made.preset.id_head, made.preset.class_projector) == (False, dim == 32)


def mask_rcnn_file(classes: int) -> tuple[nn.ModuleDict, dict[str, Tensor]]:
    torch.manual_seed(2)
    sizes = MaskRcnnSizes(num_classes=classes, num_ids=0, dim=16, box_dim=24, mask_convolutions=1, mask_dim=8)
    made = nn.ModuleDict({"backbone": Backbone("resnet", sizes=BACKBONE), "detector": MaskRcnn(sizes, CHANNELS)})
    enliven(made)
    return made.eval(), mask_rcnn_names.to_published(made.state_dict())


def test_a_converted_mask_rcnn_detects_what_it_did() -> None:
    image, published = mask_rcnn_file(classes=5)
    frame = torch.randn(1, 3, 128, 160)

    made = build(convert(Foreign(published), "torchvision-maskrcnn"))

    with torch.inference_mode():
        own = image["detector"].detect(image["backbone"](frame), (128, 160))
        *finer, c5 = made.look(frame)
        same_detections(made.detector.detect((*finer, made.associate(c5, None).c5), (128, 160)), own)


def test_of_a_file_with_a_class_for_every_id_of_coco_those_that_exist_are_kept() -> None:
    published = mask_rcnn_file(classes=90)[1]

    converted = convert(Foreign(published), "torchvision-maskrcnn")

    ids = [category.id for category in category_list("coco")]
    wanted = published["roi_heads.box_predictor.cls_score.bias"][[0, *ids]]
    assert torch.equal(converted.tensors["detector.box_head.class_logits.bias"], wanted)
    assert len(converted.info.categories) == 80


def test_a_file_takes_the_thresholds_that_the_release_has_for_it() -> None:
    crowded = convert(Foreign(released_file(Iai(replace(iai_networks.PRESET, num_classes=25)))), "iai").info.sizes

    assert (crowded["max_per_frame"], crowded["class_threshold"], crowded["nms_pre"]) == (50, 0.1, 200)
    assert PRESETS["r101-ytvis2019"].class_threshold == 0.05


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_its_sizes(name: str) -> None:
    assert preset_name(replace(PRESETS[name], long_side=1)) == name
    assert preset_name(replace(PRESETS[name], dim=24)) == "custom"


class TestProbe:
    @staticmethod
    def checkpoint() -> Any:
        return convert(Foreign(released_file(network(1))), "iai")

    @staticmethod
    def frames(size_hw: tuple[int, int]) -> np.ndarray:
        random = torch.Generator().manual_seed(4)
        return torch.randn(2, 3, *size_hw, generator=random).numpy()

    def test_arrays_have_the_size_of_the_frames_whatever_the_network_pads(self) -> None:
        found = probe(self.checkpoint(), {"frames": self.frames((50, 70))})

        assert {name.rpartition("_")[0] for name in found} == {
            "ids", "labels", "scores", "boxes_xyxy", "masks", "association",
        }  # fmt: skip
        count = len(found["ids_1"])
        assert count
        assert (found["masks_1"].shape, found["masks_1"].dtype) == ((count, 50, 70), np.bool_)
        assert (found["ids_1"].dtype, found["labels_1"].dtype) == (np.int64, np.int64)
        assert found["association_1"].shape == (16, 2, 3)
        assert found["masks_1"].sum(0).max() <= 1
        assert found["boxes_xyxy_1"].max(0).tolist()[2] <= 70

    def test_two_probes_agree_and_padding_hides_what_lies_in_it(self) -> None:
        frames = self.frames((64, 96))
        padding = np.zeros((2, 64, 96), np.bool_)
        padding[:, 50:], padding[:, :, 70:] = True, True

        plain, hidden = (
            probe(self.checkpoint(), {"frames": frames}),
            probe(self.checkpoint(), {"frames": frames, "padding": padding}),
        )

        again = probe(self.checkpoint(), {"frames": frames})
        assert [name for name in plain if not np.array_equal(plain[name], again[name])] == []
        assert not hidden["masks_0"][:, padding[0]].any()
        assert hidden["boxes_xyxy_0"].max(0).tolist()[2:] <= [70, 50]

    @pytest.mark.parametrize(
        "where", [np.s_[:, :3], np.s_[0, 60:], np.s_[:, 3:5, 3:5]], ids=["above", "once", "inside"]
    )
    def test_padding_elsewhere_is_refused(self, where: Any) -> None:
        padding = np.zeros((2, 64, 96), np.bool_)
        padding[where] = True

        with pytest.raises(InputError, match="right and below"):
            probe(self.checkpoint(), {"frames": self.frames((64, 96)), "padding": padding})

    def test_padding_of_another_shape_is_refused(self) -> None:
        with pytest.raises(InputError, match="padding"):
            probe(self.checkpoint(), {"frames": self.frames((64, 96)), "padding": np.zeros((64, 96), np.bool_)})
