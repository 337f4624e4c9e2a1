"""SMPL+H parameters of SMPL-X bodies, by one linear solve for the shape and no search for the pose.

Joint turns are copied, since the two models share their 22 body joints; the rest bodies differ by a shape
and a shift, which are solved for on the rest vertices. Fingers, jaw and eyes have no counterpart in a SMPL+H
body with flat hands, and are most of the error that is left. The error is measured for every frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplhBody, SmplxBody, load_smplh, load_smplx
from pipelines.bodies.track import parameter_tensors
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.records import Gender, SmplhParameters, SmplxParameters
from pipelines.shards.source import NUM_BETAS, stored_bodies

_FRAMES_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class SmplhConversion:
    """SMPL+H bodies in the frame of the SMPL-X bodies they stand for."""

    parameters: SmplhParameters
    """As shards store them: float32, 16 betas."""
    v2v_m: Float[np.ndarray, " frames"]
    """Mean distance over the 6890 vertices, SMPL-X carried over by the transfer matrix."""


@torch.no_grad()
def smplh_from_smplx(files: BodyFiles, gender: Gender, parameters: SmplxParameters) -> SmplhConversion:
    """SMPL+H parameters whose bodies lie on the given SMPL-X bodies; same frame, metres."""
    smplh, smplx = load_smplh(files, gender, NUM_BETAS), load_smplx(files, gender)
    given = parameter_tensors(parameters)
    betas, shift = _solve_rest(files, smplh, smplx, given)
    pelvis_h = smplh.rest_pelvis(betas)
    pelvis_x = smplx.rest_pelvis(given["betas"], given["expression"])
    # Both roots turn about their own pelvis; the rest bodies differ by the shift.
    turn = rotvec_to_rotmat(given["global_orient"])
    turned = (turn @ (shift - pelvis_x + pelvis_h)[..., None])[..., 0]
    transl = turned + pelvis_x + given["transl"] - pelvis_h
    errors, corrections = [], []
    for start in range(0, len(betas), _FRAMES_AT_ONCE):
        rows = slice(start, start + _FRAMES_AT_ONCE)
        chunk = {name: tensor[rows] for name, tensor in given.items()}
        true = smplx_to_smplh_vertices(files, smplx(**chunk).vertices)
        body = smplh(betas[rows], chunk["global_orient"], chunk["body_pose"], transl[rows]).vertices
        correction = (true - body).mean(dim=1)  # the best translation of this body
        corrections.append(correction)
        errors.append((body + correction[:, None] - true).norm(dim=-1).mean(dim=1).double().numpy())
    converted = SmplhParameters(
        betas=betas.numpy(),
        global_orient=given["global_orient"].numpy(),
        body_pose=given["body_pose"].numpy(),
        transl=(transl + torch.cat(corrections)).numpy(),
    )
    return SmplhConversion(stored_bodies(converted), np.concatenate(errors))


def _solve_rest(
    files: BodyFiles, smplh: SmplhBody, smplx: SmplxBody, given: dict[str, Tensor]
) -> tuple[Float[Tensor, "frames betas"], Float[Tensor, "frames 3"]]:
    """Betas of SMPL+H, and the shift from its rest body to that of SMPL-X; least squares."""
    shape, frame = torch.cat([given["betas"], given["expression"]], dim=1).unique(
        dim=0, return_inverse=True
    )
    rest = smplx.skinning.template + (shape @ smplx.skinning.blendshapes).unflatten(1, (-1, 3))
    target = smplx_to_smplh_vertices(files, rest) - smplh.skinning.template
    directions = smplh.skinning.blendshapes[:NUM_BETAS].T  # (6890 * 3, betas)
    shifts = torch.eye(3).repeat(len(smplh.skinning.template), 1).to(directions)
    system = torch.cat([directions, shifts], dim=1).double()
    solved = (torch.linalg.pinv(system) @ target.flatten(1).T.double()).T.to(directions)
    return solved[frame, :NUM_BETAS], solved[frame, NUM_BETAS:]
