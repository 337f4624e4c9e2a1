"""What METRO and the mesh recovery network share: image -> tokens, and coarse mesh -> full mesh.

Source: MeshTransformer, metro/modeling/bert/modeling_metro.py, as told in the networks page, sections 6.2
and 6.5.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipelines.bodies.downsample import PYRAMID_SIZES
from pipelines.config import Settings
from sahmr.networks.bert_encoder import StageSettings
from sahmr.networks.hrnet import HrnetSettings, HrnetWithHead
from sahmr.types import BodyTemplate

HRNET_STRIDE: Final = 32


class MeshTransformerSettings(Settings):
    """Sizes of a mesh transformer; the defaults are METRO's (supplement, section 1.1)."""

    backbone: HrnetSettings = HrnetSettings()
    image_px: int = 224
    num_joints: int = 14
    mesh_sizes: tuple[int, int, int] = PYRAMID_SIZES
    """Vertices of the full, middle and coarse mesh."""
    hidden: tuple[int, ...] = (1024, 256, 128)
    """Width inside each stage."""
    outputs: tuple[int, ...] = (512, 128, 3)
    """Width of the tokens after each stage."""
    heads: int = 4
    layers: int = 4
    feed_forward: int = 3072
    positions: int = 512
    dropout: float = 0.1

    @property
    def num_tokens(self) -> int:
        """Joint tokens, then coarse vertex tokens."""
        return self.num_joints + self.mesh_sizes[-1]

    @property
    def stages(self) -> list[StageSettings]:
        """The settings of each stage; the first reads a template point beside each image token."""
        inputs = [3 + self.backbone.head_channels, *self.outputs]
        return [
            StageSettings(
                inputs=before,
                hidden=hidden,
                outputs=after,
                heads=self.heads,
                layers=self.layers,
                feed_forward=self.feed_forward,
                positions=self.positions,
                dropout=self.dropout,
            )
            for before, hidden, after in zip(inputs, self.hidden, self.outputs, strict=False)
        ]


class ImageTokens(nn.Module):
    """One token per joint and coarse vertex, each a learnt mixture of the backbone's grid cells."""

    def __init__(self, settings: MeshTransformerSettings) -> None:
        super().__init__()
        self.backbone = HrnetWithHead(settings.backbone)
        cells = (settings.image_px // HRNET_STRIDE) ** 2
        self.mix = nn.Conv1d(cells, settings.num_tokens, 1)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch tokens features"]:
        """Tokens T of normalised crops."""
        grid = self.backbone(images)
        return self.mix(grid.flatten(2).transpose(1, 2))  # over (batch, cells, features)


class MeshUpsampling(nn.Module):
    """Coarse -> middle -> full mesh by learnt matrices, alike for each coordinate."""

    def __init__(self, settings: MeshTransformerSettings) -> None:
        super().__init__()
        full, middle, coarse = settings.mesh_sizes
        self.to_middle = nn.Linear(coarse, middle)
        self.to_full = nn.Linear(middle, full)

    def forward(
        self, coarse: Float[Tensor, "batch coarse 3"]
    ) -> tuple[Float[Tensor, "batch middle 3"], Float[Tensor, "batch full 3"]]:
        """Vertices of the middle and of the full mesh."""
        middle = self.to_middle(coarse.transpose(1, 2))
        return middle.transpose(1, 2), self.to_full(middle).transpose(1, 2)


def place_on_template(
    tokens: Float[Tensor, "batch tokens features"], template: BodyTemplate
) -> Float[Tensor, "batch tokens inputs"]:
    """Vertex stream X = [template xyz | T]."""
    points = torch.cat([template.joints, template.vertices]).to(tokens)
    return torch.cat([points.expand(len(tokens), -1, -1), tokens], dim=2)
