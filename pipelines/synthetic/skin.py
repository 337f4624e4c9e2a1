"""A solved motion as model parameters, and its posed skin."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from pipelines.bodies.model import SmplhBody, SmplxBody
from pipelines.records import SmplhParameters, SmplxParameters
from pipelines.synthetic.inverse_kinematics import rotmat_to_rotvec
from pipelines.synthetic.performance import SolvedMotion
from pipelines.synthetic.rig import PELVIS, BodyRig, local_rotations


def smplx_parameters(
    rig: BodyRig,
    motion: SolvedMotion,
    betas: Float[np.ndarray, "10"],
    hands: Float[np.ndarray, "frames 2 12"],
) -> SmplxParameters:
    """A solved motion as SMPL-X parameters, world frame; face at rest."""
    frames = len(motion.joints)
    pose = rotmat_to_rotvec(local_rotations(motion.rotations))
    return SmplxParameters(
        betas=np.repeat(betas[None], frames, axis=0),
        expression=np.zeros((frames, 10)),
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:].reshape(frames, 63),
        jaw_pose=np.zeros((frames, 3)),
        leye_pose=np.zeros((frames, 3)),
        reye_pose=np.zeros((frames, 3)),
        left_hand_pose=hands[:, 0],
        right_hand_pose=hands[:, 1],
        transl=motion.joints[:, PELVIS] - rig.joints[PELVIS],
    )


def smplh_parameters(
    rig: BodyRig, motion: SolvedMotion, betas: Float[np.ndarray, "10"]
) -> SmplhParameters:
    """A solved motion as SMPL+H parameters, world frame; `rig` is that of the SMPL+H body."""
    frames = len(motion.joints)
    pose = rotmat_to_rotvec(local_rotations(motion.rotations))
    return SmplhParameters(
        betas=np.repeat(betas[None], frames, axis=0),
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:].reshape(frames, 63),
        transl=motion.joints[:, PELVIS] - rig.joints[PELVIS],
    )


def posed_vertices(
    body: SmplxBody | SmplhBody, parameters: SmplxParameters | SmplhParameters, batch: int = 30
) -> Float[np.ndarray, "frames verts 3"]:
    """World vertices of every frame, metres."""
    names = [name for name in type(parameters).__slots__ if not name.startswith("_")]
    tensors = {name: torch.as_tensor(getattr(parameters, name), dtype=body.dtype) for name in names}
    frames = len(parameters.transl)
    with torch.no_grad():
        parts = [
            body(**{name: value[k : k + batch] for name, value in tensors.items()}).vertices
            for k in range(0, frames, batch)
        ]
    return torch.cat(parts).numpy()
