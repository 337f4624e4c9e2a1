"""What the metrics must know of the 6890-vertex topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import HAND_JOINTS, SMPLH_JOINTS
from pipelines.bodies.model_file import read_skinned_arrays
from pipelines.errors import DataInvalid
from pipelines.records import Gender


@dataclass(frozen=True, slots=True, eq=False)
class BodyAnatomy:
    """Joint regressor, parts and faces, alike for every method."""

    h36m_regressor: Float[np.ndarray, "17 6890"]
    hand_vertices: Bool[np.ndarray, " 6890"]
    """Skinned mostly to a wrist or finger."""
    head_vertices: Bool[np.ndarray, " 6890"]
    """Skinned mostly to the head joint."""
    faces: Int[np.ndarray, "13776 3"]
    source: str = "not named"
    """Whose body: the stand-in's numbers must not be compared with those of the licensed models."""


def load_anatomy(files: BodyFiles, gender: Gender = "neutral") -> BodyAnatomy:
    """Read the regressor and the dominant skinning joint of each vertex.

    Raises:
        DataMissing: a file is absent; the message says where to get it.
        DataInvalid: the regressor has another shape.
    """
    regressor = np.load(files.h36m, allow_pickle=False)
    if regressor.shape != (17, 6890):
        raise DataInvalid(
            "not a Human3.6M joint regressor",
            where=files.h36m,
            expected=(17, 6890),
            found=regressor.shape,
            fix="take J_regressor_h36m.npy of METRO or SA-HMR",
        )
    arrays = read_skinned_arrays(files.smplh(gender))
    joint = np.array(SMPLH_JOINTS)[arrays.weights.argmax(axis=1)]
    return BodyAnatomy(
        regressor.astype(np.float64),
        np.isin(joint, ("left_wrist", "right_wrist", *HAND_JOINTS)),
        joint == "head",
        arrays.faces,
        "stand-in bodies" if files.is_standin else "licensed bodies",
    )
