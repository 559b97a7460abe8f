"""A small network of the released kind, filled so that it finds something, and its file as it would be released."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vistool.methods.iai.layout import released
from vistool.methods.iai.network import Iai
from vistool.methods.iai.presets import Preset, without_counts
from vistool.nn.condinst.names import to_published
from vistool.nn.condinst.network import CondInst
from vistool.nn.condinst.sizes import CondInstSizes

BACKBONE: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [16, 24, 32, 48],
    "depths": [1, 1, 1, 1],
    "layer_type": "bottleneck",
}
SIZES = CondInstSizes(num_classes=5, num_ids=7, dim=64, tower_depth=1, mask_width=8, mask_depth=1, mask_features=4)
PRESET = Preset(
    image=without_counts(SIZES),
    backbone="resnet",
    backbone_sizes=BACKBONE,
    num_classes=SIZES.num_classes,
    max_ids=SIZES.num_ids,
    dim=16,
    ffn=32,
    local_window=3,
)


def network(seed: int = 0) -> Iai:
    """Random everywhere, with many candidates that pass the thresholds."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Iai(PRESET).eval()
        enliven(made)
    return made


def enliven(module: nn.Module) -> None:
    """Weights that keep every stage alive, no two norms alike, and nothing at its start."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith(("running_var", "scale")) or ".scales." in name:
                tensor.copy_(0.5 + torch.rand(tensor.shape))
            elif tensor.ndim >= 2:
                tensor.copy_(torch.randn(tensor.shape) * (2 / max(1, tensor[0].numel())) ** 0.5)
            else:
                tensor.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * torch.randn(tensor.shape))


def image_file(image: nn.Module, layout: str) -> dict[str, Tensor]:
    """Backbone and image model, `backbone.…` and `detector.…`, as files of a layout have them."""
    return to_published(image.state_dict(), layout)


def released_file(made: Iai) -> dict[str, Tensor]:
    tensors = made.state_dict()
    image = {name: tensor for name, tensor in tensors.items() if not name.startswith("association.")}
    return to_published(image, "iai") | released(made.association.state_dict())


def condinst(sizes: CondInstSizes, backbone: nn.Module, channels: tuple[int, ...]) -> nn.Module:
    """An image model without IAI's modules."""
    made = nn.ModuleDict({"backbone": backbone, "detector": CondInst(sizes, channels)}).eval()
    enliven(made)
    return made
