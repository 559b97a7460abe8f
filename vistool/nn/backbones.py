"""Image backbones, all from transformers: a name → a network that gives maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

_STAGES = ["stage1", "stage2", "stage3", "stage4"]
RESNETS: dict[str, dict[str, Any]] = {  # the stride of a bottleneck stands in its 3x3 convolution
    "resnet-tiny": {
        "embedding_size": 32,
        "hidden_sizes": [32, 64, 128, 256],
        "depths": [2, 2, 2, 2],
        "layer_type": "basic",
    },
    "resnet-50": {"hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3]},
    "resnet-101": {"hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 23, 3]},
}
SWINS: dict[str, dict[str, Any]] = {
    "swin-tiny": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7},
    "swin-small": {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24], "window_size": 7},
    "swin-base": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 12},
    "swin-large": {"embed_dim": 192, "depths": [2, 2, 18, 2], "num_heads": [6, 12, 24, 48], "window_size": 12},
}
MSRA = "-msra"
"""Ending of a ResNet's name: the stride of its bottlenecks stands in the first convolution, as its makers had it."""
_AS_NAMED: Mapping[str, Any] = MappingProxyType({})


class Backbone(nn.Module):
    """A transformers backbone by name. Built without the hub: fresh weights, sizes as published.

    `sizes` are those of a ResNet that has no name here, as its configuration calls them.
    """

    def __init__(self, name: str, *, frozen_norms: bool = False, sizes: Mapping[str, Any] = _AS_NAMED) -> None:
        super().__init__()
        self.body, self.channels = _build(name, sizes)
        self._frozen = [m for m in self.body.modules() if isinstance(m, nn.BatchNorm2d)] if frozen_norms else []
        for norm in self._frozen:
            norm.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, 3, H, W) normalised → four maps (B, C_i, H / 2^(i+2), W / 2^(i+2)), fine to coarse."""
        return tuple(self.body(images).feature_maps)

    def train(self, mode: bool = True) -> Backbone:
        """Frozen batch norms keep their statistics whatever the mode."""
        super().train(mode)
        for norm in self._frozen:
            norm.eval()
        return self


def _build(name: str, sizes: Mapping[str, Any]) -> tuple[nn.Module, tuple[int, ...]]:
    """The network and the channels of its four maps."""
    plain = name.removesuffix(MSRA)
    if sizes or plain in RESNETS:
        from transformers import ResNetBackbone, ResNetConfig

        sizes = sizes or RESNETS[plain]
        resnet = ResNetConfig.from_dict({"out_features": _STAGES, "downsample_in_bottleneck": plain != name, **sizes})
        return ResNetBackbone(resnet), tuple(sizes["hidden_sizes"])
    if name in SWINS:
        from transformers import SwinBackbone, SwinConfig

        swin = SwinConfig.from_dict({"out_features": _STAGES, "drop_path_rate": 0.3, **SWINS[name]})
        body: Any = SwinBackbone(swin)
        body.swin.layernorm = nn.Identity()  # of a classifier; the stages have norms of their own
        return body, tuple(SWINS[name]["embed_dim"] * 2**stage for stage in range(4))
    raise ValueError(f"unknown backbone {name!r}, expected one of {[*RESNETS, *SWINS]}")
