"""The losses of RefineVIS (section 3): L_frame on the key frame, L_association and L_refine on all frames, denoising.

The first frame of a clip is the key frame (R20). The image model looks at all frames at once, and nothing is detached:
what association and refinement ask for is learned from every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from ...nn.contrastive import assigned_keys, contrastive, cosine, other_objects
from ...nn.denoising import NoisedQueries, noised_queries
from ...nn.image_model import FrameObjects, TrainingOutput
from ...nn.losses import sigmoid_focal
from ...nn.targets import ClipTargets
from .frame_loss import ClipTruth, averaged, denoising_losses, frame_losses, plane_losses
from .learning import LearningRules, rules_of
from .network import RefineVis
from .remembered import RememberedFrames
from .tar import refine_online
from .tracklet_targets import Tracklets, matched_tracklets, noised_tracklets

GENEROUS = 100
"""Candidates of the assignment outside of which a query is a negative key (IDOL)."""

Terms = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class SeenClip:
    """One clip: what is on its T frames, and what the queries of one kind, matched or denoising, see there."""

    truth: ClipTruth
    times: Tensor  # int64 (T,), numbers of the frames
    objects: FrameObjects  # T rows, of the last layer
    looks: Tensor  # (T, Q, D), what association compares


def losses(
    network: RefineVis,
    frames: Tensor,
    targets: Sequence[ClipTargets],
    rules: LearningRules | None = None,
    remembered: RememberedFrames | None = None,
) -> Terms:
    """Weighted terms; frames (B, T, 3, H, W) normalised. On clips of one frame the image model learns alone.

    A frozen image model has no losses of its own; one in evaluation mode takes no denoising queries either. One that is
    both says the same of a frame every time, which may be `remembered`.
    """
    rules = rules or rules_of(network.preset)
    truths = [ClipTruth.of(target) for target in targets]
    image = cast(nn.Module, network.image)
    learns = any(parameter.requires_grad for parameter in image.parameters())
    denoises = image.training and rules.denoises
    noised = _noised(truths, network, rules) if denoises else None
    said: FrameObjects | TrainingOutput
    if remembered is None or learns or image.training:
        said = image(frames.flatten(0, 1), None, noised)
    else:
        said = remembered.look(network.image, frames.flatten(0, 1))
    objects = said.objects if isinstance(said, TrainingOutput) else said
    terms: Terms = {}
    if isinstance(said, TrainingOutput) and learns:
        terms |= frame_losses(network.image, said, truths, rules)
        if denoises and rules.frame_denoising:
            restored = denoising_losses(network.image, said, noised, truths, rules)
            terms["noised"] = sum(restored.values(), frames.new_zeros(()))
    if frames.shape[1] == 1:
        return terms
    clips = _clips(network, objects, truths, [frame_numbers(target) for target in targets])
    terms |= _matched_terms(network, clips, rules)
    if isinstance(said, TrainingOutput) and denoises:
        terms |= _noised_terms(network, clips, said, noised, rules)
    return terms


def frame_numbers(target: ClipTargets) -> Tensor:
    """Which frames of the video a clip shows; of a pseudo-video 0, 1, …; int64 (T,)."""
    if target.times is not None:
        return target.times
    return torch.arange(target.masks.shape[1], device=target.masks.device)


def _noised(truths: Sequence[ClipTruth], network: RefineVis, rules: LearningRules) -> NoisedQueries | None:
    """Denoising queries of all B·T frames."""
    frames = [(truth, t) for truth in truths for t in range(truth.visible.shape[1])]
    return noised_queries(
        [truth.labels for truth, _ in frames],
        [truth.boxes[:, t] for truth, t in frames],
        [truth.visible[:, t] for truth, t in frames],
        network.preset.num_classes,
        network.preset.image["queries"],
        rules.disturbance,
    )


def _clips(
    network: RefineVis, objects: FrameObjects, truths: Sequence[ClipTruth], times: Sequence[Tensor]
) -> list[SeenClip]:
    """Objects of B·T frames → B clips."""
    count = len(truths)
    looks = network.association(objects).chunk(count)
    embeddings, logits, boxes, pixels = (
        each.chunk(count) for each in (objects.embeddings, objects.class_logits, objects.boxes, objects.pixels)
    )
    references = [None] * count if objects.references is None else objects.references.chunk(count)
    return [
        SeenClip(truth, times[b], FrameObjects(embeddings[b], logits[b], boxes[b], pixels[b], references[b]), looks[b])
        for b, truth in enumerate(truths)
    ]


def _matched_terms(network: RefineVis, clips: Sequence[SeenClip], rules: LearningRules) -> Terms:
    """What the matched queries of several frames learn."""
    terms: Terms = {}
    if _associates(clips, rules):
        likeness, cosines = association_losses(clips)
        terms["association"] = rules.association_weight * likeness
        if rules.cosine_weight > 0:
            terms["cosine"] = rules.cosine_weight * cosines
    if _refines(network, rules):
        tracklets = [_tracklets(clip, rules) for clip in clips]
        positive = torch.stack([each.drawn.sum() for each in tracklets]).sum()
        refined = refinement_losses(network, clips, tracklets, averaged(positive), rules)
        terms |= {f"refined_{name}": term for name, term in refined.items()}
    return terms


def _noised_terms(
    network: RefineVis,
    clips: Sequence[SeenClip],
    output: TrainingOutput,
    noised: NoisedQueries | None,
    rules: LearningRules,
) -> Terms:
    """What their denoising queries learn; zeros where there are none this time."""
    terms: Terms = {}
    none = output.objects.boxes.new_zeros(())
    seen: list[SeenClip] = []
    if noised:
        last = output.noised[-1]
        objects = replace(output.objects, embeddings=last.embeddings, class_logits=last.class_logits, boxes=last.boxes)
        seen = _clips(network, objects, [clip.truth for clip in clips], [clip.times for clip in clips])
    if rules.association_denoising and _associates(clips, rules):
        likeness = denoising_association(seen, noised) if noised else none
        terms["association_noised"] = rules.association_weight * likeness
    if rules.temporal_denoising and _refines(network, rules):
        restored: Terms = {}
        objects_seen = sum(len(clip.truth.labels) for clip in clips) * len(clips[0].times)
        count = averaged(none + objects_seen * (noised.groups if noised else 0))  # every process takes part
        if noised:
            classes, padded = network.preset.num_classes, noised.padded.chunk(len(clips))
            tracklets = [noised_tracklets(noised, padded[b], clip.truth, classes) for b, clip in enumerate(clips)]
            restored = refinement_losses(network, seen, tracklets, count, rules)
        terms["refined_noised"] = sum(restored.values(), none)
    return terms


def _associates(clips: Sequence[SeenClip], rules: LearningRules) -> bool:
    return rules.association_weight > 0 and clips[0].looks.requires_grad


def _refines(network: RefineVis, rules: LearningRules) -> bool:
    return rules.refine_weight > 0 and network.preset.window > 1


def association_losses(clips: Sequence[SeenClip]) -> tuple[Tensor, Tensor]:
    """Eq. (3) and IDOL's term on cosines, means over the anchors; zeros where there is none.

    An anchor is the cheapest query of an object on the key frame; its keys are the queries of each other frame on which
    the object is in sight.
    """
    likeness, cosines = [], []
    for clip in clips:
        logits, boxes = clip.objects.class_logits, clip.objects.boxes
        for t in range(1, len(logits)):
            at, frame = slice(0, 1), slice(t, t + 1)
            key = clip.truth.assign(logits[at], boxes[at], 0).cheapest[-1]
            few = clip.truth.assign(logits[frame], boxes[frame], t)
            many = clip.truth.assign(logits[frame], boxes[frame], t, candidates=GENEROUS)
            objects = ((key >= 0) & (few.cheapest[-1] >= 0)).nonzero()[:, 0]
            keys = assigned_keys(objects, few.objects[-1], many.objects[-1])
            anchors = clip.looks[0, key[objects]]
            likeness.append(contrastive(anchors, clip.looks[t], *keys))
            cosines.append(cosine(anchors, clip.looks[t], *keys))
    return _mean(likeness), _mean(cosines)


def denoising_association(clips: Sequence[SeenClip], noised: NoisedQueries) -> Tensor:
    """Eq. (3) between denoising queries: a mean over the positive ones of the key frame whose object is on both frames.

    Objects that are on one of the two alone take no part.
    """
    likeness = []
    for clip, padded in zip(clips, noised.padded.chunk(len(clips)), strict=True):
        for t in range(1, len(padded)):
            usable = ~padded[0] & ~padded[t]
            anchors = noised.positive & usable
            keys = other_objects(noised.objects[anchors], noised.objects, noised.positive, usable)
            likeness.append(contrastive(clip.looks[0, anchors], clip.looks[t], *keys))
    return _mean(likeness)


def _tracklets(clip: SeenClip, rules: LearningRules) -> Tracklets:
    logits, boxes = clip.objects.class_logits.detach(), clip.objects.boxes.detach()
    frames = range(len(logits))
    assignments = [clip.truth.assign(logits[t : t + 1], boxes[t : t + 1], t) for t in frames]
    return matched_tracklets(assignments, logits, boxes, clip.truth, rules)


def refinement_losses(
    network: RefineVis, clips: Sequence[SeenClip], tracklets: Sequence[Tracklets], count: Tensor, rules: LearningRules
) -> Terms:
    """Weighted terms of refined embeddings, seen through the image model's heads; divided by `count` ()."""
    seen = torch.cat([each.seen for each in tracklets])
    tokens = torch.cat([each.tokens(clip.objects.embeddings) for each, clip in zip(tracklets, clips, strict=True)])
    rows = [len(each.objects) for each in tracklets]
    times = torch.stack([clip.times for clip in clips]).repeat_interleave(torch.tensor(rows, device=seen.device), dim=0)
    if float(torch.rand(())) < rules.online_share:
        refined, told = refine_online(network.tar, tokens, times, seen)
    else:
        told = torch.ones_like(seen)
        refined = network.tar(tokens, times, told, seen)  # Eq. (4)
    classes = torch.cat([each.classes for each in tracklets])
    named = sigmoid_focal(network.image.classes(refined[told]).float(), classes[told], count)
    bce = dice = named.new_zeros(())
    for clip, each, embeddings, shown in zip(clips, tracklets, refined.split(rows), told.split(rows), strict=True):
        points = None if clip.objects.references is None else each.references(clip.objects.references)
        for t in range(len(clip.times)):
            drawn = (each.drawn & shown)[:, t].nonzero()[:, 0]
            if not len(drawn):
                continue
            places = None if points is None else points[drawn, t]
            logits = network.image.masks(embeddings[drawn, t], clip.objects.pixels[t], places)
            planes = plane_losses(logits, each.objects[drawn], clip.truth.masks[:, t], rules.loss_points)
            bce, dice = bce + planes[0].sum() / count, dice + planes[1].sum() / count
    weight = rules.refine_weight
    return {
        "class": weight * rules.class_weight * named,
        "bce": weight * rules.bce_weight * bce,
        "dice": weight * rules.dice_weight * dice,
    }


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Of all numbers in tensors (A_i,); 0 of none."""
    every = torch.cat(list(values))
    return every.sum() / max(1, len(every))
