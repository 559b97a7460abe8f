"""What a clip shows, on the grid of the mask logits: first by objects, then by the slots that answer for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn.targets import ClipTargets
from .grid import MASK_STRIDE

BACKGROUND, VOID = -1, -2  # in place of a slot: nobody's pixel, and one that no loss looks at


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The N objects of a clip that are seen on at least one of F frames; no pixel belongs to two."""

    labels: Tensor  # int64 (N,)
    masks: Tensor  # bool (N, F, h, w)

    @property
    def visible(self) -> Tensor:
        """On which frames each object is seen, bool (N, F)."""
        return self.masks.flatten(2).any(-1)

    def frame(self, number: int) -> Scene:
        """One of the frames, with the objects seen on it."""
        return _seen(self.labels, self.masks[:, number : number + 1])


def scene(target: ClipTargets, frames: int) -> Scene:
    """The last `frames` frames of a clip: every fourth pixel, and of masks that overlap the smaller one lies on top."""
    masks = target.masks[:, -frames:, ::MASK_STRIDE, ::MASK_STRIDE]
    if not len(masks):
        return Scene(target.labels, masks)
    beyond = masks[0].numel() + 1  # larger than any object
    sizes = masks.sum((2, 3), keepdim=True).where(masks, beyond)
    on_top = torch.arange(len(masks), device=masks.device).view(-1, 1, 1, 1) == sizes.argmin(0)
    return _seen(target.labels, masks & on_top)


def _seen(labels: Tensor, masks: Tensor) -> Scene:
    kept = masks.flatten(1).any(-1)
    return Scene(labels[kept], masks[kept])


@dataclass(frozen=True, slots=True, eq=False)
class SlotTruth:
    """What the L slots of B clips should say on F frames. A slot without an object on a frame names nothing there."""

    classes: Tensor  # int64 (B, F, L); K is nothing
    owners: Tensor  # int64 (B, F, h, w): the slot that a pixel belongs to, BACKGROUND or VOID
    kinds: Tensor  # int64 (B, F, h, w): the class of a pixel, K where there is no object

    @property
    def masks(self) -> Tensor:
        """Of every slot, float (B, F, L, h, w)."""
        slots = torch.arange(self.classes.shape[-1], device=self.owners.device)
        return (self.owners[:, :, None] == slots[:, None, None]).float()


def by_slots(scenes: Sequence[Scene], slots: Sequence[Tensor], *, count: int, nothing: int) -> SlotTruth:
    """B scenes, and for each the slot of every object, int64 (N_b,), -1 where there are more objects than slots.

    Pixels of objects without a slot are VOID; `nothing` is K.
    """
    rows = [_by_slots(one, chosen, count, nothing) for one, chosen in zip(scenes, slots, strict=True)]
    classes, owners, kinds = (torch.stack(each) for each in zip(*rows, strict=True))
    return SlotTruth(classes, owners, kinds)


def _by_slots(one: Scene, slots: Tensor, count: int, nothing: int) -> tuple[Tensor, Tensor, Tensor]:
    """classes (F, L), owners (F, h, w) and kinds (F, h, w) of one clip."""
    frames = one.masks.shape[1]
    classes = one.labels.new_full((frames, count), nothing)
    owners = one.labels.new_full(one.masks.shape[1:], BACKGROUND)
    kinds = torch.full_like(owners, nothing)
    if len(slots):
        label = one.labels[:, None]
        answered = slots >= 0
        classes[:, slots[answered]] = torch.where(one.visible, label, nothing)[answered].T
        covered, number = one.masks.any(0), one.masks.int().argmax(0)  # the only object of a pixel
        owners = torch.where(covered, torch.where(answered, slots, VOID)[number], owners)
        kinds = torch.where(covered, one.labels[number], kinds)
    return classes, owners, kinds
