"""What the seed holds: everything of the stand-in that cannot be recomputed in seconds.

Smooth fields are stored as integers with one scale per component (error below 1e-4 of its largest
entry); `Seed` has them as floats again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pipelines.artifacts import atomic_path, read_npz
from pipelines.bodies.joints import SMPLH_JOINTS, SMPLX_JOINTS
from pipelines.records import Gender

GENDERS: tuple[Gender, ...] = ("neutral", "male", "female")
SEED_PATH = Path(__file__).with_name("seed.npz")
NUM_SMPLX_SHAPES, NUM_SMPLH_SHAPES = 10, 16
NUM_WEIGHTS = 6
"""Joints that act on one vertex, at most."""
SEGMENTS = (
    "L_Leg",
    "R_Leg",
    "L_Hand",
    "R_Hand",
    "back",
    "gluteus",
    "thighs",
    "butt",
    "body_mask",
)


@dataclass(frozen=True, slots=True, eq=False)
class GenderedShape:
    """Mean body and shape directions of one gender, metres per standard deviation."""

    template: Float[np.ndarray, "10475 3"]
    smplx_shapes: Float[np.ndarray, "10475 3 10"]
    smplh_shapes: Float[np.ndarray, "6890 3 16"]


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """The stand-in without what `expand` recomputes (pose correctives, hands, pyramid matrices)."""

    shapes: Mapping[Gender, GenderedShape]
    expressions: Float[np.ndarray, "10475 3 10"]
    weights: Float[np.ndarray, "10475 55"]
    smplx_faces: Int[np.ndarray, "20908 3"]
    smplh_faces: Int[np.ndarray, "13776 3"]
    smplx_of_smplh: Int[np.ndarray, "6890"]
    """SMPL-X id of each SMPL+H vertex."""
    smplx_regressor: Float[np.ndarray, "55 10475"]
    smplh_regressor: Float[np.ndarray, "52 6890"]
    pyramid_ids: tuple[Int[np.ndarray, "1723"], Int[np.ndarray, "431"]]
    """SMPL+H ids of the coarser levels, ascending."""
    pyramid_faces: tuple[Int[np.ndarray, "3442 3"], Int[np.ndarray, "858 3"]]
    landmark_faces: Int[np.ndarray, "51"]
    landmark_weights: Float[np.ndarray, "51 3"]
    contour_faces: Int[np.ndarray, "79 17"]
    contour_weights: Float[np.ndarray, "79 17 3"]
    segments: Mapping[str, Int[np.ndarray, "..."]]

    @property
    def smplh_weights(self) -> Float[np.ndarray, "6890 52"]:
        """Skinning weights of SMPL+H: jaw and eyes belong to the head."""
        all_joints = self.weights[self.smplx_of_smplh]
        weights = all_joints[:, [SMPLX_JOINTS.index(name) for name in SMPLH_JOINTS]]
        face = [SMPLX_JOINTS.index(name) for name in ("jaw", "left_eye", "right_eye")]
        weights[:, SMPLH_JOINTS.index("head")] += all_joints[:, face].sum(1)
        return weights


def write_seed(path: Path, seed: Seed) -> None:
    """Pack and write; equal seeds give equal bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **pack(seed))


def read_seed(path: Path = SEED_PATH) -> Seed:
    """Read and unpack.

    Raises:
        DataInvalid: the file is damaged.
    """
    return unpack(read_npz(path))


def pack(seed: Seed) -> dict[str, np.ndarray]:
    """The arrays of the seed file."""
    order = np.argsort(-seed.weights, axis=1, kind="stable")[:, :NUM_WEIGHTS]
    largest = np.take_along_axis(seed.weights, order, 1)
    moved = np.flatnonzero(np.abs(seed.expressions).max((1, 2)) > 1e-5)
    arrays: dict[str, np.ndarray] = {
        "weight_joints": order.astype(np.uint8),
        "weight_values": np.round(largest / largest.sum(1, keepdims=True) * 65535).astype(np.uint16),
        "smplx_faces": seed.smplx_faces.astype(np.uint16),
        "smplh_faces": seed.smplh_faces.astype(np.uint16),
        "smplx_of_smplh": seed.smplx_of_smplh.astype(np.uint16),
        "landmark_faces": seed.landmark_faces.astype(np.uint16),
        "landmark_weights": seed.landmark_weights.astype(np.float32),
        "contour_faces": seed.contour_faces.astype(np.uint16),
        "contour_corner": seed.contour_weights.argmax(2).astype(np.uint8),
        "expression_ids": moved.astype(np.uint16),
        **_quantised("expressions", seed.expressions[moved]),
        **_sparse("smplx_regressor", seed.smplx_regressor),
        **_sparse("smplh_regressor", seed.smplh_regressor),
    }
    for level, (ids, faces) in enumerate(zip(seed.pyramid_ids, seed.pyramid_faces, strict=True), 1):
        arrays[f"pyramid_ids_{level}"] = ids.astype(np.uint16)
        arrays[f"pyramid_faces_{level}"] = faces.astype(np.uint16)
    for name, segment in seed.segments.items():
        arrays[f"segment_{name}"] = segment.astype(np.uint16)
    for gender, shape in seed.shapes.items():
        arrays[f"{gender}_template"] = shape.template.astype(np.float32)
        arrays |= _quantised(f"{gender}_shapes", shape.smplx_shapes)
        # The first ten are the same in both formats.
        arrays |= _quantised(f"{gender}_fine_shapes", shape.smplh_shapes[:, :, NUM_SMPLX_SHAPES:])
    return arrays


def unpack(arrays: Mapping[str, Any]) -> Seed:
    """The seed from the arrays of its file."""
    of_smplh = arrays["smplx_of_smplh"].astype(np.int64)
    shapes: dict[Gender, GenderedShape] = {}
    for gender in GENDERS:
        coarse = _restored(arrays, f"{gender}_shapes")
        fine = _restored(arrays, f"{gender}_fine_shapes")
        both = np.concatenate([coarse[of_smplh], fine], axis=2)
        shapes[gender] = GenderedShape(arrays[f"{gender}_template"].astype(np.float64), coarse, both)
    weights = np.zeros((len(arrays["weight_joints"]), len(SMPLX_JOINTS)))
    values = arrays["weight_values"].astype(np.float64)
    values /= values.sum(1, keepdims=True)
    np.put_along_axis(weights, arrays["weight_joints"].astype(np.int64), values, 1)
    expressions = np.zeros((len(weights), 3, arrays["expressions"].shape[2]))
    expressions[arrays["expression_ids"]] = _restored(arrays, "expressions")
    landmark_weights = arrays["landmark_weights"].astype(np.float64)
    return Seed(
        shapes=shapes,
        expressions=expressions,
        weights=weights,
        smplx_faces=arrays["smplx_faces"].astype(np.int64),
        smplh_faces=arrays["smplh_faces"].astype(np.int64),
        smplx_of_smplh=of_smplh,
        smplx_regressor=_dense(arrays, "smplx_regressor", len(SMPLX_JOINTS), len(weights)),
        smplh_regressor=_dense(arrays, "smplh_regressor", len(SMPLH_JOINTS), len(of_smplh)),
        pyramid_ids=tuple(arrays[f"pyramid_ids_{level}"].astype(np.int64) for level in (1, 2)),
        pyramid_faces=tuple(arrays[f"pyramid_faces_{level}"].astype(np.int64) for level in (1, 2)),
        landmark_faces=arrays["landmark_faces"].astype(np.int64),
        landmark_weights=landmark_weights / landmark_weights.sum(1, keepdims=True),
        contour_faces=arrays["contour_faces"].astype(np.int64),
        contour_weights=np.eye(3)[arrays["contour_corner"]],
        segments={name: arrays[f"segment_{name}"].astype(np.int64) for name in SEGMENTS},
    )


def _quantised(name: str, field: Float[np.ndarray, "verts 3 components"]) -> dict[str, np.ndarray]:
    scale = np.abs(field).max((0, 1))
    return {
        name: np.round(field / scale * 32767).astype(np.int16),
        f"{name}_scale": scale.astype(np.float32),
    }


def _restored(arrays: Mapping[str, Any], name: str) -> Float[np.ndarray, "verts 3 components"]:
    return arrays[name].astype(np.float64) * (arrays[f"{name}_scale"].astype(np.float64) / 32767)


def _sparse(name: str, matrix: Float[np.ndarray, "rows columns"]) -> dict[str, np.ndarray]:
    rows, columns = np.nonzero(matrix)
    return {
        f"{name}_rows": rows.astype(np.uint8),
        f"{name}_columns": columns.astype(np.uint16),
        f"{name}_values": matrix[rows, columns].astype(np.float32),
    }


def _dense(
    arrays: Mapping[str, Any], name: str, rows: int, columns: int
) -> Float[np.ndarray, "rows columns"]:
    matrix = np.zeros((rows, columns))
    matrix[arrays[f"{name}_rows"], arrays[f"{name}_columns"]] = arrays[f"{name}_values"]
    return matrix / matrix.sum(1, keepdims=True)
