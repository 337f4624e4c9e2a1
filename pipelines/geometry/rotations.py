"""Rotation vectors (`rotvec`, radians) and matrices (`rotmat`) for optimisation, differentiable at 0."""

from __future__ import annotations

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def rotvec_to_rotmat(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula with the angle ||a + 1e-8||, as smplx and HuMoR evaluate it.

    Source: smplx/lbs.py `batch_rodrigues`; humor body_model/utils.py. The 1e-8 is added per component
    and keeps the gradient finite at zero.
    """
    angle = torch.linalg.vector_norm(rotvec + 1e-8, dim=-1, keepdim=True)
    x, y, z = (rotvec / angle).unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    angle = angle[..., None]
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + angle.sin() * K + (1 - angle.cos()) * (K @ K)


def rotmat_to_rotvec(rotmat: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector with angle in [0, pi], through a unit quaternion with positive real part."""
    quat_xyzw = roma.rotmat_to_unitquat(rotmat)
    return roma.unitquat_to_rotvec(quat_xyzw, shortest_arc=True)


def rot6d_to_rotmat(first_two_columns: Float[Tensor, "*batch 3 2"]) -> Float[Tensor, "*batch 3 3"]:
    """Gram-Schmidt on two columns; the third is their cross product (VPoser's decoder output)."""
    a1, a2 = first_two_columns.unbind(-1)
    b1 = torch.nn.functional.normalize(a1, dim=-1)
    b2 = torch.nn.functional.normalize(a2 - (b1 * a2).sum(-1, keepdim=True) * b1, dim=-1)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2, dim=-1)], dim=-1)
