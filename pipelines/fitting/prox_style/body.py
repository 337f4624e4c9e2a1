"""The 91 numbers PROX fits per frame, and the SMPL-X body they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import PROX118_FROM_SMPLX
from pipelines.bodies.skinning import forward_kinematics, skinning_offset
from pipelines.bodies.smplx_model import SmplxBody
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.records import SmplxParameters

COLUMNS: Final = {
    "latent": slice(0, 32),
    "global_orient": slice(32, 35),
    "betas": slice(35, 45),
    "expression": slice(45, 55),
    "left_hand_pose": slice(55, 67),
    "right_hand_pose": slice(67, 79),
    "jaw_pose": slice(79, 82),
    "leye_pose": slice(82, 85),
    "reye_pose": slice(85, 88),
    "transl": slice(88, 91),
}
"""Where each variable lies in a frame's row."""
NUM_PARAMETERS: Final = 91
BODY_JOINTS: Final = slice(1, 22)
"""The joints whose rotation comes from the pose prior."""


@runtime_checkable
class PoseDecoder(Protocol):
    """A pose prior whose 32 latent numbers are standard normal a priori (VPoser)."""

    def decode(self, latent: Float[Tensor, "*batch 32"]) -> Float[Tensor, "*batch 21 3 3"]:
        """Body rotation matrices, each relative to its parent joint; differentiable."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PosedFrames:
    """Bodies of some frames and what their derivatives are made of; camera frame, metres."""

    vertices_camera: Float[Tensor, "frames verts 3"]
    keypoints_camera: Float[Tensor, "frames 118 3"]
    body_rotmats: Float[Tensor, "frames 21 3 3"]
    """Relative to the parents."""
    left_hand: Float[Tensor, "frames 45"]
    """Hand pose without the hand mean."""
    right_hand: Float[Tensor, "frames 45"]
    rotation: Float[Tensor, "frames 55 3 3"]
    """World (here: camera) rotation of every joint."""
    places_camera: Float[Tensor, "frames 55 3"]


def pose_frames(
    parameters: Float[Tensor, "frames 91"], body: SmplxBody, prior: PoseDecoder
) -> PosedFrames:
    """SMPL-X at the parameters, the body pose decoded from its latent."""
    part = {name: parameters[:, columns] for name, columns in COLUMNS.items()}
    body_rotmats = prior.decode(part["latent"])
    left = part["left_hand_pose"] @ body.left_hand_components
    right = part["right_hand_pose"] @ body.right_hand_components
    face = [part["jaw_pose"], part["leye_pose"], part["reye_pose"]]
    rest_of_pose = [*face, left + body.left_hand_mean, right + body.right_hand_mean]
    rotvecs = torch.cat([part["global_orient"], *rest_of_pose], dim=1).unflatten(1, (-1, 3))
    rotmats = rotvec_to_rotmat(rotvecs)
    rotmats = torch.cat([rotmats[:, :1], body_rotmats, rotmats[:, 1:]], dim=1)
    shape = torch.cat([part["betas"], part["expression"]], dim=1)
    rest = body.skinning.rest_joints(shape)
    rotation, places = forward_kinematics(rotmats, rest, body.skinning.parents)
    offset = skinning_offset(rotation, places, rest)
    transl = part["transl"][:, None]
    vertices = body.skinning.vertices(shape, rotmats, rotation, offset) + transl
    corners = vertices[:, body.landmark_vertices]  # (frames, 51, 3 corners, 3)
    landmarks = (corners * body.landmark_weights[..., None]).sum(dim=2)
    joints = torch.cat([places + transl, vertices[:, body.picked], landmarks], dim=1)
    return PosedFrames(
        vertices_camera=vertices,
        keypoints_camera=joints[:, list(PROX118_FROM_SMPLX)],
        body_rotmats=body_rotmats,
        left_hand=left,
        right_hand=right,
        rotation=rotation,
        places_camera=places + transl,
    )


def decode_body_pose(
    parameters: Float[Tensor, "frames 91"], prior: PoseDecoder
) -> Float[Tensor, "frames 63"]:
    """Rotation vectors of the 21 body joints, angles in [0, pi]."""
    return rotmat_to_rotvec(prior.decode(parameters[:, COLUMNS["latent"]])).flatten(1)


def to_smplx_parameters(parameters: Float[Tensor, "frames 91"], prior: PoseDecoder) -> SmplxParameters:
    """The record PROX stores, float32."""
    with torch.no_grad():
        body_pose = decode_body_pose(parameters, prior)
    values = {
        name: parameters[:, columns].detach().float().numpy().copy()
        for name, columns in COLUMNS.items()
        if name != "latent"
    }
    return SmplxParameters(body_pose=body_pose.float().numpy(), **values)
