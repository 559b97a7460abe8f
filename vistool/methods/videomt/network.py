"""transformers' VidEoMT, driven one frame at a time: what it keeps of a video is one row a query.

Its own forward takes a clip and holds the tokens of all frames. The steps below are the same, on the same modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from transformers import VideomtConfig, VideomtForUniversalSegmentation

from .presets import VideomtSizes


@dataclass(frozen=True, slots=True, eq=False)
class FrameOutput:
    """What the network says of one frame, and what the next frame needs of it."""

    class_logits: Tensor  # (Q, K + 1), no-object last
    mask_logits: Tensor  # (Q, h, w), a quarter of the frame's sides where a patch is 16 pixels wide
    queries: Tensor  # (Q, D), after the last layer and before the final norm


def empty_network(sizes: VideomtSizes, device: str = "cpu") -> VideomtForUniversalSegmentation:
    """A network whose weights are still to be loaded. Nothing is drawn at random, so a large one is there at once."""
    network = _on_no_device(sizes)
    network.to_empty(device=device).train(False)
    positions = network.embeddings.position_ids  # no file holds them
    positions.copy_(torch.arange(positions.shape[-1])[None])
    return network


def expected_tensors(sizes: VideomtSizes) -> Mapping[str, Tensor]:
    """The tensors of the network by name, with shapes and without memory."""
    tensors: Mapping[str, Tensor] = _on_no_device(sizes).state_dict()
    return tensors


def step(network: VideomtForUniversalSegmentation, image: Tensor, before: Tensor | None) -> FrameOutput:
    """image (3, S, S) normalised; `before`: the queries (Q, D) of the last frame, None on the first."""
    alone = network.config.num_hidden_layers - network.config.num_blocks  # layers that see no query
    tokens = network.embeddings(image[None])  # (1, 1 + registers + patches, D)
    for layer in network.layers[:alone]:
        tokens = layer(tokens)

    queries = network.query.weight
    if before is not None:
        queries = network.query_updater(before) + queries
    tokens = torch.cat([queries[None], tokens], 1)
    for layer in network.layers[alone:]:
        tokens = layer(tokens)

    mask_logits, class_logits = network.predict(network.layernorm(tokens))
    after = tokens[0, : network.config.num_queries].clone()  # a view would keep the tokens of the whole frame
    return FrameOutput(class_logits[0], mask_logits[0], after)


def _on_no_device(sizes: VideomtSizes) -> VideomtForUniversalSegmentation:
    named = asdict(sizes)
    classes = named.pop("num_classes")
    config = VideomtConfig.from_dict({**named, "num_labels": classes, "attn_implementation": "sdpa"})
    with torch.device("meta"):
        return VideomtForUniversalSegmentation(config)
