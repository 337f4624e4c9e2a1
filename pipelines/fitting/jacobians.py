"""How joints and vertices of posed bodies answer to their pose: the first-order model of the solver.

Columns of every Jacobian: translation 3, root rotation 3, body rotations 63, betas. Rotations are small
turns applied from the left: R_j <- exp(turn) R_j in the parent joint's frame (the root in the outer
frame). Joints are exact; for vertices the blending between joints is taken as rigid and pose correctives
as constant, which is good enough for a curvature (gradients come from automatic differentiation).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.model import SmplhBody
from pipelines.bodies.skinning import forward_kinematics
from pipelines.geometry.meshes import vertex_normals
from pipelines.motion_prior.pose_prior import PosePrior

NUM_JOINTS = 22
POSE_COLUMNS = 3 + 3 * NUM_JOINTS


@dataclass(frozen=True, slots=True, eq=False)
class BodyResponse:
    """Posed joints of many frames, and what moves with what."""

    rotation: Float[Tensor, "rows 22 3 3"]
    """World rotation of each joint."""
    frame_above: Float[Tensor, "rows 22 3 3"]
    """World rotation of each joint's parent; identity for the root."""
    places: Float[Tensor, "rows 22 3"]
    places_by_beta: Float[Tensor, "rows 22 3 betas"]
    weights: Float[Tensor, "verts 22"]
    """Skinning weights."""
    below: Float[Tensor, "22 22"]
    """[j, k] = 1 where joint k is j or hangs below it."""
    shapes: Float[Tensor, "verts 3 betas"]
    joint_shapes: Float[Tensor, "22 3 betas"]
    rest_normals: Float[Tensor, "verts 3"]

    @staticmethod
    def of(
        body: SmplhBody,
        betas: Float[Tensor, "rows betas"],
        rotmats: Float[Tensor, "rows 22 3 3"],
        transl: Float[Tensor, "rows 3"],
    ) -> BodyResponse:
        """Pose the joints."""
        skinning = body.skinning
        parents = skinning.parents
        rotation, places = forward_kinematics(rotmats, skinning.rest_joints(betas), parents)
        identity = torch.eye(3, dtype=rotation.dtype).expand(len(rotation), 1, 3, 3)
        above = torch.cat([identity, rotation[:, list(parents[1:])]], dim=1)
        count = skinning.num_shapes
        joint_shapes = skinning.joint_shapes.unflatten(1, (-1, 3)).permute(1, 2, 0)
        by_beta = [joint_shapes[0].expand(len(rotation), 3, count)]
        for joint, parent in enumerate(parents[1:], start=1):
            bone = joint_shapes[joint] - joint_shapes[parent]
            by_beta.append(by_beta[parent] + rotation[:, parent] @ bone)
        return BodyResponse(
            rotation=rotation,
            frame_above=above,
            places=places + transl[:, None],
            places_by_beta=torch.stack(by_beta, dim=1),
            weights=skinning.weights.T,
            below=_descendants(parents).to(rotation.dtype),
            shapes=skinning.blendshapes[:count].unflatten(1, (-1, 3)).permute(1, 2, 0),
            joint_shapes=joint_shapes,
            rest_normals=_rest_normals(body),
        )

    def joints(self) -> Float[Tensor, "rows 22 3 columns"]:
        """Jacobian of the 22 joints."""
        carried = self.below.T - torch.eye(NUM_JOINTS, dtype=self.below.dtype)  # [k, j]: j moves k
        return self._columns(self.places, carried.expand(len(self.places), -1, -1), self.places_by_beta)

    def vertices(
        self, ids: Int[Tensor, "rows chosen"], positions: Float[Tensor, "rows chosen 3"]
    ) -> Float[Tensor, "rows chosen 3 columns"]:
        """Jacobian of chosen vertices (ids may differ from row to row)."""
        weights = self.weights[ids]
        rows, chosen = ids.shape
        turned = (weights @ self.rotation.flatten(2)).unflatten(2, (3, 3))
        # what each joint's rigid motion adds to a vertex that does not deform with it
        lever = self.places_by_beta - self.rotation @ self.joint_shapes
        shifted = (weights @ lever.flatten(2)).unflatten(2, (3, -1))
        by_beta = turned @ self.shapes[ids] + shifted
        return self._columns(positions, weights @ self.below.T, by_beta.reshape(rows, chosen, 3, -1))

    def normals(self, ids: Int[Tensor, "rows chosen"]) -> Float[Tensor, "rows chosen 3"]:
        """Outward normals of chosen vertices: those of the template, turned with the joints."""
        turned = (self.weights[ids] @ self.rotation.flatten(2)).unflatten(2, (3, 3))
        return (turned @ self.rest_normals[ids][..., None])[..., 0]

    def _columns(
        self,
        positions: Float[Tensor, "rows chosen 3"],
        carried: Float[Tensor, "rows chosen 22"],
        by_beta: Float[Tensor, "rows chosen 3 betas"],
    ) -> Float[Tensor, "rows chosen 3 columns"]:
        """Turning joint j by w moves a point by carried_j w x (point - place_j)."""
        rows, chosen = positions.shape[:2]
        arm = (positions[:, :, None] - self.places[:, None]) * carried[..., None]
        turns = -_cross_matrix(arm) @ self.frame_above[:, None]  # (rows, chosen, 22, 3, 3)
        turns = turns.transpose(2, 3).flatten(3)  # (rows, chosen, 3, 66)
        shift = torch.eye(3, dtype=positions.dtype).expand(rows, chosen, 3, 3)
        return torch.cat([shift, turns, by_beta], dim=-1)


def latent_pose_turns(pose: PosePrior, latents: Float[Tensor, "rows 32"]) -> Float[Tensor, "rows 63 32"]:
    """Left turns of the 21 body joints per unit of latent pose."""

    def columns(latent: Tensor) -> Tensor:
        return pose.decode(latent)

    derivative = torch.func.vmap(torch.func.jacfwd(columns))(latents)  # (rows, 21, 3, 3, 32)
    spin = torch.einsum("rjabz,rjcb->rjacz", derivative, pose.decode(latents))
    turns = torch.stack([spin[:, :, 2, 1], spin[:, :, 0, 2], spin[:, :, 1, 0]], dim=2)
    return turns.flatten(1, 2)


def rotvec_turns(rotvecs: Float[Tensor, "rows 3"]) -> Float[Tensor, "rows 3 3"]:
    """Left turn per change of a rotation vector: the left Jacobian of SO(3)."""
    angle = torch.linalg.vector_norm(rotvecs, dim=-1).clamp_min(1e-6)[:, None, None]
    K = _cross_matrix(rotvecs)
    identity = torch.eye(3, dtype=rotvecs.dtype)
    return identity + (1 - angle.cos()) / angle**2 * K + (angle - angle.sin()) / angle**3 * (K @ K)


def _rest_normals(body: SmplhBody) -> Float[Tensor, "verts 3"]:
    return vertex_normals(body.skinning.template, body.faces, area_weighted=True)


def _cross_matrix(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _descendants(parents: tuple[int, ...]) -> Tensor:
    below = torch.eye(len(parents))
    for joint in range(len(parents) - 1, 0, -1):
        below[parents[joint]] = torch.maximum(below[parents[joint]], below[joint])
    return below
