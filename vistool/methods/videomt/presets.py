"""All sizes of the network, as the public checkpoints have them, and a tiny one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class VideomtSizes:
    """What transformers' `VideomtConfig` needs to build the network again; the fields have its names.

    `num_classes` is its `num_labels`. What only fresh weights and training depend on is left out.
    """

    num_classes: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_blocks: int  # the last layers, which see the queries too
    num_queries: int = 200
    image_size: int = 640  # pixels, both sides
    patch_size: int = 16  # pixels, both sides
    mlp_ratio: int = 4
    num_register_tokens: int = 4
    num_upscale_blocks: int = 2  # each doubles the mask's sides
    use_swiglu_ffn: bool = False
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-6


SMALL = VideomtSizes(num_classes=40, hidden_size=384, num_hidden_layers=12, num_attention_heads=6, num_blocks=3)
PRESETS: Mapping[str, VideomtSizes] = MappingProxyType(
    {
        "tiny": VideomtSizes(
            num_classes=8,
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_blocks=2,
            num_queries=8,
            image_size=64,
        ),
        "small": SMALL,
        "base": replace(SMALL, hidden_size=768, num_attention_heads=12),
        "large": replace(SMALL, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, num_blocks=4),
    }
)


def preset_name(sizes: VideomtSizes) -> str:
    """The preset with this transformer, whatever the classes and queries; `custom` when there is none."""
    for name, preset in PRESETS.items():
        if replace(preset, num_classes=sizes.num_classes, num_queries=sizes.num_queries) == sizes:
            return name
    return "custom"
