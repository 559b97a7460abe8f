"""The keys of Mask2Former's released files, written out by hand from the public modules, beside those of the hub.

Every function gives: key of detectron2 → the keys of transformers whose tensors, one after another, are that tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

Keys = dict[str, tuple[str, ...]]

BOTH = ("weight", "bias")
PIXELS = ("sem_seg_head.pixel_decoder.", "model.pixel_level_module.decoder.")
QUERIES = ("sem_seg_head.predictor.", "model.transformer_module.")
IMAGE = ("backbone.", "model.pixel_level_module.encoder.")


def pair(roots: tuple[str, str], d2: str, hub: str, ends: Sequence[str] = BOTH) -> Keys:
    """`d2` and `hub` below their roots, with each of `ends` after both."""
    return {f"{roots[0]}{d2}{end}": (f"{roots[1]}{hub}{end}",) for end in ends}


def split(roots: tuple[str, str], d2: str, hubs: Sequence[str], joint: str = ".") -> Keys:
    """One tensor of detectron2 that is several of transformers."""
    return {f"{roots[0]}{d2}{joint}{end}": tuple(f"{roots[1]}{hub}.{end}" for hub in hubs) for end in BOTH}


def swin(depths: Sequence[int]) -> Keys:
    keys = pair(IMAGE, "patch_embed.proj.", "embeddings.patch_embeddings.projection.")
    keys |= pair(IMAGE, "patch_embed.norm.", "embeddings.norm.")
    for stage, blocks in enumerate(depths):
        for block in range(blocks):
            keys |= swin_block(f"layers.{stage}.blocks.{block}.", f"encoder.layers.{stage}.blocks.{block}.")
        if stage < 3:
            below, hub = f"layers.{stage}.downsample.", f"encoder.layers.{stage}.downsample."
            keys |= pair(IMAGE, below, hub, ["reduction.weight", "norm.weight", "norm.bias"])
        keys |= pair(IMAGE, f"norm{stage}.", f"hidden_states_norms.stage{stage + 1}.")
    return keys


def swin_block(d2: str, hub: str) -> Keys:
    attention = f"{hub}attention.self."
    return {
        **pair(IMAGE, f"{d2}norm1.", f"{hub}layernorm_before."),
        **pair(IMAGE, f"{d2}norm2.", f"{hub}layernorm_after."),
        **split(IMAGE, f"{d2}attn.qkv", [f"{attention}{part}" for part in ("query", "key", "value")]),
        **pair(IMAGE, f"{d2}attn.proj.", f"{hub}attention.output.dense."),
        **pair(IMAGE, f"{d2}attn.", attention, ["relative_position_bias_table"]),
        **pair(IMAGE, f"{d2}mlp.fc1.", f"{hub}intermediate.dense."),
        **pair(IMAGE, f"{d2}mlp.fc2.", f"{hub}output.dense."),
    }


def resnet(depths: Sequence[int]) -> Keys:
    keys = convolution("stem.conv1", "embedder.embedder")
    for stage, blocks in enumerate(depths):
        for block in range(blocks):
            d2, hub = f"res{stage + 2}.{block}.", f"encoder.stages.{stage}.layers.{block}."
            for number in (1, 2, 3):
                keys |= convolution(f"{d2}conv{number}", f"{hub}layer.{number - 1}")
            if block == 0:
                keys |= convolution(f"{d2}shortcut", f"{hub}shortcut")
    return keys


def convolution(d2: str, hub: str) -> Keys:
    statistics = ["weight", "bias", "running_mean", "running_var"]
    return {
        **pair(IMAGE, f"{d2}.", f"{hub}.convolution.", ["weight"]),
        **pair(IMAGE, f"{d2}.norm.", f"{hub}.normalization.", statistics),
    }


def head(encoder_layers: int, decoder_layers: int) -> Keys:
    """Pixel decoder and transformer decoder."""
    keys = pair(PIXELS, "transformer.level_embed", "level_embed", [""])
    for level in range(3):
        for part in (0, 1):
            keys |= pair(PIXELS, f"input_proj.{level}.{part}.", f"input_projections.{level}.{part}.")
    for layer in range(encoder_layers):
        keys |= pixel_layer(f"transformer.encoder.layers.{layer}.", f"encoder.layers.{layer}.")
    for name in ("adapter_1", "layer_1"):
        keys |= pair(PIXELS, f"{name}.", f"{name}.0.", ["weight"]) | pair(PIXELS, f"{name}.norm.", f"{name}.1.")
    keys |= pair(PIXELS, "mask_features.", "mask_projection.")

    keys |= pair(QUERIES, "query_feat.", "queries_features.", ["weight"])
    keys |= pair(QUERIES, "query_embed.", "queries_embedder.", ["weight"])
    keys |= pair(QUERIES, "level_embed.", "level_embed.", ["weight"])
    for layer in range(decoder_layers):
        keys |= query_layer(layer, f"decoder.layers.{layer}.")
    keys |= pair(QUERIES, "decoder_norm.", "decoder.layernorm.")
    for layer in range(3):
        keys |= pair(QUERIES, f"mask_embed.layers.{layer}.", f"decoder.mask_predictor.mask_embedder.{layer}.0.")
    return keys | pair((QUERIES[0], ""), "class_embed.", "class_predictor.")


def pixel_layer(d2: str, hub: str) -> Keys:
    parts = ["sampling_offsets", "attention_weights", "value_proj", "output_proj"]
    keys = pair(PIXELS, f"{d2}self_attn.", f"{hub}self_attn.", [f"{part}.{end}" for part in parts for end in BOTH])
    for theirs, hubs in [
        ("norm1", "self_attn_layer_norm"),
        ("linear1", "fc1"),
        ("linear2", "fc2"),
        ("norm2", "final_layer_norm"),
    ]:
        keys |= pair(PIXELS, f"{d2}{theirs}.", f"{hub}{hubs}.")
    return keys


def query_layer(layer: int, hub: str) -> Keys:
    cross = f"transformer_cross_attention_layers.{layer}."
    own = f"transformer_self_attention_layers.{layer}."
    ffn = f"transformer_ffn_layers.{layer}."
    in_projections = [f"{hub}self_attn.{letter}_proj" for letter in "qkv"]
    return {
        **pair(QUERIES, f"{cross}multihead_attn.in_proj_", f"{hub}cross_attn.in_proj_"),
        **pair(QUERIES, f"{cross}multihead_attn.out_proj.", f"{hub}cross_attn.out_proj."),
        **pair(QUERIES, f"{cross}norm.", f"{hub}cross_attn_layer_norm."),
        **split(QUERIES, f"{own}self_attn.in_proj", in_projections, joint="_"),
        **pair(QUERIES, f"{own}self_attn.out_proj.", f"{hub}self_attn.out_proj."),
        **pair(QUERIES, f"{own}norm.", f"{hub}self_attn_layer_norm."),
        **pair(QUERIES, f"{ffn}linear1.", f"{hub}fc1."),
        **pair(QUERIES, f"{ffn}linear2.", f"{hub}fc2."),
        **pair(QUERIES, f"{ffn}norm.", f"{hub}final_layer_norm."),
    }
