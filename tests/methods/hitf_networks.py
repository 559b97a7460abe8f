"""Small networks with every part alive, in both norms, and the softmax of attention as plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vistool.methods.hitf.network import Hitf
from vistool.methods.hitf.presets import Preset

BACKBONE: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [12, 16, 20, 24],
    "depths": [1, 1, 1, 2],
    "layer_type": "basic",
}
LAYER = Preset(
    backbone="resnet",
    backbone_sizes=BACKBONE,
    frozen_norms=False,
    num_classes=3,
    long_side=65,
    slots=4,
    max_slots=6,
    norm="layer",
    dim=16,
    heads=2,
    key_width=8,
    value_width=12,
    ffn=24,
    dropout=0.0,
    decoder_width=16,
    low_width=8,
    mask_width=8,
)
BATCH = replace(LAYER, norm="batch")
BOTH = (LAYER, BATCH)


def network(preset: Preset, seed: int = 0) -> Hitf:
    """Random everywhere, in eval."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Hitf(preset).eval()
        enliven(made)
    return made


def enliven(module: nn.Module) -> None:
    """Nothing stays at its start: branches that begin at zero add something, and no two statistics are alike."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith(("running_var", "gain")):
                tensor.copy_(0.5 + torch.rand(tensor.shape))
            elif tensor.ndim >= 2:
                tensor.copy_(torch.randn(tensor.shape) * (2 / max(1, tensor[0].numel())) ** 0.5)
            else:
                tensor.copy_((0.7 if name.endswith("weight") else 0.0) + 0.2 * torch.randn(tensor.shape))


def film(frames: int, size_hw: tuple[int, int] = (41, 58), seed: int = 0) -> Tensor:
    """(T, 3, H, W); frames that differ."""
    return torch.randn(frames, 3, *size_hw, generator=torch.Generator().manual_seed(seed))


def attention_by_loops(logits: Tensor, values: Tensor) -> Tensor:
    """logits (B, heads, Q, P) as the softmax gets them, values (B, P, V), heads side by side → (B, Q, V)."""
    batch, heads, queries, keys = logits.shape
    logits, values = logits.detach(), values.detach()
    width = values.shape[-1] // heads
    found = torch.zeros(batch, queries, values.shape[-1])
    for b in range(batch):
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for query in range(queries):
                weights = [float(logits[b, head, query, key].exp()) for key in range(keys)]
                for key in range(keys):
                    found[b, query, part] += weights[key] / sum(weights) * values[b, key, part]
    return found


def dots(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """queries (B, Q, K), keys (B, P, K), heads side by side → (B, heads, Q, P)."""
    parts = zip(queries.chunk(heads, -1), keys.chunk(heads, -1), strict=True)
    return torch.stack([torch.einsum("bqd,bpd->bqp", q, k) for q, k in parts], 1)


def same_outputs(one: Any, other: Any, *, tolerance: float = 1e-5) -> bool:
    """Of two `FrameOutput`."""
    names = ("class_logits", "mask_logits", "features")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return all(a.shape == b.shape and torch.allclose(a, b, atol=tolerance) for a, b in pairs)
