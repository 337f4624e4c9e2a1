"""SMPL-X fits carried to another frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.records import Gender, SmplxParameters


def moved_fits(
    files: BodyFiles,
    gender: Gender,
    parameters: SmplxParameters,
    T_dst_from_src: Float[np.ndarray, "4 4"],
) -> SmplxParameters:
    """The same bodies in another frame; no body model is read when the frames are one."""
    if np.array_equal(T_dst_from_src, np.eye(4)):
        return parameters
    return move_parameters(files, gender, parameters, T_dst_from_src)
