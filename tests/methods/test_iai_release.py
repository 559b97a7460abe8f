"""The online pass as a whole against a plain reading of the release: memory, objects, identities and paint by loops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import iai_networks
import iai_twin
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vistool.methods.iai.checkpoint import convert
from vistool.methods.iai.inference import probe
from vistool.methods.iai.memory import Memory, Remembered
from vistool.methods.iai.network import Iai
from vistool.nn.boxes import pairwise_iou
from vistool.nn.dynamic_masks import aligned_bilinear
from vistool.weights.foreign import Foreign

FRAMES, H, W = 7, 64, 96
IDS = iai_networks.SIZES.num_ids


def plain_pass(network: Iai, published: dict[str, Tensor], frames: Tensor) -> list[dict[str, Any]]:
    """What the release says of each frame; image model and backbone are ours."""
    given, last_kept = 0, 0
    short: Remembered | None = None
    long: list[Remembered] = []
    said = []
    for t, frame in enumerate(frames):
        *finer, c5 = network.look(frame[None])
        seen = iai_twin.block(published, c5, read(short, long), heads=2, association="both")
        found = network.detector.detect((*finer, seen.c5), (H, W))
        rows = chosen(found, first=t == 0)
        probs = network.detector.masks(found, torch.tensor(rows, dtype=torch.int64)) if rows else torch.zeros(0, 1, 1)
        rows, masks = visible(rows, probs)
        before, ids = given, []
        for k in assigned(found.id_scores[rows].numpy()):
            if k < before:
                ids.append(k)
            else:
                ids.append(given)
                given = min(given + 1, IDS - 2)
        stack = torch.zeros(IDS + 1, H, W, dtype=torch.bool)
        stack[IDS] = True
        for number, mask in zip(ids, masks, strict=True):
            stack[number] = mask
            stack[IDS][mask] = False
        hidden = seen.hidden + iai_twin.embedding(published, stack).flatten(1).T
        name = iai_twin.LAYER + "linear_V"
        short = Remembered(seen.queries, hidden @ published[f"{name}.weight"].T + published[f"{name}.bias"])
        new = any(number >= before for number in ids)
        if t == 0 or t + 1 - last_kept >= 3 or new:
            long.append(short)
            last_kept = t + 1 if t else 0
        scores = found.class_scores[rows] * found.quality[rows, None]
        said.append({"ids": ids, "masks": masks, "scores": scores, "boxes": found.boxes[rows], "mixed": seen.mixed[0]})
    return said


def read(short: Remembered | None, long: list[Remembered]) -> Memory | None:
    """A memory that holds just this."""
    if short is None:
        return None
    memory = Memory(interval=1, most=None)
    for frame in long:
        memory.add(frame, new_objects=False)
    memory._short = short
    return memory


def chosen(found: Any, *, first: bool) -> list[int]:
    """Thresholds, ranking and suppression, row by row; best first."""
    ranked = []
    for row in range(len(found.boxes)):
        a, b = float(found.class_scores[row].max()), float(found.id_scores[row].max())
        if a > 0.1 and b > 0.1:
            ranked.append(((a + 0.5 * b if first else 0.5 * a + b) * float(found.quality[row]), row))
    boxes = found.boxes.clamp(min=0).minimum(torch.tensor([W, H, W, H]))
    overlaps = pairwise_iou(boxes, boxes)
    kept: list[int] = []
    for _, row in sorted(ranked, reverse=True):
        if len(kept) < 10 and all(overlaps[row, other] <= 0.5 for other in kept):
            kept.append(row)
    return kept


def visible(rows: list[int], probs: Tensor) -> tuple[list[int], list[Tensor]]:
    """Masks at the size of the input without the pixels of better ones."""
    claimed = torch.zeros(H, W, dtype=torch.bool)
    kept, masks = [], []
    for row, prob in zip(rows, probs, strict=True):
        mask = aligned_bilinear(prob[None], 4)[0] > 0.5
        free = mask & ~claimed
        claimed |= mask
        if mask.any() and free.sum() / mask.sum() >= 0.1:
            kept.append(row)
            masks.append(free)
    return kept, masks


def assigned(scores: np.ndarray) -> list[int]:
    """Column of each row: N identities, the background, and n - 1 times "new" again."""
    count = len(scores)
    cost = np.zeros((count, IDS + 1 + max(0, count - 1)))
    cost[:, :IDS] = -scores
    cost[:, IDS + 1 :] = -scores[:, -1:]
    rows, columns = linear_sum_assignment(cost)
    return [int(columns[list(rows).index(row)]) for row in range(count)]


Passes = tuple[list[dict[str, Any]], dict[str, np.ndarray]]


@pytest.fixture(scope="module", params=[1, 4], ids=["some weights", "others"])
def passes(request: pytest.FixtureRequest) -> Passes:
    """The plain pass, and what `weights probe` says of the same frames with the same file."""
    network = iai_networks.network(request.param)
    published = iai_networks.released_file(network)
    random = torch.Generator().manual_seed(3)
    start = torch.randn(1, 3, H, W, generator=random)
    frames = torch.cat([start + 0.3 * t * torch.randn(1, 3, H, W, generator=random) for t in range(FRAMES)])
    with torch.inference_mode():
        plain = plain_pass(network, published, frames)
    return plain, probe(convert(Foreign(published), "iai"), {"frames": frames.numpy()})


def test_objects_are_followed_and_there_are_more_than_identities(passes: Passes) -> None:
    ids = [frame["ids"] for frame in passes[0]]

    assert any(set(a) & set(b) for a, b in pairwise(ids))
    assert any(each.count(IDS - 2) > 1 for each in ids)


@pytest.mark.parametrize("t", range(FRAMES))
def test_every_frame_is_what_a_plain_reading_makes_of_it(t: int, passes: Passes) -> None:
    plain, found = passes[0][t], passes[1]

    np.testing.assert_allclose(found[f"association_{t}"], plain["mixed"], rtol=1e-3, atol=1e-4)
    assert found[f"ids_{t}"].tolist() == plain["ids"]
    assert found[f"labels_{t}"].tolist() == plain["scores"].argmax(1).tolist()
    np.testing.assert_allclose(found[f"scores_{t}"], plain["scores"].amax(1), rtol=1e-3)
    boxes = plain["boxes"].clamp(min=0).minimum(torch.tensor([W, H, W, H]))
    np.testing.assert_allclose(found[f"boxes_xyxy_{t}"], boxes, rtol=1e-3, atol=1e-3)
    wrong = [np.count_nonzero(a != b.numpy()) for a, b in zip(found[f"masks_{t}"], plain["masks"], strict=True)]
    assert max(wrong, default=0) <= 2
