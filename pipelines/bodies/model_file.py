"""Reading one body model file into plain arrays, whatever its vintage, without running code in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from pipelines.errors import DataInvalid

_SKINNING_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")


@dataclass(frozen=True, slots=True, eq=False)
class SkinnedArrays:
    """What a SMPL-family file says about shape, pose correctives and skinning."""

    v_template: Float[np.ndarray, "verts 3"]
    faces: Int[np.ndarray, "faces 3"]
    shapedirs: Float[np.ndarray, "verts 3 shapes"]
    posedirs: Float[np.ndarray, "verts 3 correctives"]
    """Last axis: 9 numbers of R - I per joint, joint 1 first, row-major."""
    J_regressor: Float[np.ndarray, "joints verts"]
    weights: Float[np.ndarray, "verts joints"]
    parents: tuple[int, ...]


def read_skinned_arrays(path: Path) -> SkinnedArrays:
    """The skinning part of a SMPL+H or SMPL-X npz.

    Raises:
        DataInvalid: a key is absent or the arrays disagree.
    """
    arrays = _read_members(path)
    kintree = np.asarray(arrays["kintree_table"])[0].astype(np.int64)
    # The root's parent is stored as 2^32 - 1.
    parents = tuple(-1 if k == 0 else int(parent) for k, parent in enumerate(kintree))
    read = SkinnedArrays(
        v_template=np.asarray(arrays["v_template"], np.float64),
        faces=np.asarray(arrays["f"]).astype(np.int64),
        shapedirs=np.asarray(arrays["shapedirs"], np.float64),
        posedirs=np.asarray(arrays["posedirs"]),
        J_regressor=np.asarray(arrays["J_regressor"], np.float64),
        weights=np.asarray(arrays["weights"], np.float64),
        parents=parents,
    )
    _check(read, path)
    return read


def _read_members(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        absent = [key for key in _SKINNING_KEYS if key not in archive.files]
        if absent:
            raise DataInvalid(
                f"body model lacks {', '.join(absent)}",
                where=path,
                found=", ".join(archive.files),
                fix="this is not a SMPL+H or SMPL-X file; see docs/data-layout.md for the file to get",
            )
        # Members are read one by one, so pickled ones that nobody needs (joint2num) are never opened.
        return {key: archive[key] for key in _SKINNING_KEYS}


def _check(read: SkinnedArrays, path: Path) -> None:
    verts, joints = read.weights.shape
    expected = {
        "v_template": (verts, 3),
        "posedirs": (verts, 3, 9 * (joints - 1)),
        "J_regressor": (joints, verts),
    }
    for key, shape in expected.items():
        if getattr(read, key).shape != shape:
            raise DataInvalid(
                f"body model: {key} has the wrong shape",
                where=path,
                expected=shape,
                found=getattr(read, key).shape,
            )
