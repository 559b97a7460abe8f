"""What IAI's released files call the tensors of the association, beside ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...nn.published_names import Layout, under

OURS = "association."
_THEIRS = ("encoder_projector.", "backbone_projector.", "lstt.")
_LAYER = "lstt.LSTT.layers.0."
_PLACE_VALUES = _LAYER + "short_term_attn.V_bias"
_GATE = _LAYER + "activation.GCT."

ASSOCIATION = Layout(
    rows=(
        *under(
            OURS,
            "",
            {
                "encoder_projector.*": "encoder_projector.*",
                "class_projector.*": "backbone_projector.*",
                "id_bank.*": "lstt.patch_wise_id_bank.*",
                "out_norm.*": "lstt.LSTT.decoder_norms.0.*",
            },
        ),
        *under(
            OURS,
            _LAYER,
            {
                "self_norm.*": "norm2.*",  # numbered in the order of another network
                "self_attention.to_q.*": "self_attn.linear_Q.*",
                "self_attention.to_k.*": "self_attn.linear_K.*",
                "self_attention.to_v.*": "self_attn.linear_V.*",
                "self_attention.out.*": "self_attn.projection.*",
                "memory_norm.*": "norm1.*",
                "to_query.*": "linear_Q.*",
                "to_value.*": "linear_V.*",
                "global_out.*": "long_term_attn.projection.*",
                "local_attention.relative.*": "short_term_attn.relative_emb.*",
                "local_attention.place_values": "short_term_attn.V_bias",
                "local_attention.out.*": "short_term_attn.fc.*",
                "ffn_norm.*": "norm3.*",
                "ffn.inner.*": "linear1.*",
                "ffn.norm.*": "activation.gn.*",
                "ffn.gate.*": "activation.GCT.*",
                "ffn.around.*": "activation.conv.*",
                "ffn.out.*": "linear2.*",
            },
        ),
    ),
    ignored=(),
)

Tensors = Mapping[str, Tensor]


def parted(tensors: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the association, in the shapes that ours have, and those of backbone and image model."""
    association = {name: _plain(name, tensor) for name, tensor in tensors.items() if name.startswith(_THEIRS)}
    return association, {name: tensor for name, tensor in tensors.items() if name not in association}


def released(ours: Tensors) -> dict[str, Tensor]:
    """Tensors of our association, their names without `association.`, as released files have them."""
    found = {}
    for name, tensor in ours.items():
        source = ASSOCIATION.source(OURS + name)
        assert source is not None, name
        wide = source.key == _PLACE_VALUES
        found[source.key] = (
            tensor[None, ..., None] if wide else tensor[None] if source.key.startswith(_GATE) else tensor
        )
    return found


def _plain(name: str, tensor: Tensor) -> Tensor:
    """Without the dimensions of length 1 around it; of another shape, as it is."""
    if name == _PLACE_VALUES and tensor.ndim == 5 and tensor.shape[0] == tensor.shape[-1] == 1:
        return tensor[0, ..., 0]
    if name.startswith(_GATE) and tensor.ndim == 4 and tensor.shape[0] == 1:
        return tensor[0]
    return tensor
