"""The motion state of HuMoR, its 339-vector, and velocities by finite differences.

A state describes one instant of one body in a z-up frame (`canonical` or a frame turned about z):
metres, metres per second, radians per second. `pack` and `unpack` fix the order of the vector that the
networks read; nothing is standardised.

Source: HuMoR, models/humor_model.py (`data_names`), as told in the fitting page, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

NUM_JOINTS = 22
NUM_BODY_ROTATIONS = 21
STATE_SIZE = 339
"""trans 3, trans_vel 3, root_orient 9, root_orient_vel 3, pose_body 189, joints 66, joints_vel 66."""
DECODER_OUTPUT_SIZE = 216
"""As the state, with rotation vectors in place of matrices, and 9 contact logits."""
PREDICTION_SIZE = STATE_SIZE + 9
CONTACT_JOINTS = (0, 4, 5, 7, 8, 10, 11, 20, 21)
"""SMPL joints of the nine contact logits: hips, knees, ankles, toe bases, wrists."""
NUM_CONTACTS = len(CONTACT_JOINTS)

_SIZES = (3, 3, 9, 3, 189, 66, 66)


@dataclass(frozen=True, slots=True, eq=False)
class MotionState:
    """What the motion prior knows of one instant (or of a batch of instants)."""

    transl: Float[Tensor, "*batch 3"]
    """SMPL translation; the pelvis joint lies at transl + J0(betas)."""
    transl_velocity: Float[Tensor, "*batch 3"]
    root_rotmat: Float[Tensor, "*batch 3 3"]
    root_angular_velocity: Float[Tensor, "*batch 3"]
    """Radians per second, in the same (not the body's) frame."""
    body_rotmats: Float[Tensor, "*batch 21 3 3"]
    """Each joint relative to its parent."""
    joints: Float[Tensor, "*batch 22 3"]
    joints_velocity: Float[Tensor, "*batch 22 3"]

    def __getitem__(self, index: object) -> MotionState:
        """Index or slice the batch axes of every field."""
        return MotionState(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, dtype: torch.dtype) -> MotionState:
        """The same state in another precision."""
        return MotionState(*(getattr(self, field.name).to(dtype) for field in fields(self)))


def pack(state: MotionState) -> Float[Tensor, "*batch 339"]:
    """The network's input vector; matrices are flattened row by row."""
    return torch.cat(
        [
            state.transl,
            state.transl_velocity,
            state.root_rotmat.flatten(-2),
            state.root_angular_velocity,
            state.body_rotmats.flatten(-3),
            state.joints.flatten(-2),
            state.joints_velocity.flatten(-2),
        ],
        dim=-1,
    )


def unpack(vector: Float[Tensor, "*batch 339"]) -> MotionState:
    """Inverse of `pack` (views, no copies)."""
    transl, velocity, root, root_velocity, body, joints, joints_velocity = vector.split(_SIZES, dim=-1)
    return MotionState(
        transl,
        velocity,
        root.unflatten(-1, (3, 3)),
        root_velocity,
        body.unflatten(-1, (NUM_BODY_ROTATIONS, 3, 3)),
        joints.unflatten(-1, (NUM_JOINTS, 3)),
        joints_velocity.unflatten(-1, (NUM_JOINTS, 3)),
    )


def states_from_motion(
    transl: Float[Tensor, "*batch frames 3"],
    root_rotmats: Float[Tensor, "*batch frames 3 3"],
    body_rotmats: Float[Tensor, "*batch frames 21 3 3"],
    joints: Float[Tensor, "*batch frames 22 3"],
    frame_rate_hz: float = 30.0,
) -> MotionState:
    """States of a motion in one z-up frame; velocities by differences (one-sided at both ends)."""
    return MotionState(
        transl,
        linear_velocity(transl, frame_rate_hz),
        root_rotmats,
        angular_velocity(root_rotmats, frame_rate_hz),
        body_rotmats,
        joints,
        linear_velocity(joints.flatten(-2), frame_rate_hz).unflatten(-1, (NUM_JOINTS, 3)),
    )


def linear_velocity(
    positions: Float[Tensor, "*batch frames coordinates"], frame_rate_hz: float = 30.0
) -> Float[Tensor, "*batch frames coordinates"]:
    """Per second: central differences inside, one-sided ones at both ends."""
    step = frame_rate_hz * (positions[..., 1:, :] - positions[..., :-1, :])
    central = 0.5 * (step[..., 1:, :] + step[..., :-1, :])
    return torch.cat([step[..., :1, :], central, step[..., -1:, :]], dim=-2)


def angular_velocity(
    rotmats: Float[Tensor, "*batch frames 3 3"], frame_rate_hz: float = 30.0
) -> Float[Tensor, "*batch frames 3"]:
    """Radians per second in the fixed frame, from the skew part of dR/dt R^T."""
    derivative = linear_velocity(rotmats.flatten(-2), frame_rate_hz).unflatten(-1, (3, 3))
    spin = derivative @ rotmats.mT
    return 0.5 * torch.stack(
        [
            spin[..., 2, 1] - spin[..., 1, 2],
            spin[..., 0, 2] - spin[..., 2, 0],
            spin[..., 1, 0] - spin[..., 0, 1],
        ],
        dim=-1,
    )
