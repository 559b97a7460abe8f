"""Stage by stage against recorded outputs of torchvision, with weights that everyone can make, moved by our converter.

`mask_rcnn_recorded.npz` was made with torchvision 0.28 on a CPU: its `MaskRCNN` on a `ResNet` of one `BasicBlock` a
stage with frozen norms, of the sizes and weights of `mask_rcnn_scenes.published`, with 100 anchors a level and 60
proposals, on the frames of `mask_rcnn_scenes.images`. Proposals, class logits, deltas and what it finds (score above
0.05, suppression by class) are of the first frame; masks are of every fifth that it finds, pasted on 96 x 160 pixels,
read at every fourth from the third on. Losses: both frames with `two_targets`, all anchors and proposals sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import mask_rcnn_scenes as scenes
import numpy as np
import pytest
import torch
from torch import Tensor

from vistool.nn.backbones import Backbone
from vistool.nn.detector import Detections
from vistool.nn.mask_rcnn.names import from_published
from vistool.nn.mask_rcnn.network import MaskRcnn
from vistool.nn.mask_rcnn.rpn import proposals

TOLERANCE = {"atol": 1e-3, "rtol": 1e-4}
FRAME = (90, 150)
EVERY = 10**6  # more than there are


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, Tensor]:
    with np.load(Path(__file__).with_name("mask_rcnn_recorded.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def networks() -> tuple[Backbone, MaskRcnn]:
    found = from_published(scenes.published())
    sizes = replace(
        found.sizes,
        proposals_per_level=100,
        proposals=60,
        training_proposals_per_level=100,
        training_proposals=60,
        anchor_samples=EVERY,
        proposal_samples=EVERY,
    )
    backbone = Backbone(found.backbone, sizes=found.backbone_sizes).eval()
    detector = MaskRcnn(sizes, found.in_channels).eval()
    for module, prefix in ((backbone, "backbone."), (detector, "detector.")):
        own = {name.removeprefix(prefix): t for name, t in found.tensors.items() if name.startswith(prefix)}
        module.load_state_dict(own)
    return backbone, detector


@pytest.fixture(scope="module")
def maps(networks: tuple[Backbone, MaskRcnn]) -> tuple[Tensor, ...]:
    """Of both frames."""
    with torch.no_grad():
        found: tuple[Tensor, ...] = networks[0](scenes.images())
    return found


@pytest.fixture(scope="module")
def found(networks: tuple[Backbone, MaskRcnn], maps: tuple[Tensor, ...]) -> Detections:
    with torch.no_grad():
        return networks[1].detect(tuple(each[:1] for each in maps), FRAME)


def test_proposals_agree(
    networks: tuple[Backbone, MaskRcnn], maps: tuple[Tensor, ...], recorded: Mapping[str, Tensor]
) -> None:
    with torch.no_grad():
        _, said = networks[1].propose(maps)

    torch.testing.assert_close(proposals(said, 0, FRAME, 100, 60), recorded["proposals"], **TOLERANCE)


def test_classes_and_boxes_of_proposals_agree(
    networks: tuple[Backbone, MaskRcnn], maps: tuple[Tensor, ...], recorded: Mapping[str, Tensor]
) -> None:
    with torch.no_grad():
        pyramid, _ = networks[1].propose(maps)
        output = networks[1].box_output(pyramid, recorded["proposals"], torch.zeros(60, dtype=torch.int64))

    torch.testing.assert_close(output.class_logits, recorded["class_logits"], **TOLERANCE)
    torch.testing.assert_close(output.deltas.flatten(1), recorded["deltas"], **TOLERANCE)


def same(found: Detections, box: Tensor, label: int, score: float) -> list[int]:
    """Rows of ours that are one of theirs, whose classes begin at 1."""
    scores, labels = found.class_scores.max(-1)
    near = (found.handles[:, :4] - box).abs().amax(-1) < 1e-2
    return (near & (labels + 1 == label) & ((scores - score).abs() < 1e-4)).nonzero()[:, 0].tolist()


def test_all_that_is_found_without_doubt_is_among_the_candidates(
    found: Detections, recorded: Mapping[str, Tensor]
) -> None:
    """A candidate has its best class alone, which every score above one half is."""
    sure = recorded["scores"] > 0.5

    rows = [
        same(found, box, int(label), float(score))
        for box, label, score in zip(*(recorded[name][sure] for name in ("boxes", "labels", "scores")), strict=True)
    ]

    assert len(rows) > 20
    assert [len(row) for row in rows] == [1] * len(rows)


def test_masks_agree(networks: tuple[Backbone, MaskRcnn], found: Detections, recorded: Mapping[str, Tensor]) -> None:
    theirs = zip(*(recorded[name][::5] for name in ("boxes", "labels", "scores")), recorded["masks"], strict=True)
    pairs = [(row, mask) for box, label, score, mask in theirs for row in same(found, box, int(label), float(score))]

    with torch.no_grad():
        masks = networks[1].masks(found, torch.tensor([row for row, _ in pairs]))

    assert len(pairs) > 5
    torch.testing.assert_close(masks, torch.stack([mask for _, mask in pairs]), **TOLERANCE)
    assert ((masks > 0.5).flatten(1).any(-1)).sum() >= 3


def test_losses_agree(
    networks: tuple[Backbone, MaskRcnn], maps: tuple[Tensor, ...], recorded: Mapping[str, Tensor]
) -> None:
    with torch.no_grad():
        terms = networks[1].losses(maps, scenes.two_targets())

    theirs = {
        "objectness": recorded["loss_objectness"],
        "proposal": recorded["loss_rpn_box_reg"],
        "class": recorded["loss_classifier"],
        "box": recorded["loss_box_reg"],
        "mask": recorded["loss_mask"],
        "id": torch.tensor(0.0),  # it has no such head
    }
    torch.testing.assert_close(dict(terms), theirs, atol=1e-5, rtol=1e-4)
