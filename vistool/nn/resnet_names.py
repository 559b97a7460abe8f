"""ResNets in the files of others: the names that torchvision gives their tensors, and with it most, and their sizes."""

from __future__ import annotations

from typing import Any

from .backbones import RESNETS
from .published_names import Row, under
from .published_tensors import Shapes

UNNAMED = "resnet"
"""Name of a backbone that only its sizes describe."""

_STAGES = 4
_CONVOLUTIONS = 3  # of a bottleneck; a basic block has one fewer
_DEFAULTS = {"embedding_size": 64, "layer_type": "bottleneck"}  # of transformers, which RESNETS leaves out


def torchvision_rows(ours: str, theirs: str) -> tuple[Row, ...]:
    """Rows of a `Backbone` whose `body` is called `ours`; both names end with a dot.

    How many batches a norm has seen is left out: no ResNet here goes on counting.
    """
    blocks = [(f"{ours}encoder.stages.{stage}.layers.#.", f"{theirs}layer{stage + 1}.#.") for stage in range(_STAGES)]
    return (
        Row(f"{ours}*.num_batches_tracked", None),
        *under(f"{ours}embedder.embedder.", theirs, {"convolution.*": "conv1.*", "normalization.*": "bn1.*"}),
        *(
            Row(mine + part, yours + name)
            for mine, yours in blocks
            for part, name in (
                ("shortcut.convolution.*", "downsample.0.*"),
                ("shortcut.normalization.*", "downsample.1.*"),
                *((f"layer.{i}.convolution.*", f"conv{i + 1}.*") for i in range(_CONVOLUTIONS)),
                *((f"layer.{i}.normalization.*", f"bn{i + 1}.*") for i in range(_CONVOLUTIONS)),
            )
        ),
    )


def resnet_of(shapes: Shapes, body: str) -> tuple[str, dict[str, Any]]:
    """Name and sizes of the `Backbone` whose `body` is called that in our names; sizes are empty where a name says all.

    WeightsError when tensors are missing that say so.
    """
    stem = shapes.of(f"{body}embedder.embedder.convolution.weight")
    stages = [f"{body}encoder.stages.{stage}.layers." for stage in range(_STAGES)]
    bottleneck = shapes.of(f"{stages[0]}0.layer.0.convolution.weight")[-1] == 1
    last = _CONVOLUTIONS - 1 if bottleneck else _CONVOLUTIONS - 2
    sizes = {
        "embedding_size": stem[0],
        "hidden_sizes": [shapes.of(f"{stage}0.layer.{last}.convolution.weight")[0] for stage in stages],
        "depths": [shapes.count(stage + "{}.layer.0.convolution.weight") for stage in stages],
        "layer_type": "bottleneck" if bottleneck else "basic",
    }
    named = [name for name, known in RESNETS.items() if sizes == _DEFAULTS | known]
    return (named[0], {}) if named else (UNNAMED, sizes)
