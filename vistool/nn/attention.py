"""Multi-head attention through `scaled_dot_product_attention`, with the projection of the memory apart from its use."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention. What is attended to can be projected once and attended to often."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        for linear in (self.to_q, self.to_k, self.to_v, self.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def project_memory(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """keys, values (…, P, D) → keys, values (…, heads, P, D / heads)."""
        return self._split(self.to_k(keys)), self._split(self.to_v(values))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
        """queries (B, Q, D), projected memory (B, heads, P, D / heads), visible bool (B, Q, P) → (B, Q, D)."""
        mask = None if visible is None else visible[:, None]
        mixed = F.scaled_dot_product_attention(self._split(self.to_q(queries)), keys, values, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None) -> Tensor:
        """queries (B, Q, D), keys and values (B, P, D), visible bool (B, Q, P) → (B, Q, D)."""
        return self.attend(queries, *self.project_memory(keys, values), visible)

    def _split(self, x: Tensor) -> Tensor:  # (…, L, D) → (…, heads, L, D / heads)
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(-3, -2)
