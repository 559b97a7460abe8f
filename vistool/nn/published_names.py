"""The names that Mask2Former's weights go by elsewhere: our name beside the published one, for every layout.

`#` stands for a number, `*` for the rest of a name. The first row that fits counts. A row with a part says that three
of our tensors lie one after another in one of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple


class Row(NamedTuple):
    """Our name and theirs; None: the published layout has no such tensor."""

    ours: str
    theirs: str | None
    part: int | None = None  # of three equal blocks of rows: queries, keys, values


class Source(NamedTuple):
    """Where one of our tensors lies in a published file."""

    key: str
    part: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """A published layout: its rows, and the tensors in its files that say nothing about the weights."""

    rows: tuple[Row, ...]
    ignored: tuple[str, ...]  # of their names

    def source(self, ours: str) -> Source | None:
        """Where the tensor of our network called `ours` lies; None when this layout does without it."""
        for row in self.rows:
            if found := _pattern(row.ours).fullmatch(ours):
                return Source(_filled(row.theirs, found.groups()), row.part) if row.theirs is not None else None
        raise KeyError(f"no row for {ours!r}")

    def ignores(self, theirs: str) -> bool:
        """Whether a reader may leave out the tensor that they call `theirs`."""
        return any(_pattern(name).fullmatch(theirs) for name in self.ignored)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)"))


def _filled(template: str, groups: Iterable[str]) -> str:
    values = iter(groups)
    return re.sub(r"[#*]", lambda _: next(values), template)


def under(ours: str, theirs: str, names: Mapping[str, str]) -> list[Row]:
    """Rows of the parts of one module."""
    return [Row(ours + mine, theirs + yours) for mine, yours in names.items()]


def fused(ours: str, theirs: str) -> list[Row]:
    """Rows of query, key and value projections that are one matrix elsewhere; `{}` is q, k or v."""
    return [Row(ours.format(letter), theirs, part) for part, letter in enumerate("qkv")]


_BODY = "trunk.backbone.body."
_SWIN = _BODY + "swin."
_SWIN_BLOCK = _SWIN + "encoder.layers.#.blocks.#."
_PIXELS = "trunk.pixel_decoder."
_LAYER = "decoder.layers.#."

_D2_PIXELS = "sem_seg_head.pixel_decoder."
_D2_QUERIES = "sem_seg_head.predictor."
_D2_CROSS = _D2_QUERIES + "transformer_cross_attention_layers.#."
_D2_SELF = _D2_QUERIES + "transformer_self_attention_layers.#."

_D2_SWIN = [
    *under(
        _SWIN + "embeddings.", "backbone.patch_embed.", {"patch_embeddings.projection.*": "proj.*", "norm.*": "norm.*"}
    ),
    *fused(_SWIN_BLOCK + "attention.{}_proj.*", "backbone.layers.#.blocks.#.attn.qkv.*"),
    *under(
        _SWIN_BLOCK,
        "backbone.layers.#.blocks.#.",
        {
            "attention.o_proj.*": "attn.proj.*",
            "attention.relative_position_bias.relative_position_bias_table": "attn.relative_position_bias_table",
            "layernorm_before.*": "norm1.*",
            "layernorm_after.*": "norm2.*",
            "mlp.*": "mlp.*",
        },
    ),
    Row(_SWIN + "encoder.layers.#.downsample.*", "backbone.layers.#.downsample.*"),
    *(Row(f"{_BODY}hidden_states_norms.stage{i + 1}.*", f"backbone.norm{i}.*") for i in range(4)),
]

_RESNET_UNITS = {"shortcut": "shortcut", "layer.0": "conv1", "layer.1": "conv2", "layer.2": "conv3"}
_D2_RESNET = [
    Row(_BODY + "*.num_batches_tracked", None),
    Row(_BODY + "embedder.embedder.convolution.*", "backbone.stem.conv1.*"),
    Row(_BODY + "embedder.embedder.normalization.*", "backbone.stem.conv1.norm.*"),
    *(
        Row(f"{_BODY}encoder.stages.{stage}.layers.#.{unit}.{part}.*", f"backbone.res{stage + 2}.#.{theirs}{suffix}.*")
        for stage in range(4)
        for unit, theirs in _RESNET_UNITS.items()
        for part, suffix in (("convolution", ""), ("normalization", ".norm"))
    ),
]

DETECTRON2_BACKBONE = (*_D2_SWIN, *_D2_RESNET)
DETECTRON2_PIXELS = tuple(
    under(
        _PIXELS,
        _D2_PIXELS,
        {
            "input_projections.*": "input_proj.*",
            "level_embed": "transformer.level_embed",
            "layers.#.self_attn.*": "transformer.encoder.layers.#.self_attn.*",
            "layers.#.self_attn_norm.*": "transformer.encoder.layers.#.norm1.*",
            "layers.#.ffn.inner.*": "transformer.encoder.layers.#.linear1.*",
            "layers.#.ffn.out.*": "transformer.encoder.layers.#.linear2.*",
            "layers.#.ffn_norm.*": "transformer.encoder.layers.#.norm2.*",
            "adapter.0.*": "adapter_1.*",
            "adapter.1.*": "adapter_1.norm.*",
            "smooth.0.*": "layer_1.*",
            "smooth.1.*": "layer_1.norm.*",
            "mask_projection.*": "mask_features.*",
        },
    )
)
"""Backbone and pixel decoder, which other networks of the same makers call the same."""

DETECTRON2 = Layout(
    rows=(
        *DETECTRON2_BACKBONE,
        *DETECTRON2_PIXELS,
        *fused(_LAYER + "cross_attn.to_{}.*", _D2_CROSS + "multihead_attn.in_proj_*"),
        *fused(_LAYER + "self_attn.to_{}.*", _D2_SELF + "self_attn.in_proj_*"),
        *under(_LAYER + "cross_attn", _D2_CROSS, {".out.*": "multihead_attn.out_proj.*", "_norm.*": "norm.*"}),
        *under(_LAYER + "self_attn", _D2_SELF, {".out.*": "self_attn.out_proj.*", "_norm.*": "norm.*"}),
        *under(
            _LAYER + "ffn",
            _D2_QUERIES + "transformer_ffn_layers.#.",
            {".inner.*": "linear1.*", ".out.*": "linear2.*", "_norm.*": "norm.*"},
        ),
        *under(
            "decoder.",
            _D2_QUERIES,
            {
                "query_feat": "query_feat.weight",
                "query_embed": "query_embed.weight",
                "level_embed": "level_embed.weight",
                "heads.norm.*": "decoder_norm.*",
                "heads.class_embed.*": "class_embed.*",
                "heads.mask_embed.*": "mask_embed.*",
            },
        ),
    ),
    ignored=("*.relative_position_index", "criterion.empty_weight", "pixel_mean", "pixel_std"),
)

_HF_ENCODER = "model.pixel_level_module.encoder."
_HF_PIXELS = "model.pixel_level_module.decoder."
_HF_QUERIES = "model.transformer_module."
_HF_LAYER = _HF_QUERIES + "decoder.layers.#."

_HF_HEAD = [
    *under(
        _PIXELS,
        _HF_PIXELS,
        {
            "input_projections.*": "input_projections.*",
            "level_embed": "level_embed",
            "layers.#.self_attn.*": "encoder.layers.#.self_attn.*",
            "layers.#.self_attn_norm.*": "encoder.layers.#.self_attn_layer_norm.*",
            "layers.#.ffn.inner.*": "encoder.layers.#.fc1.*",
            "layers.#.ffn.out.*": "encoder.layers.#.fc2.*",
            "layers.#.ffn_norm.*": "encoder.layers.#.final_layer_norm.*",
            "adapter.*": "adapter_1.*",
            "smooth.*": "layer_1.*",
            "mask_projection.*": "mask_projection.*",
        },
    ),
    *fused(_LAYER + "cross_attn.to_{}.*", _HF_LAYER + "cross_attn.in_proj_*"),
    *under(
        _LAYER,
        _HF_LAYER,
        {
            "cross_attn.out.*": "cross_attn.out_proj.*",
            "cross_attn_norm.*": "cross_attn_layer_norm.*",
            **{f"self_attn.to_{letter}.*": f"self_attn.{letter}_proj.*" for letter in "qkv"},
            "self_attn.out.*": "self_attn.out_proj.*",
            "self_attn_norm.*": "self_attn_layer_norm.*",
            "ffn.inner.*": "fc1.*",
            "ffn.out.*": "fc2.*",
            "ffn_norm.*": "final_layer_norm.*",
        },
    ),
    *under(
        "decoder.",
        _HF_QUERIES,
        {
            "query_feat": "queries_features.weight",
            "query_embed": "queries_embedder.weight",
            "level_embed": "level_embed.weight",
            "heads.norm.*": "decoder.layernorm.*",
            "heads.mask_embed.layers.#.*": "decoder.mask_predictor.mask_embedder.#.0.*",
        },
    ),
    Row("decoder.heads.class_embed.*", "class_predictor.*"),
]
_HF_IGNORED = (
    "*.relative_position_index",
    "criterion.empty_weight",
    _HF_ENCODER + "swin.layernorm.*",
    _HF_ENCODER + "layernorm.*",
)

TRANSFORMERS_MEMORY = Layout((Row(_BODY + "*", _HF_ENCODER + "*"), *_HF_HEAD), _HF_IGNORED)
"""What `state_dict()` of transformers 5 says: the backbone's names are those of the library, as ours are."""

TRANSFORMERS_FILE = Layout(
    rows=(
        Row(_SWIN + "embeddings.*", _HF_ENCODER + "embeddings.*"),
        *under(
            _SWIN_BLOCK,
            _HF_ENCODER + "encoder.layers.#.blocks.#.",
            {
                "attention.q_proj.*": "attention.self.query.*",
                "attention.k_proj.*": "attention.self.key.*",
                "attention.v_proj.*": "attention.self.value.*",
                "attention.o_proj.*": "attention.output.dense.*",
                "attention.relative_position_bias.*": "attention.self.*",
                "layernorm_before.*": "layernorm_before.*",
                "layernorm_after.*": "layernorm_after.*",
                "mlp.fc1.*": "intermediate.dense.*",
                "mlp.fc2.*": "output.dense.*",
            },
        ),
        Row(_SWIN + "encoder.layers.#.downsample.*", _HF_ENCODER + "encoder.layers.#.downsample.*"),
        *TRANSFORMERS_MEMORY.rows,
    ),
    ignored=_HF_IGNORED,
)
"""What stands in files: Swin's older names. ResNets go by one name everywhere."""
