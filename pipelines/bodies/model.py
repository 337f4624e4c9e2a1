"""The bodies: SMPL+H with flat hands through 22 joints, SMPL-X as PROX uses it.

Conventions of both, as in smplx: rest pose is a T-pose (y up, facing +z, left at +x); the root turns
about the rest pelvis J0(betas), which is not the origin; `transl` is added after skinning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import PICKED_SMPLH, SMPL_BODY_JOINTS, SMPLH_JOINTS, SMPLH_PARENTS
from pipelines.bodies.mesh import BodyMesh
from pipelines.bodies.model_file import SkinnedArrays, read_skinned_arrays
from pipelines.bodies.skinning import Skinning, forward_kinematics, skinning_offset
from pipelines.bodies.smplx_model import SmplxBody, load_smplx
from pipelines.errors import DataInvalid
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.records import Gender

__all__ = ["BodyMesh", "SmplhBody", "SmplxBody", "load_smplh", "load_smplx"]

NUM_BODY = len(SMPL_BODY_JOINTS)


@dataclass(frozen=True, slots=True, eq=False)
class SmplhBody:
    """SMPL+H with flat hands: 6890 vertices, 73 output joints (52 kinematic, 21 picked vertices).

    Hands never move, so the finger joints ride on the wrists: 21 joints' correctives and 22 skinning
    columns give exactly the full model.
    """

    gender: Gender
    num_betas: int
    faces: Int[Tensor, "faces 3"]
    skinning: Skinning
    finger_template: Float[Tensor, "fingers 3"]
    finger_shapes: Float[Tensor, "betas fingers3"]
    finger_wrist: Int[Tensor, " fingers"]
    picked: Int[Tensor, "21"]
    """Row of each picked vertex among the evaluated vertices."""
    visible: Int[Tensor, " visible"] | None = None
    """Rows that are returned as vertices; None = all."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of parameters and results."""
        return self.skinning.template.dtype

    def __call__(
        self,
        betas: Float[Tensor, "frames betas"],
        global_orient: Float[Tensor, "frames 3"],
        body_pose: Float[Tensor, "frames 63"],
        transl: Float[Tensor, "frames 3"],
    ) -> BodyMesh:
        """Vertices and 73 joints from rotation vectors."""
        return self.from_rotmats(betas, _rotmats(global_orient, body_pose), transl)

    def from_rotmats(
        self,
        betas: Float[Tensor, "frames betas"],
        rotmats: Float[Tensor, "frames 22 3 3"],
        transl: Float[Tensor, "frames 3"],
    ) -> BodyMesh:
        """Vertices and 73 joints from local rotation matrices (pelvis first)."""
        rest = self.skinning.rest_joints(betas)
        rotation, places = forward_kinematics(rotmats, rest, self.skinning.parents)
        offset = skinning_offset(rotation, places, rest)
        vertices = self.skinning.vertices(betas, rotmats, rotation, offset) + transl[:, None]
        fingers = self._fingers(betas, rotation, offset)
        kinematic = torch.cat([places, fingers], dim=1) + transl[:, None]
        joints = torch.cat([kinematic, vertices[:, self.picked]], dim=1)
        return BodyMesh(vertices if self.visible is None else vertices[:, self.visible], joints)

    def joints(
        self,
        betas: Float[Tensor, "frames betas"],
        global_orient: Float[Tensor, "frames 3"],
        body_pose: Float[Tensor, "frames 63"],
        transl: Float[Tensor, "frames 3"],
    ) -> Float[Tensor, "frames 22 3"]:
        """The 22 body joints by forward kinematics alone."""
        return self.joints_from_rotmats(betas, _rotmats(global_orient, body_pose), transl)

    def joints_from_rotmats(
        self,
        betas: Float[Tensor, "frames betas"],
        rotmats: Float[Tensor, "frames 22 3 3"],
        transl: Float[Tensor, "frames 3"],
    ) -> Float[Tensor, "frames 22 3"]:
        """The 22 body joints from local rotation matrices."""
        rest = self.skinning.rest_joints(betas)
        return forward_kinematics(rotmats, rest, self.skinning.parents)[1] + transl[:, None]

    def rest_pelvis(self, betas: Float[Tensor, "frames betas"]) -> Float[Tensor, "frames 3"]:
        """J0(betas): the point the root turns about; pelvis joint = transl + J0."""
        return self.skinning.rest_joints(betas)[:, 0]

    def subset(self, vertex_ids: Int[Tensor, " ids"]) -> SmplhBody:
        """The same body returning only some vertices, in the order given; joints are unchanged."""
        if self.visible is not None:
            raise ValueError("take subsets of the full body")
        return replace(
            self,
            skinning=self.skinning.subset(torch.cat([vertex_ids, self.picked])),
            picked=torch.arange(21) + len(vertex_ids),
            visible=torch.arange(len(vertex_ids)),
        )

    def _fingers(
        self,
        betas: Float[Tensor, "frames betas"],
        rotation: Float[Tensor, "frames 22 3 3"],
        offset: Float[Tensor, "frames 22 3"],
    ) -> Float[Tensor, "frames fingers 3"]:
        rest = self.finger_template + (betas @ self.finger_shapes).unflatten(1, (-1, 3))
        turned = (rotation[:, self.finger_wrist] @ rest[..., None])[..., 0]
        return turned + offset[:, self.finger_wrist]


def load_smplh(
    files: BodyFiles, gender: Gender, num_betas: int = 10, dtype: torch.dtype = torch.float32
) -> SmplhBody:
    """SMPL+H of one gender the way HuMoR uses it: flat hands, `num_betas` (up to 16) as asked.

    Bodies are never changed, so the same one is returned for the same request.

    Differs from smplx: its cap to 10 betas for files with fewer than 300 shape directions is not there.

    Raises:
        DataMissing: no file for this gender.
        DataInvalid: not SMPL+H, or fewer shape directions than asked.
    """
    return _load_smplh(files.smplh(gender), gender, num_betas, dtype)


@lru_cache(maxsize=6)
def _load_smplh(path: Path, gender: Gender, num_betas: int, dtype: torch.dtype) -> SmplhBody:
    arrays = read_skinned_arrays(path)
    if arrays.parents != SMPLH_PARENTS:
        raise DataInvalid(
            "not a SMPL+H file", where=path, expected="52 joints", found=f"{len(arrays.parents)} joints"
        )
    if arrays.shapedirs.shape[2] < num_betas:
        raise DataInvalid(
            "too few shape directions", where=path, expected=num_betas, found=arrays.shapedirs.shape[2]
        )
    fingers = len(SMPLH_JOINTS) - NUM_BODY
    shapedirs = arrays.shapedirs[:, :, :num_betas]
    finger_rows = arrays.J_regressor[NUM_BODY:]
    finger_shapes = (finger_rows @ shapedirs.reshape(len(shapedirs), -1)).reshape(fingers * 3, -1).T
    return SmplhBody(
        gender=gender,
        num_betas=num_betas,
        faces=torch.as_tensor(arrays.faces),
        skinning=Skinning.build(_fold_hands(arrays, num_betas), dtype),
        finger_template=torch.as_tensor(finger_rows @ arrays.v_template, dtype=dtype),
        finger_shapes=torch.as_tensor(finger_shapes.copy(), dtype=dtype),
        finger_wrist=torch.tensor([20] * (fingers // 2) + [21] * (fingers // 2)),
        picked=torch.tensor(PICKED_SMPLH),
    )


def _fold_hands(arrays: SkinnedArrays, num_betas: int) -> SkinnedArrays:
    weights = arrays.weights[:, :NUM_BODY].copy()
    hand = (arrays.weights.shape[1] - NUM_BODY) // 2
    weights[:, 20] += arrays.weights[:, NUM_BODY : NUM_BODY + hand].sum(1)
    weights[:, 21] += arrays.weights[:, NUM_BODY + hand :].sum(1)
    return SkinnedArrays(
        v_template=arrays.v_template,
        faces=arrays.faces,
        shapedirs=arrays.shapedirs[:, :, :num_betas],
        posedirs=arrays.posedirs[:, :, : 9 * (NUM_BODY - 1)].astype(np.float64),
        J_regressor=arrays.J_regressor[:NUM_BODY],
        weights=weights,
        parents=arrays.parents[:NUM_BODY],
    )


def _rotmats(
    global_orient: Float[Tensor, "frames 3"], body_pose: Float[Tensor, "frames 63"]
) -> Float[Tensor, "frames 22 3 3"]:
    rotvecs = torch.cat([global_orient, body_pose], dim=1).unflatten(1, (-1, 3))
    return rotvec_to_rotmat(rotvecs)
