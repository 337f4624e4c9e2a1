"""Gauss-Newton curvature of posed SMPL-X vertices with respect to joint turns, translation and hands.

Derivatives are those of blended rigid motion with fixed rest vertices (pose correctives and their
change are left out), at some of the vertices: good enough to step with exact gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.joints import HAND_JOINTS, SMPL_BODY_JOINTS, SMPLX_JOINTS
from pipelines.bodies.smplx_model import NUM_HAND_PCA, SmplxBody

_NUM_BODY = len(SMPL_BODY_JOINTS)
_HAND_SIZE = len(HAND_JOINTS) // 2
_FIRST_FINGER = SMPLX_JOINTS.index(HAND_JOINTS[0])
NUM_VARIABLES = 3 * _NUM_BODY + 3 + 2 * NUM_HAND_PCA
"""Turns of 22 joints (in their parents' frames), translation, 12 coefficients per hand."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseCurvature:
    """The part of a SMPL-X body that the curvature is taken at."""

    template: Float[Tensor, "some 3"]
    shapes: Float[Tensor, "shapes some3"]
    weights: Float[Tensor, "joints some"]
    subtree_weights: Float[Tensor, "joints some"]
    """Weight of each joint and all joints below it."""
    parents: tuple[int, ...]
    hand_components: Float[Tensor, "2 12 45"]

    @staticmethod
    def build(body: SmplxBody, vertex_ids: Int[Tensor, " some"]) -> PoseCurvature:
        """Pick the vertices."""
        weights = body.skinning.weights[:, vertex_ids]
        subtree = weights.clone()
        _add_to_ancestors(subtree, body.skinning.parents, dim=0)
        return PoseCurvature(
            template=body.skinning.template[vertex_ids],
            shapes=body.skinning.blendshapes.unflatten(1, (-1, 3))[:, vertex_ids].flatten(1),
            weights=weights,
            subtree_weights=subtree,
            parents=body.skinning.parents,
            hand_components=torch.stack([body.left_hand_components, body.right_hand_components]),
        )

    def matrix(
        self,
        shape: Float[Tensor, "frames shapes"],
        rotation: Float[Tensor, "frames joints 3 3"],
        places: Float[Tensor, "frames joints 3"],
        offset: Float[Tensor, "frames joints 3"],
        hand_pose: Float[Tensor, "frames 30 3"],
    ) -> Float[Tensor, "frames variables variables"]:
        """Twice the mean over the vertices of J^T J: curvature of the mean squared distance.

        Args:
            shape: betas and expression.
            rotation: world rotation of each joint.
            places: world place of each joint, without translation.
            offset: of each joint's rigid motion, as in `skinning_offset`.
            hand_pose: rotation vectors of the finger joints.
        """
        levers = self._levers(shape, rotation, places, offset)
        parents = [max(parent, 0) for parent in self.parents]
        axes = rotation[:, parents]  # columns: the parent's axes, about which a joint is turned
        axes[:, 0] = torch.eye(3).to(axes)
        body = _cross_columns(axes[:, :_NUM_BODY], levers[:, :_NUM_BODY])
        turns = left_jacobian(hand_pose)
        columns = [body.permute(0, 2, 4, 1, 3).flatten(3)]
        frames, some = levers.shape[0], levers.shape[2]
        columns.append(torch.eye(3).to(axes).expand(frames, some, 3, 3))
        for side in (0, 1):
            first = _FIRST_FINGER + side * _HAND_SIZE
            joints = slice(first, first + _HAND_SIZE)
            own = turns[:, side * _HAND_SIZE : (side + 1) * _HAND_SIZE]
            components = self.hand_components[side].T.unflatten(0, (-1, 3))  # (15, 3, 12)
            hand_axes = axes[:, joints] @ own @ components
            columns.append(_cross_columns(hand_axes, levers[:, joints]).sum(1).transpose(2, 3))
        jacobian = torch.cat(columns, dim=3).flatten(1, 2)  # (frames, 3 some, variables)
        return 2 / some * jacobian.transpose(1, 2) @ jacobian

    def _levers(
        self,
        shape: Float[Tensor, "frames shapes"],
        rotation: Float[Tensor, "frames joints 3 3"],
        places: Float[Tensor, "frames joints 3"],
        offset: Float[Tensor, "frames joints 3"],
    ) -> Float[Tensor, "frames joints some 3"]:
        """Weighted arm from each joint to what its subtree carries of each vertex."""
        rest = self.template + (shape @ self.shapes).unflatten(1, (-1, 3))
        carried = rest[:, None] @ rotation.transpose(2, 3) + offset[:, :, None]
        carried = carried * self.weights[..., None]
        _add_to_ancestors(carried, self.parents, dim=1)
        return carried - self.subtree_weights[..., None] * places[:, :, None]


def left_jacobian(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """J(a) with exp(a + d) = exp(J d) exp(a) to first order in d."""
    angle = torch.linalg.vector_norm(rotvec, dim=-1)[..., None, None].clamp(min=1e-6)
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3)) / angle
    sine, cosine = angle.sin() / angle, (1 - angle.cos()) / angle
    return torch.eye(3).to(rotvec) + cosine * cross + (1 - sine) * (cross @ cross)


def _cross_columns(
    axes: Float[Tensor, "frames joints 3 columns"], arms: Float[Tensor, "frames joints some 3"]
) -> Float[Tensor, "frames joints some columns 3"]:
    """Motion of each arm's end when its joint turns about each axis."""
    return torch.linalg.cross(axes.transpose(2, 3)[:, :, None], arms[:, :, :, None], dim=-1)


def _add_to_ancestors(values: Tensor, parents: tuple[int, ...], dim: int) -> None:
    for joint in range(len(parents) - 1, 0, -1):
        values.select(dim, parents[joint]).add_(values.select(dim, joint))
