"""The same bodies expressed in another frame."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.records import Gender, SmplhParameters, SmplxParameters

P = TypeVar("P", SmplhParameters, SmplxParameters)


def move_parameters(
    files: BodyFiles, gender: Gender, parameters: P, T_dst_from_src: Float[np.ndarray, "4 4"]
) -> P:
    """Parameters of the same bodies in another frame; only the root and `transl` change."""
    betas = torch.tensor(np.asarray(parameters.betas), dtype=torch.float64)
    if isinstance(parameters, SmplhParameters):
        pelvis = load_smplh(files, gender, betas.shape[1]).rest_pelvis(betas.float())
    else:
        expression = torch.tensor(np.asarray(parameters.expression), dtype=torch.float64)
        pelvis = load_smplx(files, gender).rest_pelvis(betas.float(), expression.float())
    root, transl = move_root(
        torch.tensor(T_dst_from_src, dtype=torch.float64),
        torch.tensor(np.asarray(parameters.global_orient), dtype=torch.float64),
        torch.tensor(np.asarray(parameters.transl), dtype=torch.float64),
        pelvis.double(),
    )
    dtype = parameters.transl.dtype
    moved = {"global_orient": root.numpy().astype(dtype), "transl": transl.numpy().astype(dtype)}
    return dataclasses.replace(parameters, **moved)


def move_root(
    T_dst_from_src: Float[Tensor, "4 4"],
    global_orient: Float[Tensor, "frames 3"],
    transl: Float[Tensor, "frames 3"],
    rest_pelvis: Float[Tensor, "frames 3"],
) -> tuple[Float[Tensor, "frames 3"], Float[Tensor, "frames 3"]]:
    """Root rotation vector and translation under a rigid transform; differentiable.

    The root turns about the rest pelvis J0 and `transl` is added afterwards, so with (R, t):
    root' = R root and transl' = R (J0 + transl) + t - J0. Moving `transl` alone would displace the
    body by (R - I) J0, some decimetres.
    """
    R, t = T_dst_from_src[:3, :3], T_dst_from_src[:3, 3]
    turned = rotmat_to_rotvec(R @ rotvec_to_rotmat(global_orient))
    return turned, (rest_pelvis + transl) @ R.T + t - rest_pelvis
