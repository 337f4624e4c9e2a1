"""The mesh recovery module: METRO's vertex stream beside a stream of scene points in contact.

In each of three stages the scene stream attends to itself, then the vertex stream attends to the scene
stream. What the scene points know of the body is which part they touch: a point's token is its position
and the mean image token of that part.

Source: SA-HMR, supplement section 1.1 and Fig. 3; lib/networks/pose/sahmr/bert/modeling_metro_enhanced.py,
as told in the networks page, section 6.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sahmr.networks.bert_encoder import EncoderStage, StageSettings, initialise_transformer
from sahmr.networks.mesh_tokens import (
    ImageTokens,
    MeshTransformerSettings,
    MeshUpsampling,
    place_on_template,
)
from sahmr.networks.scene_attention import Attention, SceneAttention
from sahmr.types import BodyTemplate, ContactCategories, ContactPoints, RecoveredMesh


class MeshRecoverySettings(MeshTransformerSettings):
    """METRO's sizes, and those of the scene stream."""

    scene_layers: int = 2
    """Self-attention layers of the scene stream per stage."""
    scene_heads: int = 4
    attention: Attention = "linear"
    part_position_offset: int = 0
    """Added to a vertex's index when position embeddings are averaged over a part. 14 would skip the joints'
    rows; the released code does not, and released weights were trained so."""


class SceneStage(EncoderStage):
    """One stage of both streams; they share the embedding and the output layers."""

    def __init__(self, stage: StageSettings, settings: MeshRecoverySettings) -> None:
        super().__init__(stage)
        width, heads = stage.hidden, settings.scene_heads
        self.scene_layers = nn.ModuleList(
            SceneAttention(width, heads, attention=settings.attention)
            for _ in range(settings.scene_layers)
        )
        self.cross = SceneAttention(width, heads, settings.dropout, settings.attention)
        self.position_offset = settings.part_position_offset
        self.scene_layers.apply(initialise_transformer)
        self.cross.apply(initialise_transformer)

    def embed_scene(
        self,
        y: Float[Tensor, "batch points inputs"],
        category: Int[Tensor, "batch points"],
        part_means: Float[Tensor, "classes verts"],
    ) -> Float[Tensor, "batch points hidden"]:
        """Embed scene tokens at the mean position of the part they touch."""
        first, count = self.position_offset, part_means.shape[1]
        part_positions = part_means @ self.positions.weight[first : first + count]
        return self.dropout(part_positions[category] + self.embed(y))

    def forward_streams(
        self,
        x: Float[Tensor, "batch tokens inputs"],
        y: Float[Tensor, "batch points inputs"],
        contact: ContactPoints,
        part_means: Float[Tensor, "classes verts"],
    ) -> tuple[Float[Tensor, "batch tokens outputs"], Float[Tensor, "batch points outputs"]]:
        """Refine and narrow both streams."""
        valid: Bool[Tensor, "batch points"] = contact.in_contact
        h = self.encode(x)
        g = self.embed_scene(y, contact.category, part_means)
        for layer in self.scene_layers:
            g = g + layer(g, g, valid)
        h = h + self.cross(h, g, valid)
        return self.leave(h, x), self.leave(g, y)


class MeshRecovery(nn.Module):
    """Image and contact points -> body mesh around the refined root."""

    def __init__(self, settings: MeshRecoverySettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or MeshRecoverySettings()
        self.image_tokens = ImageTokens(settings)
        self.stages = nn.ModuleList(SceneStage(stage, settings) for stage in settings.stages)
        self.upsampling = MeshUpsampling(settings)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        contact_root: ContactPoints,
        template: BodyTemplate,
        categories: ContactCategories,
    ) -> RecoveredMesh:
        """Recover the mesh.

        Args:
            images: RGB in 0..1, minus the ImageNet mean, over its standard deviation.
            contact_root: scene points in contact, minus the refined root.
            template: the body the vertex tokens start from.
            categories: which part each contact class stands for.
        """
        tokens = self.image_tokens(images)
        part_means = categories.part_means().to(tokens)
        part_tokens = part_means @ tokens[:, self.settings.num_joints :]  # (batch, classes, features)
        x = place_on_template(tokens, template)
        y = torch.cat([contact_root.points, _pick(part_tokens, contact_root.category)], dim=2)
        xs, ys = [], []
        for stage in self.stages:
            assert isinstance(stage, SceneStage)
            x, y = stage.forward_streams(x, y, contact_root, part_means)
            xs.append(x)
            ys.append(y)
        _, vertices = self.upsampling(x[:, self.settings.num_joints :])
        return RecoveredMesh(vertices, y, tuple(xs), tuple(ys))


def _pick(
    values: Float[Tensor, "batch classes features"], category: Int[Tensor, "batch points"]
) -> Float[Tensor, "batch points features"]:
    """The row of each point's class."""
    return values.gather(1, category[:, :, None].expand(-1, -1, values.shape[2]))
