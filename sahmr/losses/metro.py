"""METRO's losses, for training the baseline and the start of both networks.

Source: MeshTransformer, metro/tools/run_metro_bodymesh.py, as told in the networks page, section 10.1.
"""

from __future__ import annotations

from typing import Final

from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import H36M14
from pipelines.config import Settings
from sahmr.networks.metro import MetroPrediction
from sahmr.target_types import MetroTargets

Terms = dict[str, Float[Tensor, " batch"]]
HIPS: Final = (2, 3)
"""Of the 14 joints; METRO's joint losses are taken around their middle."""


class MetroLossSettings(Settings):
    """Weights; the defaults are METRO's."""

    joints: float = 1000.0
    """Of mean squared errors, metres: joint tokens, and joints of the mesh."""
    vertices: float = 100.0
    """Of mean absolute errors of the three meshes."""
    projection: float = 100.0
    """Of mean squared errors in the crop, whose sides are 2 wide."""
    level: float = 0.33
    """Share of each of the three meshes."""

    def weights(self) -> dict[str, float]:
        """By term."""
        return {
            "joint_tokens": self.joints,
            "mesh_joints": self.joints,
            "coarse": self.vertices * self.level,
            "middle": self.vertices * self.level,
            "full": self.vertices * self.level,
            "token_projection": self.projection,
            "mesh_projection": self.projection,
        }


def metro_terms(
    prediction: MetroPrediction, targets: MetroTargets, h36m_regressor: Float[Tensor, "17 fine"]
) -> Terms:
    """METRO's losses per sample, unweighted; means over points and coordinates."""
    mesh_joints = (h36m_regressor @ prediction.full)[:, list(H36M14)]
    return {
        "joint_tokens": _joint_loss(prediction.joints, targets.joints),
        "mesh_joints": _joint_loss(mesh_joints, targets.joints),
        "coarse": (prediction.coarse - targets.coarse).abs().mean(dim=(1, 2)),
        "middle": (prediction.middle - targets.middle).abs().mean(dim=(1, 2)),
        "full": (prediction.full - targets.full).abs().mean(dim=(1, 2)),
        "token_projection": _projection_loss(prediction.joints, prediction.camera, targets.crop),
        "mesh_projection": _projection_loss(mesh_joints, prediction.camera, targets.crop),
    }


def _joint_loss(
    joints: Float[Tensor, "batch 14 3"], target: Float[Tensor, "batch 14 3"]
) -> Float[Tensor, " batch"]:
    centred, centred_target = (
        points - points[:, list(HIPS)].mean(dim=1, keepdim=True) for points in (joints, target)
    )
    return (centred - centred_target).square().mean(dim=(1, 2))


def _projection_loss(
    joints: Float[Tensor, "batch 14 3"],
    camera: Float[Tensor, "batch 3"],
    crop: Float[Tensor, "batch 14 2"],
) -> Float[Tensor, " batch"]:
    projected = camera[:, None, :1] * (joints[..., :2] + camera[:, None, 1:])
    return (projected - crop).square().mean(dim=(1, 2))
