"""METRO's transformer stage: image tokens in, refined and narrower tokens out.

Four BERT layers (post-norm) over the 14 joint and 431 vertex tokens, between an embedding and an output
layer that has a linear shortcut round the whole stage.

Source: MeshTransformer, metro/modeling/bert/modeling_metro.py and modeling_bert.py, as told in the networks
page, sections 6.3 and 6.4.
"""

from __future__ import annotations

from typing import Final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pipelines.config import Settings
from sahmr.networks.linear import Linear

BERT_NORM_EPS: Final = 1e-12
INIT_STD: Final = 0.02
"""Of linear and embedding weights; biases start at 0."""


class StageSettings(Settings):
    """Sizes of one stage."""

    inputs: int
    """Width of the tokens that enter (`img_feature_dim`)."""
    hidden: int
    """Width E inside."""
    outputs: int
    """Width of the tokens that leave."""
    heads: int = 4
    layers: int = 4
    feed_forward: int = 3072
    """Equal in all stages, not 4 E: METRO keeps BERT-base's value."""
    positions: int = 512
    """Rows of the position table; tokens use the first ones."""
    dropout: float = 0.1


class BertLayer(nn.Module):
    """Self-attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, settings: StageSettings) -> None:
        super().__init__()
        width, self.heads = settings.hidden, settings.heads
        self.query, self.key, self.value = (Linear(width, width) for _ in range(3))
        self.attention_out = Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=BERT_NORM_EPS)
        self.widen = Linear(width, settings.feed_forward)
        self.narrow = Linear(settings.feed_forward, width)
        self.norm = nn.LayerNorm(width, eps=BERT_NORM_EPS)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, h: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Every token attends to every token."""
        q, k, v = (self._split(project(h)) for project in (self.query, self.key, self.value))
        dropout = self.dropout.p if self.training else 0.0
        message = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)  # scale 1/sqrt(dim)
        message = message.transpose(1, 2).flatten(2)  # (batch, tokens, width)
        h = self.attention_norm(h + self.dropout(self.attention_out(message)))
        widened = F.gelu(self.widen(h))  # exact (erf) GELU
        return self.norm(h + self.dropout(self.narrow(widened)))

    def _split(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch heads tokens dim"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class EncoderStage(nn.Module):
    """One of METRO's three stages."""

    def __init__(self, settings: StageSettings) -> None:
        super().__init__()
        self.embed = Linear(settings.inputs, settings.hidden)
        self.positions = nn.Embedding(settings.positions, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(BertLayer(settings) for _ in range(settings.layers))
        self.head = Linear(settings.hidden, settings.outputs)
        self.skip = Linear(settings.inputs, settings.outputs)
        self.apply(initialise_transformer)

    def encode(self, x: Float[Tensor, "batch tokens inputs"]) -> Float[Tensor, "batch tokens hidden"]:
        """Embed the tokens at their positions and run the layers."""
        h = self.dropout(self.positions.weight[: x.shape[1]] + self.embed(x))
        for layer in self.layers:
            h = layer(h)
        return h

    def leave(
        self, h: Float[Tensor, "batch tokens hidden"], x: Float[Tensor, "batch tokens inputs"]
    ) -> Float[Tensor, "batch tokens outputs"]:
        """The stage's output from its hidden state and its input."""
        return self.head(h) + self.skip(x)

    def forward(self, x: Float[Tensor, "batch tokens inputs"]) -> Float[Tensor, "batch tokens outputs"]:
        """Refine and narrow the tokens."""
        return self.leave(self.encode(x), x)


def initialise_transformer(module: nn.Module) -> None:
    """Start linear and embedding weights small, biases at zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
