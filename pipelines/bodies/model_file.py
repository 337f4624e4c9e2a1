"""Reading one body model file into plain arrays, whatever its vintage, without running code in it."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pipelines.errors import DataInvalid
from pipelines.safe_pickle import load_npz_objects, load_pickle

SKINNING_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")


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
    """The skinning part of a SMPL+H or SMPL-X file (npz, or a pickle without chumpy objects).

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent, the arrays disagree, or the file holds more than data.
    """
    arrays = _read_members(path)
    kintree = np.asarray(arrays["kintree_table"])[0].astype(np.int64)
    # The root's parent is stored as 2^32 - 1.
    parents = tuple(-1 if k == 0 else int(parent) for k, parent in enumerate(kintree))
    read = SkinnedArrays(
        v_template=_dense(arrays["v_template"]),
        faces=np.asarray(arrays["f"]).astype(np.int64),
        shapedirs=_dense(arrays["shapedirs"]),
        posedirs=np.asarray(arrays["posedirs"]),
        J_regressor=_dense(arrays["J_regressor"]),
        weights=_dense(arrays["weights"]),
        parents=parents,
    )
    _check(read, path)
    return read


def require_keys(path: Path, keys: Sequence[str]) -> bool:
    """Check that an npz has all keys, reading headers only.

    Returns:
        True when a plain reader of the file would have to unpickle something.

    Raises:
        DataInvalid: not an npz, or a key is absent.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = {
                name.removesuffix(".npy"): _holds_objects(archive, name) for name in archive.namelist()
            }
    except (zipfile.BadZipFile, ValueError) as error:
        raise DataInvalid(f"npz cannot be read: {error}", where=path) from None
    absent = [key for key in keys if key not in pickled]
    if absent:
        raise DataInvalid(
            f"body model lacks {', '.join(absent)}",
            where=path,
            found=", ".join(pickled),
            fix="this is another kind of file; `make doctor` says which one to get",
        )
    return any(pickled.values())


def _holds_objects(archive: zipfile.ZipFile, member: str) -> bool:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        return bool(read(stream)[2].hasobject)


def _read_members(path: Path) -> dict[str, Any]:
    if path.suffix != ".pkl":
        # Only the members asked for are opened: real files hold others (joint2num) that are pickles.
        return load_npz_objects(path, SKINNING_KEYS)
    content = load_pickle(path)
    absent = [key for key in SKINNING_KEYS if key not in content]
    if absent:
        raise DataInvalid(
            f"body model lacks {', '.join(absent)}",
            where=path,
            fix="this is not a SMPL+H or SMPL-X file; `make doctor` says which file to get",
        )
    return {key: content[key] for key in SKINNING_KEYS}


def plain_array(value: Any) -> np.ndarray:
    """A dense array; J_regressor is a sparse matrix in some releases."""
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def _dense(value: Any) -> np.ndarray:
    return plain_array(value).astype(np.float64)


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
