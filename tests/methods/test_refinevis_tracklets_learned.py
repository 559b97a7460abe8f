"""Association and refinement between frames: anchors and keys, tracklets and their targets, against loops."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from refinevis_fakes import (
    RULES,
    B,
    FakeTar,
    K,
    L,
    Q,
    T,
    as_float,
    clip_targets,
    fake_network,
    focal,
    layer,
    mask_logit,
    middle,
    one_point,
    output,
    plane,
)
from torch import Tensor

from vistool.methods.refinevis.frame_loss import ClipTruth
from vistool.methods.refinevis.learning import LearningRules
from vistool.methods.refinevis.loss import (
    GENEROUS,
    SeenClip,
    association_losses,
    denoising_association,
    frame_numbers,
    refinement_losses,
)
from vistool.methods.refinevis.tracklet_targets import Tracklets, matched_tracklets, noised_tracklets
from vistool.nn import losses as nn_losses
from vistool.nn.boxes import paired_iou, to_xyxy
from vistool.nn.denoising import NoisedQueries, noised_queries
from vistool.nn.image_model import FrameObjects
from vistool.nn.ota import Assignment
from vistool.nn.targets import ClipTargets


@pytest.fixture(autouse=True)
def flat_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn_losses, "uncertain_points", one_point)
    torch.manual_seed(0)


@pytest.fixture
def truths() -> list[ClipTruth]:
    return [ClipTruth.of(clip_targets(1, 3, hidden=[(1, 0)])), ClipTruth.of(clip_targets(2, 2, hidden=[(0, 1)]))]


@pytest.fixture
def clips(truths: list[ClipTruth]) -> list[SeenClip]:
    """Matched queries, the first of which lie on the objects."""
    objects = output([layer(seed, near=truths) for seed in range(L + 1)]).objects
    return clips_of(objects, truths)


def clips_of(objects: FrameObjects, truths: list[ClipTruth]) -> list[SeenClip]:
    made = []
    for b, truth in enumerate(truths):
        rows = slice(b * T, (b + 1) * T)
        own = FrameObjects(
            objects.embeddings[rows], objects.class_logits[rows], objects.boxes[rows], objects.pixels[rows]
        )
        made.append(SeenClip(truth, torch.tensor([3 + b, 7]), own, 0.3 * objects.embeddings[rows]))
    return made


def slots(truths: list[ClipTruth], kind: str = "contrastive") -> NoisedQueries:
    frames = [(truth, t) for truth in truths for t in range(T)]
    made = noised_queries(
        [truth.labels for truth, _ in frames],
        [truth.boxes[:, t] for truth, t in frames],
        [truth.visible[:, t] for truth, t in frames],
        K,
        Q,
        replace(RULES, noise=kind).disturbance,
    )
    assert made is not None
    return made


def double_sum(anchor: Tensor, positive: list[Tensor], negative: list[Tensor]) -> float:
    return math.log(1 + sum(math.exp(float(anchor @ k - anchor @ p)) for k in negative for p in positive))


def test_association_is_the_double_sum_over_the_keys_of_each_anchor(clips: list[SeenClip]) -> None:
    likeness, _ = association_losses(clips)

    expected = []
    for clip in clips:
        logits, boxes = clip.objects.class_logits, clip.objects.boxes
        key, few, many = (
            clip.truth.assign(logits[t : t + 1], boxes[t : t + 1], t, candidates=count)
            for t, count in ((0, 10), (1, 10), (1, GENEROUS))
        )
        for n in range(len(clip.truth.labels)):
            if not clip.truth.visible[n].all():
                continue
            positive = [clip.looks[1, q] for q in range(Q) if few.objects[0, q] == n]
            negative = [clip.looks[1, q] for q in range(Q) if n not in (few.objects[0, q], many.objects[0, q])]
            expected.append(double_sum(clip.looks[0, key.cheapest[0, n]], positive, negative))
    assert len(expected) == 3
    assert float(likeness) == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_objects_on_one_frame_alone_are_no_anchors() -> None:
    truths = [ClipTruth.of(clip_targets(b, 1, hidden=[(0, b)])) for b in range(B)]

    found = association_losses(clips_of(output([layer(0, near=truths)]).objects, truths))

    assert as_float(dict(enumerate(found))) == {0: 0.0, 1: 0.0}


def test_association_of_denoising_queries_is_the_double_sum(truths: list[ClipTruth]) -> None:
    noised = slots(truths)
    seen = clips_of(output([layer(5, noised.labels.shape[1])]).objects, truths)

    found = denoising_association(seen, noised)

    expected = []
    slot = list(enumerate(zip(noised.objects.tolist(), noised.positive.tolist(), strict=True)))
    for clip in seen:
        both = [n for n in range(len(clip.truth.labels)) if clip.truth.visible[n].all()]
        for m, (n, positive) in slot:
            if n in both and positive:
                same = [clip.looks[1, k] for k, (other, sign) in slot if other == n and sign]
                others = [clip.looks[1, k] for k, (other, _) in slot if other in both and other != n]
                expected.append(double_sum(clip.looks[0, m], same, others))
    assert len(expected) == 3 * noised.groups
    assert float(found) == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_denoising_queries_of_a_single_object_lose_nothing() -> None:
    truths = [ClipTruth.of(clip_targets(b, 1)) for b in range(B)]
    noised = slots(truths)
    seen = clips_of(output([layer(5, noised.labels.shape[1])]).objects, truths)

    assert float(denoising_association(seen, noised)) == 0


def assignments(clip: SeenClip) -> list[Assignment]:
    logits, boxes = clip.objects.class_logits, clip.objects.boxes
    return [clip.truth.assign(logits[t : t + 1], boxes[t : t + 1], t) for t in range(T)]


@pytest.mark.parametrize("least", [(0.1, 0.01), (0.75, 0.01), (0.1, 0.8)], ids=["kept", "too far off", "too unsure"])
@pytest.mark.parametrize("b", range(B))
def test_tracklets_of_the_truth_equal_the_loops(clips: list[SeenClip], b: int, least: tuple[float, float]) -> None:
    clip, rules = clips[b], replace(RULES, least_iou=least[0], least_score=least[1])
    truth, found = clip.truth, assignments(clip)

    made = matched_tracklets(found, clip.objects.class_logits, clip.objects.boxes, truth, rules)

    rows = []
    for n in range(len(truth.labels)):
        queries = [-1] * T
        for t in range(T):
            q = int(found[t].cheapest[0, n])
            if q >= 0:
                near = paired_iou(to_xyxy(clip.objects.boxes[t, q]), to_xyxy(truth.boxes[n, t])) >= least[0]
                sure = clip.objects.class_logits[t, q].sigmoid().max() >= least[1]
                queries[t] = q if near and sure else -1
        if max(queries) >= 0:
            seen = truth.visible[n].tolist()
            rows.append((queries, n, [int(truth.labels[n]) if each else K for each in seen], seen))
    for t in range(T):
        lone = [q for q in range(Q) if found[t].objects[0, q] < 0]
        lone.sort(key=lambda q: -float(clip.objects.class_logits[t, q].max()))
        rows += [([q if each == t else -1 for each in range(T)], -1, [K] * T, [False] * T) for q in lone[:3]]
    key = ("queries", "objects", "classes", "drawn")
    assert sorted(zip(*(getattr(made, name).tolist() for name in key), strict=True)) == sorted(rows)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_tokens_are_forgotten_but_not_the_last_of_an_object(share: float) -> None:
    frames, objects = 6, 4
    truth = ClipTruth.of(ClipTargets(torch.arange(objects) % K, torch.ones(objects, frames, 8, 8, dtype=torch.bool)))
    found = [Assignment(torch.full((1, objects), -1), torch.arange(objects)[None]) for _ in range(frames)]
    logits, boxes = torch.zeros(frames, objects, K), truth.boxes.transpose(0, 1)

    def seen(rules: LearningRules) -> Tensor:
        return matched_tracklets(found, logits, boxes, truth, replace(rules, unmatched=0)).seen

    assert seen(RULES).all()
    counts = torch.stack([seen(replace(RULES, forgotten=share)).sum(1) for _ in range(200)])
    assert counts.min() == 1
    assert (frames - counts).double().mean() == pytest.approx(share * frames - share**frames, abs=0.2)


def test_out_of_sight_an_object_names_nothing_or_itself_as_asked(clips: list[SeenClip]) -> None:
    clip = clips[0]
    none, own = (
        matched_tracklets(
            assignments(clip), clip.objects.class_logits, clip.objects.boxes, clip.truth,
            replace(RULES, absent_class=choice),
        )
        for choice in ("none", "own")
    )  # fmt: skip

    row = int((none.objects == 1).nonzero())
    assert none.classes[row].tolist() == [K, int(clip.truth.labels[1])]
    assert own.classes[row].tolist() == [int(clip.truth.labels[1])] * 2
    assert own.drawn[row].tolist() == [False, True]


def test_denoising_tracklets_say_their_object_or_name_and_draw_nothing(truths: list[ClipTruth]) -> None:
    noised = slots(truths)
    truth, padded = truths[1], noised.padded[T:]

    made = noised_tracklets(noised, padded, truth, K)

    own = [m for m, n in enumerate(noised.objects.tolist()) if n < 2]  # the clip has two objects, the slots three
    assert len(made.objects) == len(own)
    for row, m in enumerate(own):
        n, positive = int(noised.objects[m]), bool(noised.positive[m])
        visible = truth.visible[n].tolist()
        assert made.queries[row].tolist() == [m if each else -1 for each in visible]
        assert int(made.objects[row]) == (n if positive else -1)
        assert made.classes[row].tolist() == [int(truth.labels[n]) if each and positive else K for each in visible]
        assert made.drawn[row].tolist() == [each or not positive for each in visible]


def test_tokens_are_the_chosen_queries_and_zeros_where_nothing_was_seen() -> None:
    made = Tracklets(torch.tensor([[2, -1], [0, 1]]), torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2))
    embeddings = torch.randn(T, 4, 3)

    tokens = made.tokens(embeddings)

    assert torch.equal(tokens[0], torch.stack([embeddings[0, 2], torch.zeros(3)]))
    assert torch.equal(tokens[1], torch.stack([embeddings[0, 0], embeddings[1, 1]]))


def test_a_missing_frame_borrows_the_point_of_the_others() -> None:
    made = Tracklets(torch.tensor([[2, -1], [0, 1]]), torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2))
    points = torch.rand(T, 4, 2)

    found = made.references(points)

    assert torch.equal(found[0], points[0, 2].expand(2, 2))
    assert torch.equal(found[1], torch.stack([points[0, 0], points[1, 1]]))


def slow_refinement(clips: list[SeenClip], tracklets: list[Tracklets], count: int) -> dict[str, float]:
    """The refinement of the fakes adds one to every token."""
    totals: dict[str, float] = defaultdict(float)
    for clip, made in zip(clips, tracklets, strict=True):
        refined = made.tokens(clip.objects.embeddings) + 1
        for row, n in enumerate(made.objects.tolist()):
            for t in range(T):
                totals["class"] += focal(refined[row, t, :K], int(made.classes[row, t]))
                if made.drawn[row, t]:
                    wanted = middle(clip.truth.masks[n, t]) if n >= 0 else 0.0
                    bce, dice = plane(mask_logit(refined[row, t], clip.objects.pixels[t]), wanted, RULES.loss_points)
                    totals["bce"] += bce
                    totals["dice"] += dice
    weights = {"class": RULES.class_weight, "bce": RULES.bce_weight, "dice": RULES.dice_weight}
    return {name: weights[name] * totals[name] / count for name in weights}


def test_refinement_terms_are_those_of_the_loops(clips: list[SeenClip]) -> None:
    tracklets = [
        matched_tracklets(assignments(clip), clip.objects.class_logits, clip.objects.boxes, clip.truth, RULES)
        for clip in clips
    ]

    found = refinement_losses(fake_network(), clips, tracklets, torch.tensor(5), RULES)

    assert as_float(found) == pytest.approx(slow_refinement(clips, tracklets, 5), rel=1e-4)


@pytest.mark.parametrize("kind", ["contrastive", "positive"])
def test_denoising_tracklets_are_restored_or_rejected_with_an_empty_mask(truths: list[ClipTruth], kind: str) -> None:
    noised = slots(truths, kind)
    seen = clips_of(output([layer(5, noised.labels.shape[1])]).objects, truths)
    tracklets = [
        noised_tracklets(noised, noised.padded[b * T : (b + 1) * T], clip.truth, K) for b, clip in enumerate(seen)
    ]

    found = refinement_losses(fake_network(), seen, tracklets, torch.tensor(7), RULES)

    assert any((each.objects < 0).any() for each in tracklets) == (kind == "contrastive")
    assert as_float(found) == pytest.approx(slow_refinement(seen, tracklets, 7), rel=1e-4)


def test_the_refinement_sees_each_tracklet_at_the_times_of_its_clip(clips: list[SeenClip]) -> None:
    network = fake_network()
    tracklets = [
        matched_tracklets(assignments(clip), clip.objects.class_logits, clip.objects.boxes, clip.truth, RULES)
        for clip in clips
    ]

    refinement_losses(network, clips, tracklets, torch.tensor(1), RULES)

    tar = network.tar
    assert isinstance(tar, FakeTar)
    assert tar.times.tolist() == [[3, 7]] * len(tracklets[0].objects) + [[4, 7]] * len(tracklets[1].objects)
    assert tar.exists.all()
    assert torch.equal(tar.seen, torch.cat([each.seen for each in tracklets]))
    assert not tar.tokens[~tar.seen].any()


def test_frames_of_a_clip_have_numbers() -> None:
    counted = clip_targets(0)

    assert frame_numbers(counted).tolist() == [0, 1]
    assert frame_numbers(replace(counted, times=torch.tensor([4, 9]))).tolist() == [4, 9]
