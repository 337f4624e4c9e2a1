"""Floor, heading, and the canonical ("prior") frame in which the motion prior lives.

The canonical frame is z up with the floor at z = 0, the body at x = y = 0 facing +y with its right
towards +x. SMPL's own +x is the body's left, so "right" is minus the first column of the root matrix.
Everything here is differentiable; stage 3 of the fit recomputes the frame in every evaluation.

    frame = prior_frame(floor, transl[:, 0], root_rotmats[:, 0], pelvis[:, 0])
    root_prior, transl_prior = frame.from_camera(root_rotmats, transl, rest_pelvis)
    root_camera, transl_camera = frame.to_camera(root_prior, transl_prior)

Source: HuMoR, fitting/fitting_utils.py and utils/transforms.py, as told in the fitting page, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.state import MotionState

HeadingMode = Literal["acos", "atan2"]
"""`acos` is HuMoR's form (up to 1.4e-3 rad off when almost aligned, steep there); `atan2` is exact."""

_ACOS_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PriorFrame:
    """The canonical frame of each window, seen from its camera frame."""

    R_prior_from_camera: Float[Tensor, "windows 3 3"]
    origin_camera: Float[Tensor, "windows 3"]
    """SMPL translation of the key frame."""
    pelvis_height_m: Float[Tensor, " windows"]
    """Of the key frame's pelvis joint above the floor."""

    def from_camera(
        self,
        root_rotmats_camera: Float[Tensor, "windows frames 3 3"],
        transl_camera: Float[Tensor, "windows frames 3"],
        rest_pelvis: Float[Tensor, "windows 3"],
    ) -> tuple[Float[Tensor, "windows frames 3 3"], Float[Tensor, "windows frames 3"]]:
        """Root rotations and translations of whole windows, camera -> canonical.

        Args:
            root_rotmats_camera: pelvis rotations.
            transl_camera: SMPL translations, metres.
            rest_pelvis: J0(betas): the pelvis joint lies at transl + J0 whatever the pose, so the height
                of the key frame's translation is pelvis_height - J0_z, without a body model call.
        """
        R = self.R_prior_from_camera[:, None]
        turned = (R @ (transl_camera - self.origin_camera[:, None])[..., None])[..., 0]
        lift = torch.zeros_like(self.origin_camera)
        lift = torch.cat([lift[:, :2], (self.pelvis_height_m - rest_pelvis[:, 2])[:, None]], dim=-1)
        return R @ root_rotmats_camera, turned + lift[:, None]

    def to_camera(
        self,
        root_rotmats_prior: Float[Tensor, "windows frames 3 3"],
        transl_prior: Float[Tensor, "windows frames 3"],
    ) -> tuple[Float[Tensor, "windows frames 3 3"], Float[Tensor, "windows frames 3"]]:
        """Canonical -> camera; the first frame given must be the key frame."""
        R = self.R_prior_from_camera.mT[:, None]
        offset = transl_prior - transl_prior[:, :1]
        transl = (R @ offset[..., None])[..., 0] + self.origin_camera[:, None]
        return R @ root_rotmats_prior, transl


def parse_floor(
    floor: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch"]]:
    """Split the fit's floor variable (normal times offset, camera frame) into (n, d), n . x = d.

    The camera's y axis points down, so a normal with n_y > 0 is turned round together with d; for a
    camera above the floor d is then negative.
    """
    offset = torch.linalg.vector_norm(floor, dim=-1)
    normal = floor / offset[..., None]
    sign = torch.where(normal[..., 1] > 0, -1.0, 1.0).to(floor)
    return normal * sign[..., None], offset * sign


def prior_frame(
    floor_camera: Float[Tensor, "windows 3"],
    key_transl_camera: Float[Tensor, "windows 3"],
    key_root_rotmat_camera: Float[Tensor, "windows 3 3"],
    key_pelvis_camera: Float[Tensor, "windows 3"],
) -> PriorFrame:
    """Canonical frame of each window from its floor and its key (first) frame.

    Args:
        floor_camera: normal times offset.
        key_transl_camera: SMPL translation of the key frame, metres.
        key_root_rotmat_camera: pelvis rotation of the key frame.
        key_pelvis_camera: pelvis joint of the key frame, that is transl + J0(betas).

    Differs from HuMoR: closed form where it meets rays with the plane; equal to 1e-9, no 0/0.
    """
    up, offset = parse_floor(floor_camera)
    body_right = -key_root_rotmat_camera[..., 0]
    right = body_right - (up * body_right).sum(-1, keepdim=True) * up
    right = right / torch.linalg.vector_norm(right, dim=-1, keepdim=True)
    forward = torch.linalg.cross(up, right, dim=-1)
    R = torch.stack([right, forward, up], dim=-2)
    height = (up * key_pelvis_camera).sum(-1) - offset
    return PriorFrame(R, key_transl_camera, height)


def heading(
    root_rotmat: Float[Tensor, "*batch 3 3"], mode: HeadingMode = "atan2"
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Cosine and sine of the turn about z that brings the body's right onto +x.

    The aligning matrix is [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]].
    """
    right = -root_rotmat[..., :2, 0]
    return heading_of_right(right, mode)


def heading_of_right(
    right: Float[Tensor, "*batch 2"], mode: HeadingMode
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """As `heading`, from the planar part of the body's right."""
    length = torch.linalg.vector_norm(right, dim=-1)
    if mode == "atan2":
        return right[..., 0] / length, -right[..., 1] / length
    cosine = (right[..., 0] / (length + _ACOS_EPSILON)).clamp(-1, 1)
    # right x e_x has only a z component: minus the y part of right.
    axis_z = -right[..., 1] / (right[..., 1].abs() + _ACOS_EPSILON)
    rotvec_z = torch.acos(cosine) * axis_z
    rotvec = torch.stack([torch.zeros_like(rotvec_z), torch.zeros_like(rotvec_z), rotvec_z], dim=-1)
    R = rotvec_to_rotmat(rotvec)
    return R[..., 0, 0], R[..., 1, 0]


def heading_rotmat(
    root_rotmat: Float[Tensor, "*batch 3 3"], mode: HeadingMode = "atan2"
) -> Float[Tensor, "*batch 3 3"]:
    """The aligning matrix itself."""
    cosine, sine = heading(root_rotmat, mode)
    zero, one = torch.zeros_like(sine), torch.ones_like(sine)
    rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, one]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def pelvis_offset(state: MotionState) -> Float[Tensor, "*batch 3"]:
    """Minus the planar offset of the pelvis joint from the translation (HuMoR's `trans2joint`)."""
    planar = state.transl[..., :2] - state.joints[..., 0, :2]
    return torch.cat([planar, torch.zeros_like(planar[..., :1])], dim=-1)


def to_local_frame(
    state: MotionState,
    R_local: Float[Tensor, "*#batch 3 3"],
    shift: Float[Tensor, "*#batch 3"],
    offset: Float[Tensor, "*#batch 3"],
) -> MotionState:
    """Carry states into a frame turned by `R_local` about z after a planar shift.

    Args:
        state: states in any z-up frame.
        R_local: yaw matrix, usually `heading_rotmat(state.root_rotmat)`.
        shift: (-x, -y, 0) of the new origin.
        offset: `pelvis_offset` of the sequence's first frame; joints turn about the pelvis, the
            translation about itself.

    Source: HuMoR, models/humor_model.py `apply_world2local_trans`, section 4.4 of the fitting page.
    """
    pivot = offset[..., None, :]
    return MotionState(
        _turn(R_local, state.transl + shift),
        _turn(R_local, state.transl_velocity),
        R_local @ state.root_rotmat,
        _turn(R_local, state.root_angular_velocity),
        state.body_rotmats,
        (state.joints + shift[..., None, :] + pivot) @ R_local.mT - pivot,
        state.joints_velocity @ R_local.mT,
    )


def from_local_frame(
    state: MotionState,
    R_local: Float[Tensor, "*#batch 3 3"],
    shift: Float[Tensor, "*#batch 3"],
    offset: Float[Tensor, "*#batch 3"],
) -> MotionState:
    """Inverse of `to_local_frame`."""
    R_back = R_local.mT
    pivot = offset[..., None, :]
    return MotionState(
        _turn(R_back, state.transl) - shift,
        _turn(R_back, state.transl_velocity),
        R_back @ state.root_rotmat,
        _turn(R_back, state.root_angular_velocity),
        state.body_rotmats,
        (state.joints + pivot) @ R_local - pivot - shift[..., None, :],
        state.joints_velocity @ R_local,
    )


def planar_shift(transl: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """(-x, -y, 0) of a translation."""
    return torch.cat([-transl[..., :2], torch.zeros_like(transl[..., :1])], dim=-1)


def _turn(
    R: Float[Tensor, "*#batch 3 3"], vector: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*#batch 3"]:
    return (R @ vector[..., None])[..., 0]
