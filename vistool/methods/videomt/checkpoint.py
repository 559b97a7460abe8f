"""Public VidEoMT weights as vistool checkpoints. Their names are the library's, and so are ours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import VideomtConfig

from ...errors import WeightsError
from ...types import Category
from ...weights.checkpoint import Checkpoint, CheckpointInfo
from ...weights.fitting import check_fit
from ...weights.foreign import Foreign
from ..published_info import CONF, PIXEL_MEAN, PIXEL_STD
from .network import expected_tensors
from .presets import VideomtSizes, preset_name

LAYOUT = "transformers-videomt"
HEAD_WIDTH = 64  # of every DINOv2
NO_OBJECT_WEIGHT = 0.1


def convert(foreign: Foreign, layout: str) -> Checkpoint:
    """`layout` is `transformers-videomt`, or "auto"; WeightsError when a tensor is missing, left over or misshaped.

    Three tensors have a say in training only; where a file lacks them they are as the library makes them.
    """
    if layout not in (LAYOUT, "auto"):
        raise WeightsError(f"unknown layout: `{layout}`", hint=f"one of: auto, {LAYOUT}")
    sizes = read_sizes(foreign)
    with _no_such_network():
        expected = expected_tensors(sizes)
    tensors = {**_training_only(sizes), **foreign.tensors}
    check_fit(expected, tensors, name=LAYOUT)
    ours = {name: tensors[name].to(each.dtype).contiguous() for name, each in expected.items()}
    return Checkpoint(_describe(sizes), ours)


def read_sizes(foreign: Foreign) -> VideomtSizes:
    """From the config beside the tensors if it is this network's, else off the tensors; the classes always off them.

    Tensors do not tell the heads, taken to be 64 wide, nor the activation and the norms' epsilon, taken as published.
    """
    classes = _shape(foreign.tensors, "class_predictor.weight", 2)[0] - 1
    if foreign.config.get("model_type") == VideomtConfig.model_type:
        return VideomtSizes(num_classes=classes, **_from_config(foreign.config))
    return VideomtSizes(num_classes=classes, **_from_tensors(foreign.tensors))


@contextmanager
def _no_such_network() -> Iterator[None]:
    """Turn what the library says of a config that it cannot use into one clear line."""
    try:
        yield
    except (
        StrictDataclassError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RuntimeError,
    ) as error:  # it checks some fields, and fails over others in any of these ways
        raise WeightsError(
            f"config of the weights makes no network: `{LAYOUT}` ({' '.join(str(error).split())})",
            hint="fetch its `config.json` again",
        ) from error


def _from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """As the library reads it, its defaults filled in."""
    with _no_such_network():
        read = VideomtConfig.from_dict(dict(config))
    return {each.name: getattr(read, each.name) for each in fields(VideomtSizes) if each.name != "num_classes"}


def _from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    hidden, _, patch, _ = _shape(tensors, "embeddings.patch_embeddings.projection.weight", 4)
    layers = _count(tensors, r"layers\.(\d+)\.norm1\.weight")
    gated = "layers.0.mlp.gate_proj.weight" in tensors
    inner = _shape(tensors, f"layers.0.mlp.{'gate_proj' if gated else 'fc1'}.weight", 2)[0]
    prompted = 4 if layers >= 24 else 3  # as published, for a file without the buffer of that length
    if "attn_mask_probs" in tensors:
        prompted = _shape(tensors, "attn_mask_probs", 1)[0]
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, hidden // HEAD_WIDTH),
        "num_blocks": prompted,
        "num_queries": _shape(tensors, "query.weight", 2)[0],
        "image_size": math.isqrt(_shape(tensors, "embeddings.position_embeddings.weight", 2)[0]) * patch,
        "patch_size": patch,
        "mlp_ratio": round(inner * (1.5 if gated else 1) / hidden),  # a gated one is two thirds as wide
        "num_register_tokens": _shape(tensors, "embeddings.register_tokens", 3)[1],
        "num_upscale_blocks": _count(tensors, r"upscale_block\.block\.(\d+)\.conv1\.weight"),
        "use_swiglu_ffn": gated,
    }


def _shape(tensors: Mapping[str, Tensor], name: str, sides: int) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(f"checkpoint misses tensors: `{name}` (of VidEoMT)")
    shape = tuple(tensors[name].shape)
    if len(shape) != sides:
        raise WeightsError(f"tensor does not fit: `{name}` (has shape {shape}, expected {sides} sides)")
    return shape


def _count(tensors: Mapping[str, Tensor], name: str) -> int:
    """One more than the highest number for which the tensor exists."""
    found = (re.fullmatch(name, each) for each in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _training_only(sizes: VideomtSizes) -> dict[str, Tensor]:
    empty_weight = torch.ones(sizes.num_classes + 1)
    empty_weight[-1] = NO_OBJECT_WEIGHT
    return {
        "embeddings.mask_token": torch.zeros(1, 1, sizes.hidden_size),
        "attn_mask_probs": torch.ones(sizes.num_blocks),
        "criterion.empty_weight": empty_weight,
    }


def _describe(sizes: VideomtSizes) -> CheckpointInfo:
    """Classes are numbered: `class_0`, `class_1` and so on."""
    return CheckpointInfo(
        method="videomt",
        preset=preset_name(sizes),
        sizes=asdict(sizes),
        categories=tuple(Category(label + 1, f"class_{label}") for label in range(sizes.num_classes)),
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        short_side=sizes.image_size,
        conf=CONF,
        training_data="not stated by the converted file",
        licence="that of the converted file",
    )
