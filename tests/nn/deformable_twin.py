"""A small Deformable DETR of transformers, and its tensors under the names of IDOL's files."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig

from vistool.nn.idol_detector.sizes import IdolSizes

BOTTLENECKS: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 48], "depths": [1, 2, 1, 1]}
SIZES = IdolSizes(
    backbone="resnet-bottlenecks",
    num_classes=5,
    queries=7,
    dim=64,
    encoder_layers=2,
    encoder_ffn=96,
    decoder_layers=3,
    decoder_ffn=80,
    encoder_points=3,
    decoder_points=2,
    mask_width=12,
    mask_features=6,
    mask_hidden=5,
    frozen_norms=True,
)

RENAMED = [  # pattern of transformers, IDOL's name; in this order
    (r"model\.backbone\.model\.embedder\.embedder\.", r"backbone.0.backbone.stem.conv1."),
    (r"model\.backbone\.model\.encoder\.stages\.0\.layers\.", r"backbone.0.backbone.res2."),
    (r"model\.backbone\.model\.encoder\.stages\.1\.layers\.", r"backbone.0.backbone.res3."),
    (r"model\.backbone\.model\.encoder\.stages\.2\.layers\.", r"backbone.0.backbone.res4."),
    (r"model\.backbone\.model\.encoder\.stages\.3\.layers\.", r"backbone.0.backbone.res5."),
    (r"\.layer\.0\.(?=conv|norm)", r".conv1."),
    (r"\.layer\.1\.(?=conv|norm)", r".conv2."),
    (r"\.layer\.2\.(?=conv|norm)", r".conv3."),
    (r"convolution\.", r""),
    (r"normalization\.", r"norm."),
    (r"model\.query_position_embeddings", r"query_embed"),
    (r"model\.input_proj", r"input_proj"),
    (r"model\.(encoder|decoder|reference_points|level_embed)", r"transformer.\1"),
    (r"mlp\.fc", r"linear"),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"encoder_attn_layer_norm", r"norm1"),
    (r"self_attn_layer_norm", r"norm2"),
    (r"final_layer_norm", r"norm3"),
    (r"encoder_attn", r"cross_attn"),
    (r"o_proj", r"out_proj"),
]


def twin() -> DeformableDetrForObjectDetection:
    """Of the sizes of SIZES, with random weights that keep every stage alive and every layer different."""
    config = DeformableDetrConfig(
        backbone_config=ResNetConfig(out_features=["stage2", "stage3", "stage4"], **BOTTLENECKS),
        num_labels=SIZES.num_classes,
        num_queries=SIZES.queries,
        d_model=SIZES.dim,
        encoder_layers=SIZES.encoder_layers,
        encoder_ffn_dim=SIZES.encoder_ffn,
        encoder_n_points=SIZES.encoder_points,
        decoder_layers=SIZES.decoder_layers,
        decoder_ffn_dim=SIZES.decoder_ffn,
        decoder_n_points=SIZES.decoder_points,
        with_box_refine=True,
        tie_word_embeddings=False,  # or all layers have one box head
    )
    model = DeformableDetrForObjectDetection(config).eval()
    model.bbox_embed = model.model.decoder.bbox_embed  # refined boxes are the boxes that are given out
    fill(model.state_dict())
    return model


def fill(tensors: dict[str, Tensor]) -> None:
    """Random numbers of a size that fits the part."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in tensors.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() > 1:
            embedding = "embed" in name and "bbox" not in name and "class" not in name
            tensor.copy_(noise if embedding else noise / tensor[0].numel() ** 0.5)
        else:
            scale = name.endswith(("norm.weight", "normalization.weight", ".1.weight", "running_var"))
            tensor.copy_(0.2 * noise.abs() + 0.8 if scale else 0.2 * noise)


def as_published(model: DeformableDetrForObjectDetection) -> dict[str, Tensor]:
    """The tensors of Deformable DETR as IDOL's files name them, the box heads twice."""
    tensors = dict(model.state_dict())
    published: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if found := re.fullmatch(r"(model\.decoder\.layers\.\d+\.self_attn\.)q_proj\.(weight|bias)", key):
            parts = [tensors[f"{found[1]}{letter}_proj.{found[2]}"] for letter in "qkv"]
            published["detr.detr." + renamed(f"{found[1]}in_proj_{found[2]}")] = torch.cat(parts)
        elif not re.search(r"decoder\.layers\.\d+\.self_attn\.[kv]_proj", key):
            published["detr.detr." + renamed(key)] = tensor
    return published


def renamed(key: str) -> str:
    for pattern, name in RENAMED:
        key = re.sub(pattern, name, key)
    return key


def rest_published() -> dict[str, Tensor]:
    """What IDOL has beside Deformable DETR, filled: mask branch, controller, contrastive head."""
    dim, width, features, hidden = SIZES.dim, SIZES.mask_width, SIZES.mask_features, SIZES.mask_hidden
    numbers = (2 + features) * hidden + hidden * hidden + hidden + hidden + hidden + 1
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in {
        "lay1": (width, dim),
        "lay2": (features, width),
        "lay3": (dim, dim),
        "lay4": (dim, dim),
        "dcn": (dim, dim),
    }.items():
        shapes |= {f"detr.mask_head.{name}.weight": (rows, columns, 3, 3), f"detr.mask_head.{name}.bias": (rows,)}
    for head, last in {"controller": numbers, "reid_embed_head": dim}.items():
        for layer, rows in enumerate((dim, dim, last)):
            shapes |= {
                f"detr.{head}.layers.{layer}.weight": (rows, dim),
                f"detr.{head}.layers.{layer}.bias": (rows,),
            }
    tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
    fill(tensors)
    return tensors
