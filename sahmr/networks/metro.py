"""METRO: the baseline that recovers a mesh from the image alone.

    prediction = Metro(MeshTransformerSettings())(images, template)
    pixels = crop_projection(prediction.joints, prediction.camera, crop_px=224)

Source: MeshTransformer, metro/modeling/bert/modeling_metro.py, as told in the networks page, section 10.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sahmr.networks.bert_encoder import EncoderStage
from sahmr.networks.crop_geometry import require_finite
from sahmr.networks.mesh_tokens import (
    ImageTokens,
    MeshTransformerSettings,
    MeshUpsampling,
    place_on_template,
)
from sahmr.types import BodyTemplate

CAMERA_HIDDEN: Final = 250
MASKED_TOKEN: Final = 0.01
"""What METRO's training puts in place of a hidden token's inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class MetroPrediction:
    """Joints and meshes relative to the body, camera axes, metres; a weak-perspective camera."""

    joints: Float[Tensor, "batch joints 3"]
    """From the joint tokens, not from the mesh."""
    coarse: Float[Tensor, "batch coarse 3"]
    middle: Float[Tensor, "batch middle 3"]
    full: Float[Tensor, "batch full 3"]
    camera: Float[Tensor, "batch 3"]
    """Scale, shift x, shift y; see `crop_projection`."""


class Metro(nn.Module):
    """Backbone, three transformer stages, learnt upsampling, camera."""

    def __init__(self, settings: MeshTransformerSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or MeshTransformerSettings()
        self.image_tokens = ImageTokens(settings)
        self.stages = nn.ModuleList(EncoderStage(stage) for stage in settings.stages)
        self.upsampling = MeshUpsampling(settings)
        self.camera_point = nn.Linear(3, 1)
        self.camera_hidden = nn.Linear(settings.mesh_sizes[-1], CAMERA_HIDDEN)
        self.camera = nn.Linear(CAMERA_HIDDEN, 3)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        template: BodyTemplate,
        masked: Bool[Tensor, "batch tokens"] | None = None,
    ) -> MetroPrediction:
        """Recover a mesh from each crop.

        Args:
            images: RGB in 0..1, minus the ImageNet mean, over its standard deviation.
            template: the body the tokens start from.
            masked: tokens hidden in training.

        Raises:
            DataInvalid: the images are not finite.
        """
        require_finite("images", images)
        x = place_on_template(self.image_tokens(images), template)
        if masked is not None:
            x = torch.where(masked[:, :, None], MASKED_TOKEN, x)
        for stage in self.stages:
            x = stage(x)
        joints, coarse = x.tensor_split((self.settings.num_joints,), dim=1)
        middle, full = self.upsampling(coarse)
        camera = self.camera(self.camera_hidden(self.camera_point(coarse)[:, :, 0]))
        return MetroPrediction(joints, coarse, middle, full, camera)


def crop_projection(
    points: Float[Tensor, "batch points 3"], camera: Float[Tensor, "batch 3"], crop_px: int
) -> Float[Tensor, "batch points 2"]:
    """Crop pixels of points under METRO's weak-perspective camera."""
    scale, shift = camera[:, None, :1], camera[:, None, 1:]
    return crop_px / 2 * scale * (points[..., :2] + shift) + crop_px / 2
