"""What training decides beyond the sizes of the network. Where paper and released code differ: README.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRules:
    """Weights of the losses and of the matching, which are the same. Defaults as in the released code, which has no
    discriminator; the presets of the paper have one."""

    class_weight: float = 2.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    mask_weight: float = 2.0
    dice_weight: float = 5.0
    box_cost: Literal["euclidean", "l1"] = "euclidean"
    """What matching holds against a box: the length of its difference over all frames, as one vector of 4 T numbers; or
    what the loss does, the sum of the differences, averaged over the frames."""
    absent_boxes: Literal["learned", "ignored"] = "learned"
    """S14. Where an object is out of sight, its box is learned as a speck in the corner; or neither the loss nor the
    matching looks at it."""
    adv_weight: float = 0.0
    """Of what the network learns from the discriminator, and of what that learns itself; 0: there is none."""
    l1_weight: float = 1.0
    """λ₁, beside it: of the difference between what the discriminator says of predicted and of true masks; 0: none."""

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator. On clips of one frame it is not asked."""
        return self.adv_weight > 0
