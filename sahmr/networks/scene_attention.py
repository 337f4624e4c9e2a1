"""One attention layer between streams: a message from the scene to whoever asks.

Source: SA-HMR, lib/networks/base_arch/attention/linear_attention.py and supplement Fig. 3, as told in the
networks page, section 6.4. Linear attention: Katharopoulos et al., ICML 2020.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sahmr.networks.linear import Linear

Attention = Literal["linear", "full"]
DENOMINATOR_EPS: Final = 1e-6


class SceneAttention(nn.Module):
    """M(x, s): what the queries x hear from the sources s. The caller adds it to x."""

    def __init__(
        self, width: int, heads: int = 4, dropout: float = 0.0, attention: Attention = "linear"
    ) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.query, self.key, self.value = (Linear(width, width, bias=False) for _ in range(3))
        self.merge = Linear(width, width, bias=False)
        self.merge_norm = nn.LayerNorm(width)
        self.mix = Linear(2 * width, 2 * width, bias=False)
        self.narrow = Linear(2 * width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch queries width"],
        source: Float[Tensor, "batch sources width"],
        valid: Bool[Tensor, "batch sources"],
    ) -> Float[Tensor, "batch queries width"]:
        """The message; sources that are not valid have no influence, none valid is allowed."""
        q, k, v = (
            project(stream).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (batch, heads, tokens, dim)
            for project, stream in ((self.query, x), (self.key, source), (self.value, source))
        )
        attend = linear_attention if self.attention == "linear" else full_attention
        heard = attend(q, k, v, valid).transpose(1, 2).flatten(2)  # (batch, queries, width)
        message = self.dropout(self.merge_norm(self.merge(heard)))
        mixed = self.narrow(F.relu(self.mix(torch.cat([x, message], dim=2))))
        return self.dropout(self.norm(mixed))


def linear_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch heads sources dim"],
    v: Float[Tensor, "batch heads sources dim"],
    valid: Bool[Tensor, "batch sources"],
) -> Float[Tensor, "batch heads queries dim"]:
    """Attention with the kernel (elu(q) + 1) . (elu(k) + 1), linear in the number of tokens.

    No 1/sqrt(dim). Exactly 0 where no source is valid.
    """
    keep = valid[:, None, :, None].to(v.dtype)
    q, k = F.elu(q) + 1, (F.elu(k) + 1) * keep
    total = (q * k.sum(dim=2, keepdim=True)).sum(dim=3, keepdim=True)
    return q @ (k.transpose(2, 3) @ (v * keep)) / (total + DENOMINATOR_EPS)


def full_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch heads sources dim"],
    v: Float[Tensor, "batch heads sources dim"],
    valid: Bool[Tensor, "batch sources"],
) -> Float[Tensor, "batch heads queries dim"]:
    """Softmax attention, scale 1/sqrt(dim); exactly 0 where no source is valid."""
    some = valid.any(dim=1)[:, None, None, None]
    seen = valid[:, None, None, :] | ~some  # a row without any key would be a division by zero
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen) * some
