"""SMPL-X as PROX uses it: the only importer of the `smplx` package.

smplx reads the file and knows its conventions (hand PCA and mean, expression slice, face landmarks);
the posing itself goes through our own kernel, which returns smplx's numbers faster and at any batch
size.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import PICKED_SMPLX, SMPLX_PARENTS
from pipelines.bodies.mesh import BodyMesh
from pipelines.bodies.model_file import SKINNING_KEYS, SkinnedArrays, plain_array, require_keys
from pipelines.bodies.skinning import Skinning, forward_kinematics, skinning_offset
from pipelines.errors import BackendMissing, DataInvalid
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.records import Gender
from pipelines.safe_pickle import load_npz_objects

NUM_HAND_PCA = 12
NUM_BETAS = 10
NUM_EXPRESSION = 10
_SMPLX_KEYS = (
    *SKINNING_KEYS,
    "hands_componentsl",
    "hands_componentsr",
    "hands_meanl",
    "hands_meanr",
    "lmk_faces_idx",
    "lmk_bary_coords",
)
"""What smplx reads with PROX's options."""


@dataclass(frozen=True, slots=True, eq=False)
class SmplxBody:
    """SMPL-X with 12 hand PCA components and the hand mean: 10475 vertices, 127 output joints."""

    gender: Gender
    faces: Int[Tensor, "faces 3"]
    skinning: Skinning
    left_hand_components: Float[Tensor, "12 45"]
    right_hand_components: Float[Tensor, "12 45"]
    left_hand_mean: Float[Tensor, "45"]
    right_hand_mean: Float[Tensor, "45"]
    picked: Int[Tensor, "21"]
    landmark_vertices: Int[Tensor, "51 3"]
    landmark_weights: Float[Tensor, "51 3"]

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of parameters and results."""
        return self.skinning.template.dtype

    def __call__(
        self,
        *,
        betas: Float[Tensor, "frames 10"],
        expression: Float[Tensor, "frames 10"],
        global_orient: Float[Tensor, "frames 3"],
        body_pose: Float[Tensor, "frames 63"],
        jaw_pose: Float[Tensor, "frames 3"],
        leye_pose: Float[Tensor, "frames 3"],
        reye_pose: Float[Tensor, "frames 3"],
        left_hand_pose: Float[Tensor, "frames 12"],
        right_hand_pose: Float[Tensor, "frames 12"],
        transl: Float[Tensor, "frames 3"],
    ) -> BodyMesh:
        """Vertices and 127 joints; every parameter is given, so any batch size works."""
        fingers = self.hand_rotvecs(left_hand_pose, right_hand_pose)
        pose = torch.cat([global_orient, body_pose, jaw_pose, leye_pose, reye_pose], dim=1)
        rotvecs = torch.cat([pose.unflatten(1, (-1, 3)), fingers], dim=1)
        return self.from_rotmats(betas, expression, rotvec_to_rotmat(rotvecs), transl)

    def from_rotmats(
        self,
        betas: Float[Tensor, "frames 10"],
        expression: Float[Tensor, "frames 10"],
        rotmats: Float[Tensor, "frames 55 3 3"],
        transl: Float[Tensor, "frames 3"],
    ) -> BodyMesh:
        """Vertices and 127 joints from local rotation matrices of all joints (pelvis first)."""
        shape = torch.cat([betas, expression], dim=1)
        rest = self.skinning.rest_joints(shape)
        rotation, places = forward_kinematics(rotmats, rest, self.skinning.parents)
        offset = skinning_offset(rotation, places, rest)
        vertices = self.skinning.vertices(shape, rotmats, rotation, offset) + transl[:, None]
        corners = vertices[:, self.landmark_vertices]  # (frames, 51, 3 corners, 3)
        landmarks = (corners * self.landmark_weights[..., None]).sum(dim=2)
        joints = [places + transl[:, None], vertices[:, self.picked], landmarks]
        return BodyMesh(vertices, torch.cat(joints, dim=1))

    def hand_rotvecs(
        self, left_hand_pose: Float[Tensor, "frames 12"], right_hand_pose: Float[Tensor, "frames 12"]
    ) -> Float[Tensor, "frames 30 3"]:
        """Rotation vectors of the finger joints, left then right: components and hand mean."""
        left = left_hand_pose @ self.left_hand_components + self.left_hand_mean
        right = right_hand_pose @ self.right_hand_components + self.right_hand_mean
        return torch.cat([left, right], dim=1).unflatten(1, (-1, 3))

    def rest_pelvis(
        self, betas: Float[Tensor, "frames 10"], expression: Float[Tensor, "frames 10"]
    ) -> Float[Tensor, "frames 3"]:
        """J0(betas, expression): the point the root turns about."""
        return self.skinning.rest_joints(torch.cat([betas, expression], dim=1))[:, 0]


def load_smplx(files: BodyFiles, gender: Gender, dtype: torch.dtype = torch.float32) -> SmplxBody:
    """SMPL-X of one gender with PROX's options. The same body is returned for the same request.

    Raises:
        DataMissing: no file for this gender.
        DataInvalid: not a SMPL-X file.
        BackendMissing: the smplx package is not installed.
    """
    return _load_smplx(files.smplx(gender), gender, dtype)


@lru_cache(maxsize=4)
def _load_smplx(path: Path, gender: Gender, dtype: torch.dtype) -> SmplxBody:
    with _readable_by_smplx(path) as plain:
        model = create_smplx(plain, gender, dtype)
    if tuple(model.parents.tolist()) != SMPLX_PARENTS:
        raise DataInvalid("not a SMPL-X file", where=path, found=f"{len(model.parents)} joints")
    faces = torch.as_tensor(model.faces.astype(np.int64))
    hands = model.pose_mean[-90:].detach()
    return SmplxBody(
        gender=gender,
        faces=faces,
        skinning=Skinning.build(_arrays(model), dtype),
        left_hand_components=model.left_hand_components.detach(),
        right_hand_components=model.right_hand_components.detach(),
        left_hand_mean=hands[:45],
        right_hand_mean=hands[45:],
        picked=torch.tensor(PICKED_SMPLX),
        landmark_vertices=faces[model.lmk_faces_idx],
        landmark_weights=model.lmk_bary_coords.detach(),
    )


def create_smplx(path: Path, gender: Gender, dtype: torch.dtype) -> Any:
    """The smplx package's own module with PROX's options, built without its console noise."""
    try:
        import smplx
    except ImportError:
        raise BackendMissing("the smplx package is not installed", fix="pip install smplx") from None
    with contextlib.redirect_stdout(io.StringIO()):
        return smplx.SMPLX(
            str(path),
            gender=gender,
            batch_size=1,
            num_betas=NUM_BETAS,
            num_expression_coeffs=NUM_EXPRESSION,
            use_pca=True,
            num_pca_comps=NUM_HAND_PCA,
            flat_hand_mean=False,
            use_face_contour=False,
            dtype=dtype,
            ext="npz",
        )


@contextlib.contextmanager
def _readable_by_smplx(path: Path) -> Iterator[Path]:
    """The file itself, or a plain copy of the arrays smplx reads where the file holds pickles.

    smplx would unpickle every member. Licensed releases hold dicts and sparse matrices, which our
    restricted reader turns into plain arrays.
    """
    if not require_keys(path, _SMPLX_KEYS):
        yield path
        return
    arrays = {name: plain_array(value) for name, value in load_npz_objects(path, _SMPLX_KEYS).items()}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name
        np.savez(plain, allow_pickle=False, **arrays)
        yield plain


def _arrays(model: Any) -> SkinnedArrays:
    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().numpy()

    verts = len(model.v_template)
    posedirs = array(model.posedirs).T.reshape(verts, 3, -1)
    return SkinnedArrays(
        v_template=array(model.v_template),
        faces=model.faces.astype(np.int64),
        shapedirs=array(torch.cat([model.shapedirs, model.expr_dirs], dim=2)),
        posedirs=posedirs,
        J_regressor=array(model.J_regressor),
        weights=array(model.lbs_weights),
        parents=tuple(model.parents.tolist()),
    )
