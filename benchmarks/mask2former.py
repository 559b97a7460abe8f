"""One frame through our Mask2Former and through that of transformers: same weights, same frame, runs in turn."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from block import print_block
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from vistool.methods.mask2former_vis.network import Mask2FormerVis
from vistool.nn.backbones import SWINS
from vistool.nn.published import from_published

CLASSES = 80
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def pair(backbone: str) -> tuple[Mask2FormerForUniversalSegmentation, Mask2FormerVis]:
    """Theirs with random weights, and ours with the same."""
    torch.manual_seed(0)
    swin = SwinConfig(out_features=STAGES, **SWINS[backbone])
    theirs = Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=CLASSES)).eval()
    sizes, tensors = from_published(theirs.state_dict())
    ours = Mask2FormerVis(sizes).eval()
    ours.load_state_dict(tensors)
    return theirs, ours


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


@torch.inference_mode()
def compare(backbone: str, size_hw: tuple[int, int], rounds: int) -> list[str]:
    """A row of the table."""
    theirs, ours = pair(backbone)
    frame = torch.randn(1, 3, *size_hw)
    reference, found = theirs(pixel_values=frame), ours(frame[None]).final  # and both are warm
    times = [(seconds(lambda: theirs(pixel_values=frame)), seconds(lambda: ours(frame[None]))) for _ in range(rounds)]
    ratio = statistics.median(theirs_s / ours_s for theirs_s, ours_s in times)
    medians = [f"{1000 * statistics.median(column):.0f} ms" for column in zip(*times, strict=True)]
    apart = [
        _apart(reference.class_queries_logits, found.class_logits),
        _apart(reference.masks_queries_logits, found.mask_logits[:, :, 0]),
    ]
    return [backbone, "x".join(map(str, size_hw)), *medians, f"{ratio:.2f}", *apart]


def _apart(one: Tensor, other: Tensor) -> str:
    return f"{float((one - other).abs().max()):.1e}"


def main() -> None:
    """Print one row a backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=["swin-tiny"], choices=SWINS)
    parser.add_argument("--size", nargs=2, type=int, default=(384, 640), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    rows = [compare(name, tuple(arguments.size), arguments.rounds) for name in arguments.backbones]
    header = ["backbone", "frame", "transformers", "vistool", "ratio", "class logits apart", "mask logits apart"]
    print_block("Mask2Former, one frame", header, rows)


if __name__ == "__main__":
    main()
